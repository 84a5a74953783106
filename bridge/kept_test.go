package bridge

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

var q2 = stream.Flags(0).WithQoS(2)

// A moody Publisher answers "try again" to what its rule names.
type moody struct {
	broker.Publisher
	rule    atomic.Pointer[func(stream.Item) bool]
	refused atomic.Int32
}

func (p *moody) Publish(it stream.Item, done func(stream.Place, error)) {
	if rule := p.rule.Load(); rule != nil && (*rule)(it) {
		p.refused.Add(1)
		go done(stream.Place{}, broker.ErrBusy)
		return
	}
	p.Publisher.Publish(it, done)
}

// refuseGroups refuses what happens to shared subscriptions.
func (p *moody) refuseGroups(on bool) {
	rule := func(it stream.Item) bool { return on && strings.Contains(string(it.Op), groupPrefix) }
	p.rule.Store(&rule)
}

func newMoodyHouse(t *testing.T) (*house, *moody) {
	m := &moody{}
	return newHouse(t, func(c *Config) { m.Publisher, c.Publisher = c.Publisher, m }), m
}

func newReceiver() *receiver { return &receiver{held: map[uint16]bool{}} }

// A PUBREC that is followed by one with an error, while the first is being written
// down: the first counts, and nothing else is released.
func TestPubrecIsTakenBack(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{})
	var gate sync.Mutex
	log.Hold = func() { gate.Lock(); defer gate.Unlock() }
	h := newHouseOver(t, log)
	s := h.connect(5, "s", keep)
	s.subscribe(1, sub("t", 2))
	h.publish("t", "x", q2)
	m := s.message("t", "x")
	gate.Lock()
	s.send(ackOf(packets.Pubrec, m.PacketID))
	s.silence()
	h.loop.do(func() {}) // the save is under way
	back := ackOf(packets.Pubrec, m.PacketID)
	back.ReasonCode = 0x80
	s.send(back)
	s.silence()
	h.loop.do(func() {})
	gate.Unlock()
	if rel := s.want(packets.Pubrel); rel.PacketID != m.PacketID {
		t.Errorf("PUBREL %d, want %d", rel.PacketID, m.PacketID)
	}
	s.send(ackOf(packets.Pubcomp, m.PacketID))
	s.silence()
}

// The log says of a packet id that its message was received. Until it knows that
// this is over the id is no other message's, or a crash would release that one.
func TestPacketIDIsFreeWhenTheLogKnows(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s", keep)
	s.subscribe(1, sub("t", 2))
	h.publish("t", "first", q2)
	r := newReceiver()
	h.finish(s, r)
	var wg sync.WaitGroup
	for range 65_534 {
		wg.Add(1)
		h.log.Publish(stream.Item{Publication: stream.Publication{Subject: "/other", Payload: []byte("x")}}, func(stream.Place, error) { wg.Done() })
	}
	wg.Wait()
	h.publish("t", "second", q2)
	r.take(s.want(packets.Publish)) // the client has it, and its PUBREC is lost with the broker
	h = h.restart(true, s)
	s = h.connect(5, "s", keep)
	h.finish(s, r)
	if !slices.Equal(r.got, []string{"first", "second"}) {
		t.Errorf("got %v", r.got)
	}
}

// Retained messages that came are not owed again, however often the client comes back.
func TestRetainedComesOnce(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		h.publish("r", "x", q2|stream.Retain)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("r", 2))
		r := newReceiver()
		h.finish(s, r)
		for range 3 {
			s.goodbye()
			s = h.connect(version, "s", keep)
			h.finish(s, r)
		}
		if len(r.got) != 1 {
			t.Errorf("got %v", r.got)
		}
	})
}

// What a member that is not kept leaves of a kept group waits for the others.
func TestShareKeepsWhatAFleetingMemberLeft(t *testing.T) {
	h := newHouse(t)
	k := h.connect(5, "k", keep)
	k.subscribe(1, sub("$share/g/t", 1))
	f := h.connect(5, "f")
	f.subscribe(1, sub("$share/g/t", 1))
	k.goodbye()
	h.publish("t", "x", q1)
	f.message("t", "x") // not acknowledged
	h.hangUp(f)
	k = h.connect(5, "k", keep)
	k.send(ackOf(packets.Puback, k.message("t", "x").PacketID))
	k.silence()
}

// A group whose record cannot be had now gives its members nothing until it can, and
// then everything once. A member that left meanwhile is not asked.
func TestShareWaitsForItsRecord(t *testing.T) {
	h, m := newMoodyHouse(t)
	k := h.connect(5, "k", keep)
	k.subscribe(1, sub("$share/g/t", 1))
	k.goodbye()
	eventually(t, "the group is written down", func() bool { s, ok := h.log.Broker.Session(groupPrefix + "g/t"); return ok && s.Holder == 0 })
	m.refuseGroups(true)
	b := h.connect(5, "b")
	b.subscribe(1, sub("$share/g/t", 1))
	gone := h.connect(5, "gone", keep)
	gone.subscribe(1, sub("$share/g/t", 1))
	h.hangUp(gone)
	for i := range 3 {
		h.publish("t", fmt.Sprint(i), q1)
	}
	b.subscribe(2, sub("other", 1)) // which wakes the group
	eventually(t, "it is tried again", func() bool { return m.refused.Load() > 1 })
	b.silence()
	m.refuseGroups(false)
	for i := range 3 {
		b.send(ackOf(packets.Puback, b.message("t", fmt.Sprint(i)).PacketID))
	}
	b.silence()
}

// After a crash a group goes on for a member that joined after its last save.
func TestShareGoesOnForALateMember(t *testing.T) {
	h := newHouse(t)
	a := h.connect(5, "a", keep)
	a.subscribe(1, sub("$share/g/t", 1))
	h.publish("t", "1", q1)
	a.send(ackOf(packets.Puback, a.message("t", "1").PacketID))
	a.silence()
	b := h.connect(5, "b", keep)
	b.subscribe(1, sub("$share/g/t", 1))
	a.goodbye()
	h.connect(5, "a").goodbye() // ends a's session
	h = h.restart(true, b)
	h.publish("t", "while down", q1)
	b = h.connect(5, "b", keep)
	r := newReceiver()
	eventually(t, "it comes", func() bool { b.answer(r); return slices.Contains(r.got, "while down") })
}

// The record of a group ends with its last member's UNSUBSCRIBE.
func TestShareEndsWithItsLastMember(t *testing.T) {
	h := newHouse(t)
	k := h.connect(4, "k", keep)
	var filters packets.Subscriptions
	for i := range 200 {
		filters = append(filters, sub(fmt.Sprintf("$share/g%d/t", i), 1))
	}
	k.subscribe(1, filters...)
	k.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2, Filters: filters})
	k.want(packets.Unsuback)
	eventually(t, "no group is left in the log", func() bool { return h.log.Broker.Stats().Sessions == 1 })
}

// What a kept session has under way is bounded, whatever its client would take: each
// of its PUBRECs writes all of it down.
func TestKeptWindowIsBounded(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s", keep, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 65535 })
	s.subscribe(1, sub("t", 2))
	for i := range maxKept + 50 {
		h.publish("t", fmt.Sprint(i), q2)
	}
	r := newReceiver()
	var answers []packets.Packet
	for range maxKept {
		a, _ := r.take(s.want(packets.Publish))
		answers = append(answers, a)
	}
	s.silence()
	for _, a := range answers {
		s.send(a)
	}
	h.finish(s, r)
	if len(r.got) != maxKept+50 || len(r.held) > 0 {
		t.Errorf("%d messages, %d ids held", len(r.got), len(r.held))
	}
}
