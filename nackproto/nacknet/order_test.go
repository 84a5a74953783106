package nacknet

import (
	"testing"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// heldPublisher keeps what was handed in.
type heldPublisher struct {
	numbers []uint64
	dones   []func(stream.Place, error)
}

func (p *heldPublisher) Publish(it stream.Item, done func(stream.Place, error)) {
	p.numbers = append(p.numbers, it.Number)
	p.dones = append(p.dones, done)
}

// The publisher refuses a publish for the moment and takes others at once, before
// the loop has heard of it: the later ones must not get a place.
func TestNothingOvertakesARefusal(t *testing.T) {
	var held heldPublisher
	b := broker.New(stream.NewLedger(1))
	l := &loop{server: &Server{stats: newCounters(nil), cf: ServerConfig{Publisher: &held}}}
	l.core = session.New(session.Config{Driver: (*driver)(l), Source: b}, 0)
	c := &conn{id: l.core.Open(0)}
	l.conns = make([]*conn, c.id.Slot()+1)
	l.conns[c.id.Slot()] = c
	d := (*driver)(l)
	item := func(n uint64) stream.Item { return stream.Item{Publisher: 9, Number: n} }

	d.Publish(c.id, 0, item(1))
	held.dones[0](stream.Place{}, broker.ErrBusy)
	d.Publish(c.id, 1, item(2))
	if len(held.numbers) != 1 {
		t.Fatalf("numbers %v were handed in: 1 was refused, so 2 must wait for it", held.numbers)
	}
	events := l.inbox.take(nil)
	if len(events) != 2 || events[1].tag != 1 || events[1].code != nackproto.Busy {
		t.Fatalf("events %+v, want that both were refused", events)
	}
	for i := range events {
		l.handle(&events[i], 1)
	}
	d.Publish(c.id, 2, item(1))
	if len(held.numbers) != 2 {
		t.Error("the core has heard of the refusal, and 1 was not handed in again")
	}
}

// Two connections of one publisher wait to be read, as after a slow start. The
// younger is the one that the client is at, whichever HELLO is read first.
func TestTheYoungerConnectionStays(t *testing.T) {
	for _, c := range []struct {
		name  string
		order []uint64 // serials, as their HELLOs are read
	}{
		{"in order", []uint64{1, 2}},
		{"the other way round", []uint64{2, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Server{claims: map[stream.PublisherID]claim{}}
			l := &loop{server: s}
			for _, serial := range c.order {
				s.claim(claim{l, session.ID(serial), serial}, 9)
			}
			events := l.inbox.take(nil)
			if len(events) != 1 || events[0].kind != evReplaced || events[0].id != 1 {
				t.Errorf("events %+v, want that the older one was replaced", events)
			}
			if s.claims[9].id != 2 {
				t.Errorf("connection %v has the publisher, want the younger one", s.claims[9].id)
			}
		})
	}
}
