package bridge

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

func sysOften(c *Config) { c.SysInterval, c.Version = 20*time.Millisecond, "v1.2" }

// sysAll subscribes to $SYS/# and gives what is retained.
func (p *peer) sysAll() map[string]string {
	p.t.Helper()
	p.subscribe(1, sub("$SYS/#", 0))
	got := map[string]string{}
	for p.raw("c000"); ; {
		pk, err := p.read(patience)
		if err != nil {
			p.t.Fatal(err)
		}
		if pk.FixedHeader.Type == packets.Pingresp {
			return got
		}
		if !pk.FixedHeader.Retain && got[pk.TopicName] == "" {
			p.t.Fatalf("%s came live before it came retained", pk.TopicName)
		}
		got[pk.TopicName] = string(pk.Payload)
	}
}

// sys waits for a live value of a topic.
func (p *peer) sys(topic, want string) {
	p.t.Helper()
	last := ""
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if pk, err := p.read(patience); err == nil && pk.TopicName == "$SYS/broker/"+topic {
			if last = string(pk.Payload); last == want {
				return
			}
		}
	}
	p.t.Fatalf("%s: %q, want %q", topic, last, want)
}

// Who subscribes to $SYS is told at once how the broker is doing, and then what has
// changed; nobody else is, and the log is not used for it.
func TestSys(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, sysOften)
		for range 3 {
			h.publish("kept", "x", q1|stream.Retain)
		}
		other := h.connect(version, "other")
		other.subscribe(1, sub("#", 1), sub("+/#", 1), sub("+/broker/uptime", 1))
		other.next("kept", "x") // for each of the filters
		other.next("kept", "x")
		h.connect(version, "kept", keep).goodbye()
		eventually(t, "values are taken", func() (ok bool) {
			h.loop.do(func() {
				ok = slices.Contains(h.loop.sys.values, sysValue{"$SYS/broker/clients/total", "2"}) &&
					slices.Contains(h.loop.sys.values, sysValue{"$SYS/broker/clients/connected", "1"})
			})
			return ok
		})
		p := h.connect(version, "p")
		got := p.sysAll()
		for topic, want := range map[string]string{
			"version": "nackmq v1.2", "clients/total": "2", "clients/maximum": "2", "clients/connected": "1",
			"subscriptions/count": "3", "retained messages/count": "1", "messages/stored": "3", "store/messages/count": "3",
			"publish/messages/sent": "2", "publish/messages/dropped": "0", "publish/messages/received": "0",
		} {
			if got["$SYS/broker/"+topic] != want {
				t.Errorf("%s is %q, want %q", topic, got["$SYS/broker/"+topic], want)
			}
		}
		for _, topic := range []string{"uptime", "bytes/received", "bytes/sent", "messages/received", "messages/sent", "store/messages/bytes",
			"load/messages/received/1min", "load/bytes/sent/5min", "load/connections/15min", "load/sockets/1min", "load/publish/dropped/1min"} {
			if got["$SYS/broker/"+topic] == "" {
				t.Errorf("%s is missing", topic)
			}
		}
		head := h.log.Broker.Head()
		for i := range 3 {
			other.send(pub("a", "x", 0, 0))
			other.next("a", "x")
			p.sys("publish/messages/received", fmt.Sprint(i+1))
		}
		if h.log.Broker.Head() != head+3 {
			t.Error("$SYS is in the log")
		}
		other.silence()
	})
}

// A kept session's subscription is one like others; retain as published holds.
func TestSysOptions(t *testing.T) {
	h := newHouse(t, sysOften)
	p := h.connect(5, "p", keep)
	uptime := sub("$SYS/broker/clients/connected", 2)
	uptime.RetainAsPublished, uptime.RetainHandling = true, 2
	p.ask(1, packets.Subscriptions{uptime}, positionKey, "yes")
	h.connect(5, "other")
	m := p.message("$SYS/broker/clients/connected", "2")
	if !m.FixedHeader.Retain || m.FixedHeader.Qos != 0 || len(m.Properties.User) > 0 {
		t.Errorf("got %v %v", m.FixedHeader, m.Properties.User)
	}
}

// What the cache no longer held is told on $SYS, too.
func TestSysTellsLosses(t *testing.T) {
	h := newHouseOver(t, brokertest.NewLocal(t, stream.Limits{CacheMessages: 100}), sysOften)
	s := h.connect(4, "s", keep)
	s.subscribe(1, sub("t", 1))
	s.goodbye()
	for h.log.Broker.Tail() < 5 {
		h.publish("t", "x", q1)
	}
	tail := h.log.Broker.Tail()
	watcher := h.connect(5, "watcher")
	watcher.subscribe(1, sub("$SYS/broker/publish/messages/dropped/trimmed", 0))
	watcher.message("$SYS/broker/publish/messages/dropped/trimmed", "0")
	h.connect(4, "s", keep)
	watcher.message("$SYS/broker/publish/messages/dropped/trimmed", fmt.Sprint(uint64(tail)))
}

// mosquitto_sub reads it as it reads Mosquitto's.
func TestMosquittoSys(t *testing.T) {
	tool(t, "mosquitto_sub")
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := h.mosquitto(ctx, "mosquitto_sub", "-t", "$SYS/broker/uptime", "-C", "1", "-F", "%r %p").Output()
	if err != nil || !strings.HasPrefix(string(out), "1 ") || !strings.HasSuffix(string(out), " seconds\n") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestRate(t *testing.T) {
	var r rate
	total := uint64(0)
	for range 360 { // an hour at 2 a second
		total += 20
		r.take(total, 10*time.Second)
	}
	for i, m := range r.mean {
		if math.Abs(m-120) > 3 {
			t.Errorf("after an hour of 120 a minute the mean over %v minutes is %v", rateMinutes[i], m)
		}
	}
	for range 6 { // a minute of nothing
		r.take(total, 10*time.Second)
	}
	if m := r.mean[0]; math.Abs(m-120/math.E) > 1 {
		t.Errorf("after a minute of nothing the mean over a minute is %v, want an e-th", m)
	}
}
