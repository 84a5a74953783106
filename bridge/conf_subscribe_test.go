package bridge

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// subscribeWith sends a SUBSCRIBE with a subscription identifier.
func (p *peer) subscribeWith(identifier int, filters ...packets.Subscription) {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 9, Filters: filters}
	if identifier > 0 {
		pk.Properties.SubscriptionIdentifier = []int{identifier}
	}
	p.send(pk)
	p.want(packets.Suback)
}

func (p *peer) unsubscribe(filters ...string) string {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 8}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
	}
	p.send(pk)
	ack := p.want(packets.Unsuback)
	if ack.PacketID != 8 {
		p.t.Errorf("UNSUBACK %d, want 8", ack.PacketID)
	}
	return fmt.Sprintf("%x", ack.ReasonCodes)
}

// A filter that is subscribed again replaces the subscription, all of it: QoS,
// options, identifier; retained messages come again and nothing is lost between
// (MQTT 5, 3.8.4-3, 3.8.4-4, 3.3.1-9; 3.1.1, 3.8.4-3).
func TestSubscribeReplaces(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		h.publish("t", "kept", q1|stream.Retain)
		s := h.connect(version, "s")
		wide := sub("t", 2)
		wide.RetainAsPublished = true
		if version == 5 {
			s.subscribeWith(7, wide)
		} else {
			s.subscribe(1, sub("t", 2))
		}
		if m := s.message("t", "kept"); m.FixedHeader.Qos != 1 || !m.FixedHeader.Retain {
			t.Errorf("QoS %d, retain %v", m.FixedHeader.Qos, m.FixedHeader.Retain)
		}
		s.subscribe(2, sub("t", 0))
		if m := s.message("t", "kept"); m.FixedHeader.Qos != 0 || !m.FixedHeader.Retain || len(m.Properties.SubscriptionIdentifier) != 0 {
			t.Errorf("again: QoS %d, retain %v, identifiers %v", m.FixedHeader.Qos, m.FixedHeader.Retain, m.Properties.SubscriptionIdentifier)
		}
		h.publish("t", "live", 2<<1|stream.Retain)
		if m := s.message("t", "live"); m.FixedHeader.Qos != 0 || m.FixedHeader.Retain || len(m.Properties.SubscriptionIdentifier) != 0 {
			t.Errorf("live: QoS %d, retain %v, identifiers %v", m.FixedHeader.Qos, m.FixedHeader.Retain, m.Properties.SubscriptionIdentifier)
		}
		s.silence() // once
		// While messages flow, subscribing again and again loses none.
		s.unsubscribe("t")
		s.subscribe(3, sub("flow", 1))
		const n = 100
		go func() {
			for i := range n {
				h.log.Publish(stream.Item{Publication: stream.Publication{Subject: "/flow", Payload: fmt.Append(nil, i), Flags: q1}},
					func(stream.Place, error) {})
			}
		}()
		next, subacks := 0, 0
		for range 5 {
			s.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 4, Filters: packets.Subscriptions{sub("flow", 1)}})
		}
		for next < n || subacks < 5 {
			pk, err := s.read(patience)
			if err != nil {
				t.Fatalf("after %d messages and %d SUBACKs: %v", next, subacks, err)
			}
			switch pk.FixedHeader.Type {
			case packets.Suback:
				subacks++
			case packets.Publish:
				if string(pk.Payload) != fmt.Sprint(next) {
					t.Fatalf("got %s, want %d", pk.Payload, next)
				}
				next++
				s.send(ackOf(packets.Puback, pk.PacketID))
			}
		}
	})
}

// A session that is behind when it subscribes again to what it has loses nothing of
// it (MQTT 5, 3.8.4-4).
func TestSubscribeReplacesWhileBehind(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Window = 1 })
		s := h.connect(version, "s")
		s.subscribe(1, sub("t", 1))
		for i := range 4 {
			h.publish("t", fmt.Sprint(i), q1)
		}
		m := s.message("t", "0")
		s.subscribe(2, sub("t", 1))
		for i := 1; i < 4; i++ {
			s.send(ackOf(packets.Puback, m.PacketID))
			m = s.message("t", fmt.Sprint(i))
		}
	})
}

// SUBACK has a code for each filter, in their order, and each filter counts as if it
// had come alone (MQTT 5, 3.8.4-1, 3.8.4-2, 3.8.4-5 to 3.8.4-7, 3.9.3-1, 3.9.3-2).
func TestSubackAnswersEachFilter(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Authorizer = doorman{} })
		h.publish("a", "kept", stream.Retain)
		s := h.connect(version, "s", ann)
		ack := s.subscribe(300, sub("a", 2), sub("#/x", 1), sub("secret", 1), sub("b", 1), sub("a", 0), sub("c", 0))
		want := map[byte]string{4: "028080010000", 5: "028f87010000"}[version]
		if got := fmt.Sprintf("%x", ack.ReasonCodes); got != want {
			t.Errorf("SUBACK %s, want %s", got, want)
		}
		s.message("a", "kept")
		h.publish("a", "live", 2<<1)
		if m := s.message("a", "live"); m.FixedHeader.Qos != 0 { // the last one counts
			t.Errorf("QoS %d, want 0", m.FixedHeader.Qos)
		}
		h.publish("b", "live", 2<<1)
		s.message("b", "live")
	})
}

// UNSUBSCRIBE compares character by character, answers each filter in order, also one
// that is not there; what is under way is finished, what is newer does not come
// (MQTT 5, 3.10.4-1 to 3.10.4-6, 3.11.3-1, 3.11.3-2; 3.1.1, 3.10.4-1 to 3.10.4-6).
func TestUnsubscribe(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("a/+", 2), sub("a/b", 0), sub("A/+", 0), sub("$share/g/a/+", 1))
		s.unsubscribe("$share/g/a/+")
		h.publish("a/x", "one", 1<<1)
		h.publish("a/x", "two", 2<<1)
		one, two := s.message("a/x", "one"), s.message("a/x", "two")
		want := map[byte]string{4: "", 5: "1111001111"}[version]
		if got := s.unsubscribe("a/#", "+/+", "a/+", "a/+", "a/x"); got != want {
			t.Errorf("UNSUBACK %q, want %q", got, want)
		}
		h.publish("a/x", "later", 2<<1)
		s.silence()
		h.publish("a/b", "still", 0) // its own subscription is there
		s.message("a/b", "still")
		// What was sent is finished, also on the next connection.
		s.send(ackOf(packets.Puback, one.PacketID))
		s.silence()
		h.hangUp(s)
		s = h.connect(version, "s", keep)
		if m := s.message("a/x", "two"); !m.FixedHeader.Dup || m.PacketID != two.PacketID {
			t.Errorf("DUP %v, id %d", m.FixedHeader.Dup, m.PacketID)
		}
		s.send(ackOf(packets.Pubrec, two.PacketID))
		s.want(packets.Pubrel)
		s.send(ackOf(packets.Pubcomp, two.PacketID))
		s.silence()
		if version == 5 {
			if got := s.unsubscribe("a/b", "#/a"); got != "008f" {
				t.Errorf("UNSUBACK %s, want 008f", got)
			}
		}
	})
}

// Subscription identifiers come with the messages of their subscriptions, live and
// retained, also after a return; they can be as large as MQTT allows (MQTT 5, 3.3.4-3
// to 3.3.4-5).
func TestSubscriptionIdentifiers(t *testing.T) {
	h := newHouse(t)
	h.publish("t", "kept", q1|stream.Retain)
	s := h.connect(5, "s", keep)
	ids := func(m *packets.Packet) string { return fmt.Sprint(m.Properties.SubscriptionIdentifier) }
	s.subscribeWith(268_435_455, sub("t", 1))
	m := s.message("t", "kept")
	if ids(m) != "[268435455]" {
		t.Errorf("retained: %s", ids(m))
	}
	s.send(ackOf(packets.Puback, m.PacketID))
	s.subscribe(2, sub("+", 1))
	s.message("t", "kept")
	h.publish("t", "live", q1)
	if m := s.message("t", "live"); ids(m) != "[268435455]" {
		t.Errorf("live: %s", ids(m))
	}
	h.publish("u", "none", q1)
	if m := s.message("u", "none"); ids(m) != "[]" {
		t.Errorf("another subscription: %s", ids(m))
	}
	h.hangUp(s)
	h.publish("t", "missed", q1)
	s = h.connect(5, "s", keep)
	for range 3 { // what was not acknowledged, with what it came with
		s.want(packets.Publish)
	}
	if m := s.message("t", "missed"); ids(m) != "[268435455]" {
		t.Errorf("missed: %s", ids(m))
	}
}

// No local is for the connections of the client id that published, whatever else
// they subscribe (MQTT 5, 3.8.3-3).
func TestNoLocal(t *testing.T) {
	h := newHouse(t)
	c := h.connect(5, "c")
	quiet := sub("t/#", 1)
	quiet.NoLocal = true
	c.subscribe(1, quiet)
	c.send(pub("t/1", "mine", 1, 1))
	c.want(packets.Puback)
	c.silence()
	c.subscribe(2, sub("t/+", 0)) // one that takes its own, beside it
	c.send(pub("t/1", "mine again", 1, 1))
	got := map[byte]int{}
	for range 2 {
		pk, err := c.read(patience)
		if err != nil {
			t.Fatal(err)
		}
		if pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos != 0 {
			t.Errorf("QoS %d: by the subscription that does not take it", pk.FixedHeader.Qos)
		}
		got[pk.FixedHeader.Type]++
	}
	if got[packets.Publish] != 1 || got[packets.Puback] != 1 {
		t.Errorf("got %v", got)
	}
}

// Wildcards and levels, as the specification's own examples have them (MQTT 5, 4.7.1,
// 4.7.2).
func TestWildcards(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		for _, c := range []struct {
			filter   string
			yes, not []string
		}{
			{"sport/tennis/player1/#", []string{"sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"}, []string{"sport/tennis/player11", "sport/tennis"}},
			{"sport/#", []string{"sport", "sport/"}, []string{"sports", "Sport"}},
			{"#", []string{"a", "/", "a/b", "/a"}, []string{"$x", "$x/a"}},
			{"sport/tennis/+", []string{"sport/tennis/player1", "sport/tennis/"}, []string{"sport/tennis", "sport/tennis/player1/ranking"}},
			{"sport/+", []string{"sport/"}, []string{"sport"}},
			{"+/tennis/#", []string{"sport/tennis", "/tennis/x"}, []string{"tennis"}},
			{"+", []string{"finance"}, []string{"/finance", "$x"}},
			{"+/+", []string{"/finance", "a/b"}, []string{"finance", "$x/a", "a/b/c"}},
			{"/+", []string{"/finance"}, []string{"finance"}},
			{"+/monitor/Clients", []string{"a/monitor/Clients"}, []string{"$x/monitor/Clients"}},
			{"$x/#", []string{"$x", "$x/monitor/Clients"}, []string{"x/a"}},
			{"$x/monitor/+", []string{"$x/monitor/Clients"}, []string{"x/monitor/Clients"}},
		} {
			s := h.connect(version, "s")
			s.subscribe(1, sub(c.filter, 0))
			for _, topic := range append(c.not, c.yes...) {
				h.publish(topic, c.filter, 0)
			}
			for _, topic := range c.yes {
				s.message(topic, c.filter)
			}
			s.silence()
			s.goodbye()
		}
	})
}

// A shared subscription keeps each member's QoS; a delivery of QoS 2 that began is
// finished with its member and goes to no other, also when that one's session ends;
// one that a member refuses goes to nobody (MQTT 5, 4.8.2-3 to 4.8.2-6).
func TestShareStaysWithItsMember(t *testing.T) {
	h := newHouse(t)
	a := h.connect(5, "a", keep)
	a.subscribe(1, sub("$share/g/t", 2))
	h.publish("t", "two", 2<<1)
	two := a.message("t", "two")
	b := h.connect(5, "b")
	b.subscribe(1, sub("$share/g/t", 1))
	h.hangUp(a)
	h.publish("t", "next", 2<<1)
	if m := b.message("t", "next"); m.FixedHeader.Qos != 1 {
		t.Errorf("QoS %d, granted was 1", m.FixedHeader.Qos)
	}
	b.silence()
	a = h.connect(5, "a", keep)
	if m := a.message("t", "two"); !m.FixedHeader.Dup || m.PacketID != two.PacketID {
		t.Errorf("DUP %v, id %d", m.FixedHeader.Dup, m.PacketID)
	}
	h.hangUp(a)
	a = h.connect(5, "a") // a clean start: the session with it is over
	a.silence()
	b.silence()
	// Refused.
	b.goodbye()
	a.subscribe(1, sub("$share/g/t", 2))
	for _, qos := range []byte{1, 2} {
		h.publish("t", "refused", stream.Flags(0).WithQoS(qos))
		no := ackOf(ackType(qos), a.message("t", "refused").PacketID)
		no.ReasonCode = 0x80
		a.send(no)
		a.silence()
	}
	b = h.connect(5, "b")
	b.subscribe(1, sub("$share/g/t", 1))
	h.hangUp(a)
	b.silence()
}

// Two groups and an ordinary subscription on one filter are three subscriptions.
func TestGroupsAreApart(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		c := h.connect(version, "c")
		c.subscribe(1, sub("$share/g/t", 1))
		d := h.connect(version, "d")
		d.subscribe(1, sub("$share/h/t", 1))
		e := h.connect(version, "e")
		e.subscribe(1, sub("t", 1))
		h.publish("t", "x", q1)
		for _, p := range []*peer{c, d, e} {
			p.message("t", "x")
			p.silence()
		}
		// A share name in another case is another group, "$SHARE" is a topic's level.
		e.unsubscribe("t")
		e.subscribe(2, sub("$SHARE/g/t", 0), sub("$share/G/t", 0))
		h.publish("t", "y", q1)
		for _, p := range []*peer{c, d, e} {
			p.message("t", "y")
			p.silence()
		}
	})
}
