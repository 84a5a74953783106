package bridge

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// DUP says that this connection's sender sends again, and is not handed on; QoS 0 has
// none (MQTT 5, 3.3.1-1 to 3.3.1-3, 4.3.1-1, 4.3.2-2, 4.3.3-2).
func TestDupIsNotHandedOn(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s, zero := h.connect(version, "s"), h.connect(version, "zero")
		s.subscribe(1, sub("t", 2))
		zero.subscribe(1, sub("t", 0))
		p := h.connect(version, "p")
		for qos := byte(1); qos <= 2; qos++ {
			pk := pub("t", "x", qos, uint16(qos))
			pk.FixedHeader.Dup = true
			p.send(pk)
			p.want(ackType(qos))
			if m := s.message("t", "x"); m.FixedHeader.Dup || m.FixedHeader.Qos != qos {
				t.Errorf("QoS %d: DUP %v, QoS %d", qos, m.FixedHeader.Dup, m.FixedHeader.Qos)
			}
			if m := zero.message("t", "x"); m.FixedHeader.Dup || m.FixedHeader.Qos != 0 {
				t.Errorf("QoS 0: DUP %v, QoS %d", m.FixedHeader.Dup, m.FixedHeader.Qos)
			}
		}
	})
}

// What QoS asks for and nothing else: nothing, PUBACK, PUBREC and PUBCOMP, with the
// packet id that was sent (MQTT 5, 2.2.1-5, 2.2.1-6, 3.3.4-1, 4.3.2-4, 4.3.3-8, 4.3.3-11).
func TestAnswersHaveTheirPacketID(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		p := h.connect(version, "p")
		p.send(pub("t", "x", 0, 0))
		p.silence()
		for _, id := range []uint16{1, 255, 256, 0x7fff, 0xffff} {
			p.send(pub("t", "x", 1, id))
			if ack := p.want(packets.Puback); ack.PacketID != id || ack.ReasonCode != 0 {
				t.Errorf("PUBACK %d %#x, want %d", ack.PacketID, ack.ReasonCode, id)
			}
			p.send(pub("t", "x", 2, id))
			if ack := p.want(packets.Pubrec); ack.PacketID != id || ack.ReasonCode != 0 {
				t.Errorf("PUBREC %d %#x, want %d", ack.PacketID, ack.ReasonCode, id)
			}
			p.send(ackOf(packets.Pubrel, id))
			if ack := p.want(packets.Pubcomp); ack.PacketID != id || ack.ReasonCode != 0 {
				t.Errorf("PUBCOMP %d %#x, want %d", ack.PacketID, ack.ReasonCode, id)
			}
			p.subscribe(id, sub("u", 0))
			p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: id, Filters: packets.Subscriptions{sub("u", 0)}})
			if ack := p.want(packets.Unsuback); ack.PacketID != id {
				t.Errorf("UNSUBACK %d, want %d", ack.PacketID, id)
			}
		}
		p.silence()
	})
}

// A packet id is free when its publication is over, or refused: then the same id is a
// new publication, DUP or not (MQTT 5, 4.3.2-5, 4.3.3-9, 4.3.3-12).
func TestPacketIDIsUsedAgain(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Authorizer = doorman{} })
		s := h.connect(version, "s", ann)
		s.subscribe(1, sub("#", 0))
		p := h.connect(version, "p", ann)
		for i := range 3 {
			pk := pub("t", fmt.Sprint(i), 1, 7)
			pk.FixedHeader.Dup = i > 0
			p.send(pk)
			p.want(packets.Puback)
			s.message("t", fmt.Sprint(i))
		}
		for i := range 3 {
			pk := pub("t", fmt.Sprint(i), 2, 7)
			pk.FixedHeader.Dup = i > 0
			p.send(pk)
			p.want(packets.Pubrec)
			p.send(ackOf(packets.Pubrel, 7))
			p.want(packets.Pubcomp)
			s.message("t", fmt.Sprint(i))
		}
		if version == 5 {
			p.send(pub("secret", "x", 2, 7))
			if ack := p.want(packets.Pubrec); ack.ReasonCode != 0x87 {
				t.Errorf("PUBREC %#x, want 0x87", ack.ReasonCode)
			}
			p.send(pub("t", "new", 2, 7))
			p.want(packets.Pubrec)
			s.message("t", "new")
		}
	})
}

// The same when the log refuses: what it has not taken is not remembered (MQTT 5,
// 4.3.3-9).
func TestRefusedPacketIDIsUsedAgain(t *testing.T) {
	slow := &slowPublisher{}
	h := newHouse(t, slowly(slow))
	p := h.connect(5, "p")
	for i, c := range []struct {
		err  error
		code byte
	}{{broker.ErrRefused, 0x97}, {broker.ErrRefused, 0x97}, {nil, 0}} {
		p.send(pub("t", fmt.Sprint(i), 2, 7))
		eventually(t, "it is handed in", func() bool { return slow.waiting() == i+1 })
		slow.finish(i, c.err)
		if ack := p.want(packets.Pubrec); ack.ReasonCode != c.code {
			t.Errorf("time %d: PUBREC %#x, want %#x", i, ack.ReasonCode, c.code)
		}
	}
	p.send(ackOf(packets.Pubrel, 7))
	if ack := p.want(packets.Pubcomp); ack.ReasonCode != 0 {
		t.Errorf("PUBCOMP %#x", ack.ReasonCode)
	}
}

// A retained message replaces the one before it, with its QoS; one without the flag
// leaves it alone; an empty one takes it away and is delivered like any other (MQTT 5,
// 3.3.1-5 to 3.3.1-8; 3.1.1, 3.3.1-5 to 3.3.1-12).
func TestRetainedIsReplaced(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		p := h.connect(version, "p")
		live := h.connect(version, "live")
		live.subscribe(1, sub("t", 2))
		say := func(payload string, qos byte, retain bool) {
			t.Helper()
			pk := pub("t", payload, qos, 1)
			if qos == 0 {
				pk.PacketID = 0
			}
			pk.FixedHeader.Retain = retain
			p.send(pk)
			switch qos {
			case 1:
				p.want(packets.Puback)
			case 2:
				p.want(packets.Pubrec)
				p.send(ackOf(packets.Pubrel, 1))
				p.want(packets.Pubcomp)
			}
			if m := live.message("t", payload); m.FixedHeader.Retain || m.FixedHeader.Qos != qos {
				t.Errorf("live %q: retain %v, QoS %d", payload, m.FixedHeader.Retain, m.FixedHeader.Qos)
			}
		}
		kept := func(payload string, qos byte) {
			t.Helper()
			s := h.connect(version, "s")
			s.subscribe(1, sub("t", 2))
			if payload != "" {
				if m := s.message("t", payload); !m.FixedHeader.Retain || m.FixedHeader.Qos != qos || m.FixedHeader.Dup {
					t.Errorf("kept %q: retain %v, QoS %d, DUP %v", payload, m.FixedHeader.Retain, m.FixedHeader.Qos, m.FixedHeader.Dup)
				}
			}
			s.silence()
			s.goodbye()
		}
		kept("", 0)
		say("first", 0, true)
		kept("first", 0)
		say("second", 2, true)
		kept("second", 2)
		say("passing", 1, false)
		kept("second", 2)
		say("", 1, false) // empty, and not retained: nothing happens to what is
		kept("second", 2)
		say("third", 1, true)
		kept("third", 1)
		say("", 0, true)
		kept("", 0)
		say("", 1, true) // there is none
		kept("", 0)
	})
}

// Names go through as they are: no case, no Unicode form, no slash is changed, and
// the byte order mark stays (MQTT 5, 1.5.4-3, 3.3.2-3, 4.7.3-1, 4.7.3-4).
func TestNamesAreNotTouched(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		names := []string{"a", "A", "/a", "a/", "a//b", "a/b", "/", "//", " ", "a b", "\ufeffa", "é", "e\u0301", "ﬁ", "fi", "\u0001", "\ufffd", "\U0001f642", ".", "..", "a/../b", "%2f", "*", ">", "$", "a/$SYS"}
		all := h.connect(version, "all")
		all.subscribe(1, sub("#", 0))
		p := h.connect(version, "p")
		peers := map[string]*peer{}
		for _, n := range names {
			s := h.connect(version, "s"+n)
			s.subscribe(1, sub(n, 0))
			peers[n] = s
		}
		for _, n := range names {
			p.send(pub(n, "to "+n, 0, 0))
			peers[n].message(n, "to "+n)
			if n[0] != '$' {
				all.message(n, "to "+n)
			}
		}
		for _, n := range names { // and to nobody else
			peers[n].silence()
		}
	})
}

// Every alias up to the announced maximum is good, can be given another topic, and
// its message has the topic and none of the alias for a subscriber that takes none
// (MQTT 5, 3.1.2-27, 3.3.2-12).
func TestEveryTopicAlias(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("#", 1))
	p := h.connect(5, "p")
	say := func(topic, payload string, alias, id uint16) {
		pk := pub(topic, payload, 1, id)
		pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = alias, true
		p.send(pk)
		p.want(packets.Puback)
	}
	for round := range 2 {
		for a := uint16(1); a <= 32; a++ {
			say(fmt.Sprintf("t/%d/%d", round, a), "set", a, 1)
			m := s.message(fmt.Sprintf("t/%d/%d", round, a), "set")
			if m.Properties.TopicAliasFlag {
				t.Fatal("an alias for who takes none")
			}
			s.send(ackOf(packets.Puback, m.PacketID))
		}
		for a := uint16(32); a >= 1; a-- {
			say("", "used", a, 1)
			m := s.message(fmt.Sprintf("t/%d/%d", round, a), "used")
			s.send(ackOf(packets.Puback, m.PacketID))
		}
	}
}

// What began to be delivered is finished though it expires meanwhile: the same packet
// id, DUP, PUBREL (MQTT 5, 4.3.3-7); and so is what a client publishes (4.3.3-13).
func TestExpiryDuringQoS2(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.connect(5, "s", keep)
	s.subscribe(1, sub("t", 2))
	p := h.connect(5, "p")
	pk := pub("t", "short", 2, 1)
	pk.Properties.MessageExpiryInterval = 1
	p.send(pk)
	p.want(packets.Pubrec)
	m := s.message("t", "short")
	start := time.Now()
	eventually(t, "the message expires", func() bool { return time.Since(start) > 1200*time.Millisecond })
	p.send(ackOf(packets.Pubrel, 1))
	if ack := p.want(packets.Pubcomp); ack.ReasonCode != 0 {
		t.Errorf("PUBCOMP %#x", ack.ReasonCode)
	}
	h.hangUp(s)
	s = h.connect(5, "s", keep)
	again := s.message("t", "short")
	if !again.FixedHeader.Dup || again.PacketID != m.PacketID {
		t.Errorf("DUP %v, id %d, want true, %d", again.FixedHeader.Dup, again.PacketID, m.PacketID)
	}
	s.send(ackOf(packets.Pubrec, again.PacketID))
	s.want(packets.Pubrel)
	s.send(ackOf(packets.Pubcomp, again.PacketID))
	s.silence()
}

// Nothing is sent again on the same connection, and nothing that was acknowledged,
// also by refusing it (MQTT 5, 4.4.0-1, 4.4.0-2, 4.3.3-6).
func TestNothingIsSentAgainInVain(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("t", 2))
		var ids []uint16
		for i, qos := range []byte{1, 1, 2, 2} {
			h.publish("t", fmt.Sprint(i), stream.Flags(0).WithQoS(qos))
			ids = append(ids, s.message("t", fmt.Sprint(i)).PacketID)
		}
		s.silence()
		no := func(typ byte, id uint16) {
			pk := ackOf(typ, id)
			if version == 5 {
				pk.ReasonCode = 0x83
			}
			s.send(pk)
		}
		no(packets.Puback, ids[0])
		s.send(ackOf(packets.Pubrec, ids[3]))
		s.want(packets.Pubrel)
		if version == 5 {
			no(packets.Pubrec, ids[2])
		}
		s.silence()
		h.hangUp(s)
		s = h.connect(version, "s", keep)
		if m := s.message("t", "1"); !m.FixedHeader.Dup || m.PacketID != ids[1] {
			t.Errorf("DUP %v, id %d", m.FixedHeader.Dup, m.PacketID)
		}
		if version == 4 {
			s.message("t", "2")
		}
		if rel := s.want(packets.Pubrel); rel.PacketID != ids[3] {
			t.Errorf("PUBREL %d, want %d", rel.PacketID, ids[3])
		}
		s.silence()
	})
}

// A quota of zero stops deliveries of QoS 1 and 2 and nothing else: QoS 0, PINGRESP,
// SUBACK and acknowledgements go on (MQTT 5, 3.3.4-9, 3.3.4-10, 4.9.0-1 to 4.9.0-3).
func TestQuotaStopsDeliveriesOnly(t *testing.T) {
	h := newHouse(t)
	c := h.connect(5, "c", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 2 })
	c.subscribe(1, sub("t", 2), sub("zero", 0))
	for i := range 4 {
		h.publish("t", fmt.Sprint(i), stream.Flags(0).WithQoS(byte(1+i%2)))
	}
	first, second := c.message("t", "0"), c.message("t", "1")
	c.silence()
	c.subscribe(2, sub("u", 0))
	c.send(pub("x", "x", 2, 1))
	c.want(packets.Pubrec)
	c.send(ackOf(packets.Pubrel, 1))
	c.want(packets.Pubcomp)
	c.send(ackOf(packets.Pubrec, second.PacketID))
	c.want(packets.Pubrel)
	c.silence() // PUBREC gives nothing back, PUBCOMP does
	c.send(ackOf(packets.Pubcomp, second.PacketID))
	c.message("t", "2")
	c.silence()
	c.send(ackOf(packets.Puback, first.PacketID))
	c.message("t", "3")
}

// Payload and properties are the publisher's: the broker does not look into a payload
// that is said to be text (MQTT 5, 3.3.2-4, 3.3.2-15 to 3.3.2-18, 3.3.2-20).
func TestPayloadFormat(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("t", 0))
	p := h.connect(5, "p")
	for _, format := range []byte{0, 1} {
		pk := pub("t", "\xff\x00not text", 0, 0)
		pk.Properties.PayloadFormat, pk.Properties.PayloadFormatFlag = format, true
		p.send(pk)
		if m := s.message("t", "\xff\x00not text"); !m.Properties.PayloadFormatFlag || m.Properties.PayloadFormat != format {
			t.Errorf("payload format %v %d, want %d", m.Properties.PayloadFormatFlag, m.Properties.PayloadFormat, format)
		}
	}
	p.send(pub("t", "unsaid", 0, 0))
	if m := s.message("t", "unsaid"); m.Properties.PayloadFormatFlag {
		t.Error("a payload format that nobody said")
	}
}

// PUBRELs leave in the order in which PUBRECs came (3.1.1, 4.6.0-4 and 4.6.0-6).
func TestPubrelsKeepTheOrder(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		for _, kept := range []bool{false, true} {
			h := newHouse(t)
			change := func(*packets.Packet) {}
			if kept {
				change = keep
			}
			s := h.connect(version, "s", change)
			s.subscribe(1, sub("t", 2))
			const n = 20
			var ids []uint16
			for i := range n {
				h.publish("t", fmt.Sprint(i), 2<<1)
				ids = append(ids, s.message("t", fmt.Sprint(i)).PacketID)
			}
			for _, id := range ids {
				s.send(ackOf(packets.Pubrec, id))
			}
			for i, id := range ids {
				if rel := s.want(packets.Pubrel); rel.PacketID != id {
					t.Fatalf("kept %v, PUBREL %d: id %d, want %d", kept, i, rel.PacketID, id)
				}
			}
		}
	})
}
