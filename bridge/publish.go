package bridge

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// publish takes a PUBLISH in. It does not wait for the commit.
func (c *client) publish(pk *packets.Packet) error {
	qos := pk.FixedHeader.Qos
	if code := pk.PublishValidate(uint16(c.b.cfg.TopicAliasMax)); code.Code != 0 {
		return code
	}
	s, err := c.subject(pk)
	if err != nil {
		return err
	}
	props, err := propsOf(&pk.Properties, c.in.emptyType)
	if err != nil {
		return packets.ErrProtocolViolation // MQTT 5, 3.3.2-14
	}
	if c.version == 5 && qos > 0 && c.inFlight() >= c.b.cfg.ReceiveMaximum && !c.repeats(pk) {
		return packets.ErrReceiveMaximum // MQTT 5, 3.3.4-9
	}
	if code := c.mayPublish(s); code != 0 {
		return c.deny(pk, code)
	}
	it := stream.Item{Publisher: c.origin, Publication: stream.Publication{
		Subject: s, Payload: pk.Payload, Props: props,
		Expiry: pk.Properties.MessageExpiryInterval, Flags: flagsOf(qos, pk.FixedHeader.Retain)}}
	if qos == 2 {
		return c.publishOnce(pk.PacketID, it)
	}
	size := it.EncodedLen()
	slot, ok := c.enqueue(pk.PacketID, ackType(qos), size)
	if !ok {
		return errClosing
	}
	c.b.cfg.Publisher.Publish(it, func(_ stream.Place, err error) {
		c.b.budget.give(size)
		c.settle(slot, qos, c.b.answerTo(err), err)
	})
	return nil
}

// errClosing ends a reader whose connection was closed while it waited.
var errClosing = errors.New("bridge: the connection is closing")

func flagsOf(qos byte, retain bool) stream.Flags {
	f := stream.Flags(0).WithQoS(qos)
	if retain {
		f |= stream.Retain
	}
	return f
}

// subject gives the subject of a PUBLISH, by its topic or its alias. The error
// is a packets.Code: a topic that is none is a protocol error (MQTT 5, 4.13.1).
func (c *client) subject(pk *packets.Packet) (stream.Subject, error) {
	alias := pk.Properties.TopicAlias
	if pk.TopicName == "" {
		s, ok := c.aliases[alias]
		if !ok {
			return "", packets.ErrTopicAliasInvalid
		}
		return s, nil
	}
	s := c.last
	if s == "" || topicOf(s) != pk.TopicName {
		var err error
		if s, err = subjectOf(pk.TopicName); err != nil {
			return "", packets.ErrTopicNameInvalid
		}
		c.last = s
	}
	if alias != 0 {
		if c.aliases == nil {
			c.aliases = map[uint16]stream.Subject{}
		}
		c.aliases[alias] = s
	}
	return s, nil
}

// mayPublish gives the reason code of a refusal; 0: it may.
func (c *client) mayPublish(s stream.Subject) byte {
	if s[1] == '$' && reserved(topicOf(s)) {
		return packets.ErrTopicNameInvalid.Code
	}
	if !c.b.cfg.Authorizer.Publish(c.who, s) {
		return packets.ErrNotAuthorized.Code
	}
	return 0
}

// deny refuses a publication that was not published. MQTT 3 has no way to say
// it but to close (3.1.1, 3.3.5-2): an acknowledgement would be a lie.
func (c *client) deny(pk *packets.Packet, code byte) error {
	c.b.meters.denied.Inc()
	qos := pk.FixedHeader.Qos
	switch {
	case qos == 0:
		return nil
	case c.version < 5:
		return packets.ErrNotAuthorized
	}
	slot, ok := c.reserve(pk.PacketID, ackType(qos), 0)
	if !ok {
		return errClosing
	}
	c.complete(slot, code)
	return nil
}

// An answer is what the publisher of a publication is told: a reason code for its
// acknowledgement, or the end of the connection, so that the client comes back
// and sends it again.
type answer struct {
	code packets.Code
	end  bool
}

var answers = [broker.Results]answer{
	broker.Placed:   {code: packets.CodeSuccess},
	broker.NoQuorum: {code: packets.ErrServerUnavailable, end: true},
	broker.Busy:     {code: packets.ErrServerBusy, end: true},
	broker.TooLarge: {code: packets.ErrImplementationSpecificError},
	broker.Refused:  {code: packets.ErrQuotaExceeded},
	broker.Fenced:   {code: packets.ErrSessionTakenOver, end: true},
	broker.Stopped:  {code: packets.ErrServerShuttingDown, end: true},
	broker.Failed:   {code: packets.ErrUnspecifiedError},
}

// answerTo counts how a publication ended and gives its answer.
func (b *Bridge) answerTo(err error) answer {
	r := broker.ResultOf(err)
	b.meters.published[r].Inc()
	return answers[r]
}

// settle ends the wait of a publication. It is called by the publisher's
// goroutine.
func (c *client) settle(slot uint32, qos byte, a answer, err error) {
	switch {
	case qos == 0:
		c.complete(slot, 0)
	case a.end:
		c.shut(c.disconnectPacket(a.code), err)
	case err != nil && c.version < 5:
		c.shut(nil, err) // no acknowledgement can say no
	default:
		c.complete(slot, a.code.Code)
	}
}
