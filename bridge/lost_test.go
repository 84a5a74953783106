package bridge

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

func TestLossesMerge(t *testing.T) {
	for _, c := range []struct {
		name string
		add  []span
		want string
	}{
		{"one", []span{{5, 9}}, "[5-9]"},
		{"apart, the older one second", []span{{5, 9}, {1, 2}}, "[1-2 5-9]"},
		{"next to each other", []span{{1, 2}, {3, 3}, {4, 6}}, "[1-6]"},
		{"bridged", []span{{1, 2}, {5, 6}, {3, 4}}, "[1-6]"},
		{"inside", []span{{1, 9}, {3, 4}}, "[1-9]"},
		{"around", []span{{3, 4}, {6, 7}, {1, 9}}, "[1-9]"},
		{"too many", []span{{1, 1}, {3, 3}, {5, 5}, {7, 7}, {9, 9}, {11, 11}, {13, 13}, {15, 15}, {17, 17}}, "[1-3 5-5 7-7 9-9 11-11 13-13 15-15 17-17]"},
	} {
		var l losses
		for _, r := range c.add {
			l.add(r)
		}
		if got := fmt.Sprint(l); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// All that a session lost is told: what lay behind its cursor and what it had not
// acknowledged, also when the first connection on which it could be told ended
// before it took a message.
func TestEveryLossIsTold(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{CacheMessages: 100})
	h := newHouseOver(t, log)
	s := h.connect(5, "s", keep)
	s.subscribe(1, sub("t", 1))
	for i := range 3 {
		h.publish("t", fmt.Sprint(i), q1)
	}
	m := s.message("t", "0")
	one := s.message("t", "1")
	s.message("t", "2")
	s.send(ackOf(packets.Puback, one.PacketID))
	_ = m // 0 and 2 stay unacknowledged
	s.goodbye()
	for i := 3; i < 10; i++ {
		h.publish("t", fmt.Sprint(i), q1)
	}
	for range 200 {
		h.publish("other", "x", q1)
	}
	tail := log.Broker.Tail()
	s = h.connect(5, "s", keep)
	s.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	s.want(packets.Pingresp)
	s.goodbye()

	s = h.connect(5, "s", keep)
	h.publish("t", "next", q1)
	m = s.message("t", "next")
	want := fmt.Sprintf("[{%s 1-1} {%s 3-%d}]", lostKey, lostKey, tail)
	if got := fmt.Sprint(m.Properties.User); got != want {
		t.Errorf("user properties %v, want %v", got, want)
	}
	h.publish("t", "last", q1)
	if m = s.message("t", "last"); len(m.Properties.User) > 0 {
		t.Errorf("told twice: %v", m.Properties.User)
	}
}

// A resume has one outcome, and one line in the log, however many messages of its
// window and behind its cursor were lost.
func TestResumeIsCountedOnce(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{CacheMessages: 100})
	var lines lockedBuffer
	h := newHouseOver(t, log, func(c *Config) { c.Log = zerolog.New(&lines) })
	resumes := func(reset, continuous float64) {
		t.Helper()
		eventually(t, "every resume is counted", func() bool {
			return h.metric("nackmq_resumes_total", "reset")+h.metric("nackmq_resumes_total", "continuous") >= reset+continuous
		})
		if r, c := h.metric("nackmq_resumes_total", "reset"), h.metric("nackmq_resumes_total", "continuous"); r != reset || c != continuous {
			t.Errorf("%v reset and %v continuous resumes, want %v and %v", r, c, reset, continuous)
		}
	}
	s := h.connect(5, "s", keep)
	s.subscribe(1, sub("t", 1))
	for i := range 50 {
		h.publish("t", fmt.Sprint(i), q1)
		s.message("t", fmt.Sprint(i))
	}
	s.goodbye()
	for range 200 {
		h.publish("other", "x", q1)
	}
	tail := float64(log.Broker.Tail())
	s = h.connect(5, "s", keep)
	h.publish("t", "next", q1)
	next := s.message("t", "next")
	resumes(1, 0)
	if n := h.metric("nackmq_dropped_total", "trimmed"); n != tail {
		t.Errorf("%v dropped, want %v: the window and what lies behind the cursor", n, tail)
	}
	if n := strings.Count(lines.String(), "session lost messages"); n != 1 {
		t.Errorf("%d lines say what was lost, want 1:\n%s", n, lines.String())
	}
	s.send(ackOf(packets.Puback, next.PacketID))
	s.goodbye()

	h.connect(5, "s", keep).goodbye() // whether it caught up or not
	resumes(1, 1)

	s = h.connect(5, "slow", keep, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	s.subscribe(1, sub("t", 1))
	h.publish("t", "first", q1)
	m := s.message("t", "first")
	for range 300 {
		h.publish("t", "x", q1)
	}
	s.send(ackOf(packets.Puback, m.PacketID))
	if m = s.message("t", "x"); len(m.Properties.User) == 0 {
		t.Error("what a slow session lost is not told")
	}
	resumes(1, 1) // it lost something, and resumed nothing
}

// A lockedBuffer takes the log's lines from the loop's goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A client that comes back with a smaller maximum packet size is not sent again
// what is larger (MQTT 5, 3.1.2-24), and a message that it can take does not
// become too large by the word of a loss.
func TestMaximumPacketSizeOnTheNextConnection(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{CacheMessages: 100})
	h := newHouseOver(t, log)
	s := h.connect(5, "s", keep)
	s.subscribe(1, sub("t", 1))
	h.publish("t", string(make([]byte, 100)), q1)
	s.want(packets.Publish)
	s.goodbye()
	small := func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 30 }
	s = h.connect(5, "s", keep, small)
	h.publish("t", "small", q1)
	s.message("t", "small")
	s.goodbye()
	for range 200 {
		h.publish("t", "x", q1)
	}
	s = h.connect(5, "s", keep, small)
	s.message("t", "x")
}
