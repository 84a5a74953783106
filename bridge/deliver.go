package bridge

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// offer gives m to t's session, if it wants it and can take it; it reports
// false when the session has to come back to it. A delivery of QoS 0 that finds
// no room is dropped: its receiver asked for no more.
func (l *loop) offer(t *target, m *message) bool {
	if t = t.forMessage(&m.Message); t == nil {
		return true
	}
	d := deliveryOf(&m.Message, t.qos, t.retain, t.ids)
	d.where = t.where
	if l.send(t.session, m, d) {
		return true
	}
	if d.qos > 0 {
		return false
	}
	l.b.meters.droppedSlow.Inc()
	return true
}

// A delivery is how one session gets one message.
type delivery struct {
	qos    byte
	retain bool
	where  bool // it says the message's position
	rareSent
}

// rare gives what few deliveries have; nil: this one does not.
func (d *delivery) rare() *rareSent {
	if d.ids == nil && d.group == "" && d.subject == "" {
		return nil
	}
	r := d.rareSent
	return &r
}

// deliveryOf gives the delivery of m to who asked for qos at most, for the retain
// bit as published if asPublished, and to be told ids.
func deliveryOf(m *stream.Message, qos byte, asPublished bool, ids []uint32) delivery {
	return delivery{qos: min(qos, m.Flags.QoS()), retain: asPublished && m.Flags&stream.Retain != 0, rareSent: rareSent{ids: ids}}
}

// delivery gives the delivery of m by this subscription alone.
func (s *subscription) delivery(m *stream.Message) delivery {
	var ids []uint32
	if s.id != 0 {
		ids = []uint32{s.id}
	}
	d := deliveryOf(m, s.qos, s.retainAsPublished, ids)
	d.where = s.position
	return d
}

// send appends m to the session's connection. It reports false if the window or
// the buffer has no room; the loop is then woken when there is.
func (l *loop) send(s *session, m *message, d delivery) bool {
	if d.qos > 0 && !s.out.room(m.Index) {
		for l.acknowledge(s, true) && !s.out.room(m.Index) {
		}
		if !s.out.room(m.Index) {
			if s.out.isHeld(idOf(m.Index)) {
				l.wantSave(s)
			}
			return false
		}
	}
	f, told := l.frameFor(s, m, d.qos, d.retain, own{ids: d.ids, where: d.where})
	if f == nil {
		return true // MQTT 5, 3.1.2-25: as if it were sent
	}
	var id uint16
	if d.qos > 0 {
		id = s.out.add(sent{index: m.Index, rare: d.rare(), qos: d.qos, retain: d.retain, where: d.where})
		s.changed = true
	}
	if !l.put(s, f, id, told) {
		if d.qos > 0 {
			s.out.drop()
		}
		return false
	}
	return true
}

// frameFor gives m's frame for the session, and reports whether it tells what the
// session lost. nil: the client does not take a packet of m's size, which is
// counted.
func (l *loop) frameFor(s *session, m *message, qos byte, retain bool, o own) (f *frame, told bool) {
	c := s.client
	v5 := c.version == 5
	l.beside = nil
	var alias uint16
	if !v5 {
		o.ids, o.where = nil, false
	} else if o.lost = s.lost; c.maxAlias > 0 {
		alias, o.alias = c.aliasFor(m)
	}
	if o.plain() { // nearly always
		if f = m.shared(v5, qos, retain); c.tooLarge(f) {
			l.b.meters.droppedTooLarge.Inc()
			return nil, false
		}
		return f, false
	}
	if f = &l.alone; o.common() {
		f = m.variant(qos, retain, o.where, o.alias)
	} else {
		m.encode(f, v5, qos, retain, o)
	}
	if c.tooLarge(f) && (len(o.lost) > 0 || o.alias == aliasBeside) {
		o.lost = nil // told with a smaller one
		if o.alias == aliasBeside {
			o.alias = aliasNone
		}
		f = &l.alone
		m.encode(f, v5, qos, retain, o)
	}
	if c.tooLarge(f) {
		l.b.meters.droppedTooLarge.Inc()
		return nil, false
	}
	if f.alias > 0 {
		f.bytes[f.alias], f.bytes[f.alias+1] = byte(alias>>8), byte(alias)
		if o.alias == aliasBeside {
			l.beside = &c.topics[alias-1]
		}
	}
	return f, len(o.lost) > 0
}

// put appends f under packet id to the session's connection. It reports false if
// the buffer has no room; the loop is then woken when there is.
func (l *loop) put(s *session, f *frame, id uint16, told bool) bool {
	if !s.client.deliver(f.bytes, f.at, id) {
		return false
	}
	if told {
		s.lost = nil
	}
	if l.beside != nil {
		l.beside.known = true
	}
	l.touch(s.client)
	l.b.meters.deliveries.Inc()
	if l.unflushed += len(f.bytes); l.unflushed > maxUnflushed {
		l.flush()
	}
	return true
}

// touch has c flushed at the end of the turn.
func (l *loop) touch(c *client) {
	if !c.touched {
		c.touched = true
		l.dirty = append(l.dirty, c)
	}
}

// acknowledge takes what the session's client acknowledged, and reports whether
// that was anything. With wait the loop is woken for the next one.
func (l *loop) acknowledge(s *session, wait bool) bool {
	c := s.client
	l.acks = c.takeAcks(l.acks, wait)
	s.changed = s.changed || len(l.acks) > 0
	for _, a := range l.acks {
		i, ok := s.out.find(a.id)
		switch a.typ {
		case packets.Puback:
			if ok && s.out.at(i).qos == 1 {
				s.out.done(i)
			}
		case packets.Pubrec:
			l.pubrec(s, i, ok, a)
		case packets.Pubcomp:
			if ok && s.out.at(i).state == sentReleased {
				s.out.done(i)
				if s.fence != 0 {
					s.out.hold(a.id)
				}
			}
		}
	}
	return len(l.acks) > 0
}

// wantSave has the session saved at the end of the turn, or after the save that is
// under way.
func (l *loop) wantSave(s *session) {
	if s.urgent = true; !s.saving {
		l.urgent = append(l.urgent, s)
	}
}

// pubrec answers with PUBREL, or ends the delivery if the client refused it
// (MQTT 5, 4.3.3-4 and 4.3.3-5).
func (l *loop) pubrec(s *session, i uint32, ok bool, a inAck) {
	code := byte(0)
	switch {
	case !ok || s.out.at(i).qos != 2:
		if s.client.version == 5 {
			code = packets.ErrPacketIdentifierNotFound.Code
		}
	case s.out.at(i).state == sentReceived:
		return // its first PUBREC counts
	case a.code >= 0x80 && s.out.at(i).state == sentPublish:
		s.out.done(i)
		return
	case s.out.at(i).state == sentPublish && s.fence != 0: // save answers it
		s.out.at(i).state = sentReceived
		l.wantSave(s)
		return
	default:
		l.release(s, i)
		return
	}
	var b [5]byte
	s.client.post(appendAck(b[:0], packets.Pubrel, a.id, code))
	l.touch(s.client)
}
