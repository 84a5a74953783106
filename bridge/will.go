package bridge

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// A will is a publication that a client leaves for the case that it goes without
// a word. It is kept in the log with the client's session, and goes out there.
type will struct {
	publication stream.Publication
	delay       uint32 // seconds
}

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
	props, err := propsOf(&p.WillProperties, c.in.emptyType)
	if err != nil {
		return nil, packets.ErrProtocolViolation
	}
	return &will{delay: p.WillProperties.WillDelayInterval, publication: stream.Publication{
		Subject: s, Payload: p.WillPayload, Props: props,
		Expiry: p.WillProperties.MessageExpiryInterval, Flags: flagsOf(p.WillQos, p.WillRetain)}}, nil
}
