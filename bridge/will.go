package bridge

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A will is a publication that a client leaves for the case that it goes without
// a word. It enters the log like any other.
type will struct {
	item  stream.Item
	delay uint32 // seconds
}

// A lateWill could not be published and will be tried again.
type lateWill struct {
	will  *will
	at    time.Time
	tries int
}

const (
	willRetry = time.Second
	willTries = 60
)

// willOf takes the will out of a CONNECT; nil if there is none. The error is or
// wraps a packets.Code.
func (c *client) willOf(pk *packets.Packet) (*will, error) {
	p := &pk.Connect
	if !p.WillFlag {
		return nil, nil
	}
	s, err := subjectOf(p.WillTopic)
	if err != nil || reserved(p.WillTopic) {
		return nil, packets.ErrTopicNameInvalid
	}
	if !c.b.cfg.Authorizer.Publish(c.who, s) {
		return nil, packets.ErrNotAuthorized
	}
	props, err := propsOf(&p.WillProperties)
	if err != nil {
		return nil, packets.ErrProtocolViolation
	}
	w := &will{delay: p.WillProperties.WillDelayInterval}
	w.item.Publisher = c.origin
	w.item.Publication = stream.Publication{Subject: s, Payload: p.WillPayload, Props: props,
		Expiry: p.WillProperties.MessageExpiryInterval, Flags: flagsOf(p.WillQos, p.WillRetain)}
	return w, nil
}

func (l *loop) publishWill(w *will) { l.tryWill(w, 0) }

func (l *loop) tryWill(w *will, tries int) {
	l.b.cfg.Publisher.Publish(w.item, func(_ stream.Place, err error) {
		r := broker.ResultOf(err)
		l.b.meters.published[r].Inc()
		switch {
		case r == broker.Placed:
		case r.MayRepeat() && tries < willTries:
			l.in.call(func() {
				l.wills = append(l.wills, lateWill{w, time.Now().Add(willRetry), tries + 1})
			})
		default:
			l.b.meters.droppedWill.Inc()
			l.b.cfg.Log.Warn().Err(err).Str("subject", string(w.item.Subject)).Msg("a will was not published")
		}
	})
}

func (l *loop) retryWills(now time.Time) {
	for len(l.wills) > 0 && !l.wills[0].at.After(now) {
		w := l.wills[0]
		l.wills = l.wills[1:]
		l.tryWill(w.will, w.tries)
	}
}
