package bridge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// A client whose window is full and that subscribes again and again is owed the
// retained messages of each of its filters once.
func TestSubscribeAgainReplacesWhatIsOwed(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Window = 1 })
	p := h.connect(4, "p")
	p.subscribe(1, sub("a", 1))
	h.publish("a", "1", q1)
	p.message("a", "1")
	h.publish("a", "2", q1) // no room
	p.silence()
	for id := range uint16(20) {
		p.subscribe(2+id, sub("x", 1), sub("y", 1), sub("x", 1))
	}
	var owed []string
	h.loop.do(func() {
		for _, j := range h.loop.sessions["p"].jobs {
			owed = append(owed, j.name)
		}
	})
	if slices.Sort(owed); !slices.Equal(owed, []string{"a", "x", "y"}) && !slices.Equal(owed, []string{"x", "y"}) {
		t.Errorf("owed: %v", owed)
	}
}

// Names of filters are bounded in bytes, not only in number.
func TestTooManyBytesOfFilters(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		for _, change := range []func(*packets.Packet){func(*packets.Packet) {}, keep} {
			p := h.connect(version, "p", change)
			refused := 0
			for i := range 20 {
				code := p.subscribe(uint16(i+1), sub(fmt.Sprintf("%d/%s", i, strings.Repeat("x", 60_000)), 1)).ReasonCodes[0]
				if code >= 0x80 {
					refused++
				}
			}
			if want := 20 - maxSubBytes/60_003; refused != want {
				t.Errorf("%d of 20 filters of 60 KB were refused, want %d", refused, want)
			}
			p.goodbye()
		}
	})
}

// What waits for shared subscriptions is bounded over all of them, too.
func TestSharedWaitingIsBounded(t *testing.T) {
	l := &loop{b: &Bridge{}, index: newIndex()}
	l.b.meters = newHouse(t).meters
	gs := make([]group, 100)
	for i := range stream.Index(20_000) {
		for k := range gs {
			l.keep(&gs[k], i+1)
		}
	}
	held := 0
	for k := range gs {
		held += len(gs[k].waiting)
	}
	if held != l.index.waiting || held != maxWaiting {
		t.Errorf("%d wait, counted as %d, at most %d may", held, l.index.waiting, maxWaiting)
	}
}

// The only member of a group that subscribes again does not empty the group.
func TestShareIsSubscribedAgain(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Window = 2 })
		p := h.connect(version, "p")
		p.subscribe(1, sub("$share/g/a", 1))
		for i := range 6 {
			h.publish("a", fmt.Sprint(i), q1)
		}
		first, second := p.message("a", "0"), p.message("a", "1")
		p.silence()
		p.subscribe(2, sub("$share/g/a", 1))
		p.send(ackOf(packets.Puback, first.PacketID))
		p.send(ackOf(packets.Puback, second.PacketID))
		for i := 2; i < 6; i++ {
			p.send(ackOf(packets.Puback, p.message("a", fmt.Sprint(i)).PacketID))
		}
		p.silence()
	})
}

// A retained message that was owed when the connection ended, and was replaced
// meanwhile by one of QoS 0, which is not replayed, is owed in its new form.
func TestRetainedIsReplacedWhileOwed(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Window = 1 })
		h.publish("r", "old", stream.Retain|q1)
		p := h.connect(version, "p", keep)
		p.subscribe(1, sub("a", 1))
		h.publish("a", "1", q1)
		h.publish("a", "2", q1)
		p.message("a", "1")
		p.silence()
		p.subscribe(2, sub("r", 1)) // the window is full: the retained message is owed
		h.hangUp(p)
		h.publish("r", "new", stream.Retain)
		p = h.connect(version, "p", keep)
		r := &receiver{held: map[uint16]bool{}}
		h.finish(p, r)
		if slices.Sort(r.got); !slices.Equal(r.got, []string{"1", "2", "new"}) {
			t.Errorf("got %v", r.got)
		}
	})
}

// One that asks for much does not keep the loop from the others: a turn looks at a
// bounded number of subjects.
func TestTurnLooksAtFewSubjects(t *testing.T) {
	h := newHouse(t)
	for i := range 3000 {
		h.publish(fmt.Sprintf("s/%d", i), "x", 0)
	}
	p := h.connect(5, "p")
	fs := make([]packets.Subscription, 200)
	for i := range fs {
		fs[i] = sub(fmt.Sprintf("none/%d/+", i), 0)
	}
	p.subscribe(1, fs...)
	h.finish(p, &receiver{held: map[uint16]bool{}})
	h.loop.do(func() {
		s := h.loop.sessions["p"]
		for name := range s.subs {
			s.jobs = append(s.jobs, &job{name: name})
		}
		h.loop.pages = 0
		h.loop.runJobs(s)
		// Each filter wants three pages.
		if done := 200 - len(s.jobs); done > maxPages/3 {
			t.Errorf("%d filters were looked up among 3,000 subjects in one turn", done)
		}
	})
}

// What a client can make its session remember fits into the log: long topics of
// retained messages and many identifiers fill the window before it is too much.
func TestStateIsBounded(t *testing.T) {
	h := newHouse(t)
	const topics = 40
	for i := range topics {
		h.publish(fmt.Sprintf("r/%02d/%s", i, strings.Repeat("x", 60_000)), "x", q1|stream.Retain)
	}
	p := h.connect(5, "p", keep, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 65535 })
	p.subscribe(1, sub("r/#", 1))
	seen := 0
	for ; ; seen++ {
		pk, err := p.read(100 * time.Millisecond)
		if err != nil || pk.FixedHeader.Type != packets.Publish {
			break
		}
	}
	if seen < 1 || seen > maxNames/60_000+1 {
		t.Errorf("%d of %d came without an acknowledgement", seen, topics)
	}
	h.loop.do(func() { h.loop.saveAll() })
	p.nc.Close()
	eventually(t, "it is written down", func() bool { s, _ := h.log.Broker.Session("p"); return s.Holder == 0 && len(s.State) > maxNames })
}
