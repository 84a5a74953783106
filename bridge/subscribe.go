package bridge

import (
	"bytes"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// maxLevels bounds the segments of a filter, as memory goes with them.
const maxLevels = 200

// A wish is one filter of a SUBSCRIBE and what the client is told about it.
type wish struct {
	sub      *subscription
	code     byte
	handling byte // MQTT 5's retain handling
}

// subscribe answers a SUBSCRIBE. The loop does it between two batches of
// messages and writes the SUBACK before anything that the subscription brings.
func (c *client) subscribe(pk *packets.Packet) error {
	if code := pk.SubscribeValidate(); code.Code != 0 {
		return code
	}
	ids := pk.Properties.SubscriptionIdentifier
	if len(ids) > 1 || len(ids) == 1 && ids[0] == 0 { // MQTT 5, 3.8.2.1.2
		return packets.ErrProtocolViolation
	}
	wishes := make([]wish, len(pk.Filters))
	for i := range pk.Filters {
		w, err := c.wish(&pk.Filters[i])
		if err != nil {
			return err
		}
		wishes[i] = w
	}
	c.b.loop.do(func() { c.b.loop.subscribe(c, pk.PacketID, wishes) })
	return nil
}

func (c *client) wish(f *packets.Subscription) (wish, error) {
	if f.RetainHandling > 2 {
		return wish{}, packets.ErrProtocolViolation // MQTT 5, 3.8.3-5
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
func (l *loop) subscribe(c *client, id uint16, wishes []wish) {
	s := c.session
	ack := packets.Packet{ProtocolVersion: c.version, PacketID: id,
		FixedHeader: packets.FixedHeader{Type: packets.Suback}}
	var jobs []*retainedJob
	head := l.b.cfg.Broker.Head()
	for _, w := range wishes {
		old := (*subscription)(nil)
		if w.sub != nil {
			if old = s.subs[w.sub.name]; old == nil && len(s.subs) >= l.b.cfg.MaxSubscriptions {
				w = c.unwish(packets.ErrQuotaExceeded)
			}
		}
		ack.ReasonCodes = append(ack.ReasonCodes, w.code)
		if w.sub == nil {
			continue
		}
		w.sub.since = head
		if old != nil {
			w.sub.since = old.since
			l.index.remove(old)
		}
		s.subs[w.sub.name] = w.sub
		l.index.add(w.sub)
		if w.sub.group == "" && (w.handling == 0 || w.handling == 1 && old == nil) {
			jobs = append(jobs, &retainedJob{sub: w.sub, at: head})
		}
	}
	var buf bytes.Buffer
	_ = ack.SubackEncode(&buf)
	c.post(buf.Bytes())
	l.touch(c)
	for _, g := range s.groups {
		l.serveWaiting(g)
	}
	if len(jobs) > 0 {
		s.jobs = append(s.jobs, jobs...)
		if !s.late {
			s.late, s.cursor = true, l.cursor
			l.wakeUp(s)
		}
	}
}

// unsubscribe answers an UNSUBSCRIBE. What is in the window stays there.
func (c *client) unsubscribe(pk *packets.Packet) error {
	if code := pk.UnsubscribeValidate(); code.Code != 0 {
		return code
	}
	names := make([]string, len(pk.Filters))
	for i := range pk.Filters {
		names[i] = pk.Filters[i].Filter
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
			l.index.remove(sub)
			delete(s.subs, name)
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
