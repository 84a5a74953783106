package bridge

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

func withWill(topic, payload string, change ...func(*packets.Packet)) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.WillFlag = true
		pk.Connect.WillTopic = topic
		pk.Connect.WillPayload = []byte(payload)
		for _, f := range change {
			f(pk)
		}
	}
}

// A will is published when the connection ends without a word, and not after a
// DISCONNECT; an empty one, too.
func TestWill(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s")
		s.subscribe(1, sub("will/#", 1))
		h.connect(version, "polite", withWill("will/polite", "no")).goodbye()
		h.connect(version, "rude", withWill("will/rude", "yes", func(pk *packets.Packet) {
			pk.Connect.WillQos, pk.Connect.WillRetain = 1, true
		})).nc.Close()
		s.message("will/rude", "yes")
		h.connect(version, "mute", withWill("will/mute", "")).nc.Close()
		s.message("will/mute", "")
		late := h.connect(version, "late")
		late.subscribe(1, sub("will/#", 0))
		if m := late.message("will/rude", "yes"); !m.FixedHeader.Retain {
			t.Error("the retained will came without the retain bit")
		}
		// A protocol error, too, ends a connection without a word.
		h.connect(version, "wrong", withWill("will/wrong", "yes")).raw("00 00")
		s.message("will/wrong", "yes")
	})
}

// Takeover publishes the will of the connection that goes.
func TestWillOnTakeover(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s")
		s.subscribe(1, sub("will", 0))
		h.connect(version, "c", withWill("will", "taken over"))
		h.connect(version, "c")
		s.message("will", "taken over")
	})
}

// DISCONNECT with 0x04 asks for the will.
func TestDisconnectWithWill(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("will", 0))
	c := h.connect(5, "c", withWill("will", "asked for"))
	c.raw("e0 01 04")
	s.message("will", "asked for")
}

// Every property of a will comes out at an MQTT 5 subscriber.
func TestWillProperties(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("will", 0))
	h.connect(5, "c", withWill("will", "x", func(pk *packets.Packet) {
		pk.Connect.WillProperties = allProperties()
		pk.Connect.WillProperties.MessageExpiryInterval = 100
	})).nc.Close()
	want := allProperties()
	want.MessageExpiryInterval = 100
	if diff := cmp.Diff(want, s.message("will", "x").Properties); diff != "" {
		t.Error(diff)
	}
}

// A delayed will waits, goes when the session goes on, and does not outlive it.
func TestWillDelay(t *testing.T) {
	t.Parallel()
	delay := func(pk *packets.Packet) {
		pk.Connect.WillProperties.WillDelayInterval = 1
	}
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("will/#", 0))

	start := time.Now()
	h.hangUp(h.connect(5, "waits", keep, withWill("will/waits", "x", delay)))
	h.hangUp(h.connect(5, "returns", keep, withWill("will/returns", "x", delay)))
	h.connect(5, "returns", keep)
	s.message("will/waits", "x")
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("the will came after %v", d)
	}
	s.silence()

	// No session to wait for: at once. A clean start ends the session: at once.
	h.connect(5, "short", withWill("will/short", "x", delay)).nc.Close()
	s.message("will/short", "x")
	h.hangUp(h.connect(5, "ends", keep, withWill("will/ends", "x", func(pk *packets.Packet) {
		pk.Connect.WillProperties.WillDelayInterval = 1000
	})))
	h.connect(5, "ends")
	s.message("will/ends", "x")
}

// A will is in the log before its client is answered. The end of the connection that
// cannot be written down now is tried again.
func TestWillIsTriedAgain(t *testing.T) {
	t.Parallel()
	var down noQuorum
	h := newHouse(t, func(c *Config) { down.Publisher, c.Publisher = c.Publisher, &down })
	s := h.connect(4, "s")
	s.subscribe(1, sub("will", 0))
	c := h.connect(4, "c", withWill("will", "x"))
	down.is.Store(true)
	c.nc.Close()
	eventually(t, "it is tried", func() bool { return down.refused.Load() > 0 })
	s.silence()
	down.is.Store(false)
	s.message("will", "x")
	if got, err := h.log.Broker.ReadLog(0, make([]stream.Message, 0, 9)); err != nil || len(got) != 1 || got[0].Publisher != originOf("c") {
		t.Errorf("in the log: %v %v", got, err)
	}
}

// noQuorum is a Publisher that refuses everything while it is set.
type noQuorum struct {
	broker.Publisher
	is      atomic.Bool
	refused atomic.Int32
}

func (p *noQuorum) Publish(it stream.Item, done func(stream.Place, error)) {
	if p.is.Load() {
		p.refused.Add(1)
		go done(stream.Place{}, broker.ErrNoQuorum)
		return
	}
	p.Publisher.Publish(it, done)
}
