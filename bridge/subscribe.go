package bridge

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// maxLevels bounds the segments of a filter, as memory goes with them.
const maxLevels = 200

// maxSubBytes bounds the names of a session's filters, beside their number.
const maxSubBytes = 1 << 20

// A wish is one filter of a SUBSCRIBE and what the client is told about it.
type wish struct {
	sub      *subscription
	code     byte
	handling byte       // MQTT 5's retain handling
	retained bool       // it brings the retained messages
	begin    *beginning // where it begins, if the client said so
}

// subscribe answers a SUBSCRIBE, when it is in the log if the session is. The loop
// does it between two batches of messages and writes the SUBACK before anything
// that the subscription brings.
func (c *client) subscribe(pk *packets.Packet) error {
	if code := pk.SubscribeValidate(); code.Code != 0 {
		return code
	}
	if c.longAnswer(pk) {
		return packets.ErrPacketTooLarge
	}
	wishes := make([]wish, len(pk.Filters))
	for i := range pk.Filters {
		w, err := c.wish(&pk.Filters[i])
		if err != nil {
			return err
		}
		wishes[i] = w
	}
	ack := packets.Packet{ProtocolVersion: c.version, PacketID: pk.PacketID,
		FixedHeader: packets.FixedHeader{Type: packets.Suback}}
	a, err := asksOf(pk)
	if err == nil {
		err = a.check(wishes)
	}
	if err != nil {
		ack.Properties.ReasonString = err.Error()
		for i := range wishes {
			wishes[i] = c.unwish(packets.ErrImplementationSpecificError)
		}
	}
	l := c.b.loop
	var saved chan error // told when it is in the log where the filters begin
	l.do(func() {
		l.grant(c, wishes)
		saved = l.plan(c, &a, wishes)
	})
	if saved != nil {
		if err := <-saved; err != nil {
			return refusal(err)
		}
	}
	if fs := filtersOf(wishes); c.session.fence != 0 && len(fs) > 0 {
		switch err := c.say(stream.SubscribeSession(c.session.id, c.session.fence, fs)); {
		case errors.Is(err, broker.ErrRefused) || errors.Is(err, broker.ErrTooLarge):
			for i := range wishes {
				if wishes[i].sub != nil {
					wishes[i] = c.unwish(packets.ErrQuotaExceeded)
				}
			}
		case err != nil:
			return refusal(err)
		}
	}
	l.do(func() { l.subscribe(c, &ack, &a, wishes) })
	return nil
}

// plan looks where the wishes begin, if the client says it. A session in the log has
// to have it there before its filters are, or a crash between would make it forget
// what it owes: then the channel tells when it is.
func (l *loop) plan(c *client, a *asks, wishes []wish) (saved chan error) {
	s := c.session
	for i := range wishes {
		w := &wishes[i]
		if w.sub == nil {
			continue
		}
		w.sub.position = a.position
		if !a.resume {
			continue
		}
		b := l.beginning(a, w.sub.filter)
		w.begin, w.retained = &b, false
		if s.begins == nil {
			s.begins = map[string]stream.Index{}
		}
		s.begins[w.sub.name] = b.from
	}
	if len(s.begins) == 0 || s.fence == 0 {
		return nil
	}
	saved = make(chan error, 1)
	state := s.state(nil, s.at(l), l.b.cfg.Broker.Head(), false)
	l.b.cfg.Publisher.Publish(stream.Item{Op: stream.SaveSession(s.id, s.fence, state)}, func(_ stream.Place, err error) { saved <- err })
	return saved
}

// longAnswer reports whether the SUBACK or UNSUBACK would be larger than the client
// takes (MQTT 5, 3.1.2-24).
func (c *client) longAnswer(pk *packets.Packet) bool {
	n := 3 + len(pk.Filters)
	return c.maxPacket > 0 && 1+varintLen(n)+n > c.maxPacket
}

// say has what happens to the session written down, and waits for it.
func (c *client) say(op stream.SessionOp) error {
	done := make(chan error, 1)
	c.b.cfg.Publisher.Publish(stream.Item{Op: op}, func(_ stream.Place, err error) { done <- err })
	return <-done
}

// grant refuses the wishes for which the session has no room, and sees which bring
// the retained messages.
func (l *loop) grant(c *client, wishes []wish) {
	s := c.session
	had := make(map[string]bool, len(wishes))
	count, bytes := len(s.subs), s.subBytes
	for i := range wishes {
		w := &wishes[i]
		if w.sub == nil {
			continue
		}
		name := w.sub.name
		old := had[name] || s.subs[name] != nil
		if !old {
			if count++; count > l.b.cfg.MaxSubscriptions || bytes+len(name) > maxSubBytes {
				count--
				*w = c.unwish(packets.ErrQuotaExceeded)
				continue
			}
			bytes += len(name)
		}
		had[name] = true
		w.retained = w.sub.group == "" && (w.handling == 0 || w.handling == 1 && !old)
	}
}

func (c *client) wish(f *packets.Subscription) (wish, error) {
	if f.RetainHandling > 2 {
		return wish{}, packets.ErrProtocolViolation // MQTT 5, 3.8.3.1
	}
	group, filter, ok := splitFilter(f.Filter)
	switch {
	case !ok || strings.Count(string(filter), "/") > maxLevels:
		return c.unwish(packets.ErrTopicFilterInvalid), nil
	case group != "" && f.NoLocal:
		return wish{}, packets.ErrProtocolViolationInvalidSharedNoLocal // MQTT 5, 3.8.3-4
	case !c.b.cfg.Authorizer.Subscribe(c.who, filter):
		return c.unwish(packets.ErrNotAuthorized), nil
	}
	if c.bridge && c.version < 5 {
		// What it would say itself in MQTT 5: it wants the messages as they are, and
		// not those that it brought.
		f.NoLocal, f.RetainAsPublished = group == "", true
	}
	return wish{code: f.Qos, handling: f.RetainHandling, sub: &subscription{
		session: c.session, name: strings.Clone(f.Filter), group: strings.Clone(group), filter: filter,
		id: uint32(f.Identifier), qos: f.Qos, noLocal: f.NoLocal, retainAsPublished: f.RetainAsPublished,
	}}, nil
}

// unwish refuses one filter; MQTT 3 has one code for that.
func (c *client) unwish(code packets.Code) wish {
	if c.version < 5 {
		code = packets.ErrUnspecifiedError
	}
	return wish{code: code.Code}
}

// subscribe puts the subscriptions in, which begin at the log's head, writes the
// SUBACK, and lets the retained messages follow.
func (l *loop) subscribe(c *client, ack *packets.Packet, a *asks, wishes []wish) {
	s := c.session
	s.begins = nil
	head := l.b.cfg.Broker.Head()
	anew := map[string]bool{} // whose older messages come
	for _, w := range wishes {
		ack.ReasonCodes = append(ack.ReasonCodes, w.code)
		if w.sub == nil {
			continue
		}
		w.sub.since = head
		if old := s.subs[w.sub.name]; old != nil {
			if w.begin == nil {
				w.sub.since = old.since
			}
			l.index.replace(old, w.sub)
		} else {
			l.index.add(w.sub)
			l.joined(l.index.groupOf(w.sub))
			s.subBytes += len(w.sub.name)
		}
		s.subs[w.sub.name] = w.sub
		if w.retained || w.begin != nil {
			anew[w.sub.name] = true
		}
	}
	c.post(l.suback(c, ack, a, head, wishes))
	l.touch(c)
	for _, g := range s.groups {
		l.wakeGroup(g)
	}
	for _, w := range wishes {
		if w.sub != nil && w.retained {
			l.tellSysRetained(w.sub)
		}
	}
	if len(anew) == 0 {
		return
	}
	s.jobs = slices.DeleteFunc(s.jobs, func(j *job) bool { return anew[j.name] })
	for _, w := range wishes {
		if w.sub != nil && anew[w.sub.name] {
			j := &job{name: w.sub.name, at: head}
			if w.begin != nil {
				j.again, j.after = true, w.begin.from
			}
			s.jobs = append(s.jobs, j)
			delete(anew, w.sub.name)
		}
	}
	s.changed = true
	if !s.late {
		s.late, s.cursor = true, l.cursor
		l.wakeUp(s)
	}
}

// unsubscribe answers an UNSUBSCRIBE. What is in the window stays there.
func (c *client) unsubscribe(pk *packets.Packet) error {
	if code := pk.UnsubscribeValidate(); code.Code != 0 {
		return code
	}
	if c.longAnswer(pk) {
		return packets.ErrPacketTooLarge
	}
	names := make([]string, len(pk.Filters))
	for i := range pk.Filters {
		names[i] = pk.Filters[i].Filter
	}
	if c.session.fence != 0 {
		if err := c.say(stream.UnsubscribeSession(c.session.id, c.session.fence, names)); err != nil {
			return refusal(err)
		}
	}
	c.b.loop.do(func() { c.b.loop.unsubscribe(c, pk.PacketID, names) })
	return nil
}

func (l *loop) unsubscribe(c *client, id uint16, names []string) {
	s := c.session
	ack := packets.Packet{ProtocolVersion: c.version, PacketID: id,
		FixedHeader: packets.FixedHeader{Type: packets.Unsuback}}
	for _, name := range names {
		code := packets.CodeSuccess
		if sub := s.subs[name]; sub != nil {
			l.remove(sub)
			delete(s.subs, name)
			s.subBytes -= len(name)
			s.jobs = slices.DeleteFunc(s.jobs, func(j *job) bool { return j.name == name })
		} else if _, _, ok := splitFilter(name); !ok {
			code = packets.ErrTopicFilterInvalid
		} else {
			code = packets.CodeNoSubscriptionExisted
		}
		ack.ReasonCodes = append(ack.ReasonCodes, code.Code)
	}
	var buf bytes.Buffer
	_ = ack.UnsubackEncode(&buf)
	c.post(buf.Bytes())
	l.touch(c)
}
