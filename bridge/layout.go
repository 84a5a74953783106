package bridge

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The codec reads a packet field by field and takes what it finds. wellFormed
// sees to what it does not look at: that every field lies within the packet and
// nothing follows the last one, that a property belongs to its packet, occurs
// once and has a value that it may have, that reserved bits are 0 and reason
// codes are ones of that packet (MQTT 5, 2.2.2.2 and chapter 3).

// Reasons of ours, beside the codec's.
var (
	errPropertyTwice = packets.Code{Code: packets.ErrProtocolViolation.Code, Reason: "protocol violation: a property occurs twice"}
	errPropertyValue = packets.Code{Code: packets.ErrProtocolViolation.Code, Reason: "protocol violation: a property has a value that it cannot have"}
	errReasonCode    = packets.Code{Code: packets.ErrProtocolViolation.Code, Reason: "protocol violation: no reason code of this packet"}
	errSurplus       = packets.Code{Code: packets.ErrMalformedPacket.Code, Reason: "malformed packet: bytes behind its end"}
	errReserved      = packets.Code{Code: packets.ErrMalformedPacket.Code, Reason: "malformed packet: reserved bits"}
)

// wellFormed checks the body of a packet that a client sends. The error is a
// packets.Code. What it says nothing of, the codec refuses.
func wellFormed(h *packets.FixedHeader, version byte, b []byte) error {
	s := scan{b: b, v5: version == 5}
	switch h.Type {
	case packets.Connect:
		s.connect()
	case packets.Publish:
		if !s.v5 {
			return nil // the codec looks at all there is
		}
		s.bytes()
		if h.Qos > 0 {
			s.u16()
		}
		s.properties(1 << packets.Publish)
		return s.err // the payload is the rest
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		s.u16()
		s.reason(h.Type)
	case packets.Subscribe:
		s.u16()
		s.properties(1 << packets.Subscribe)
		for s.err == nil && len(s.b) > 0 {
			s.bytes()
			if o := s.u8(); s.v5 && o&0xc0 != 0 { // MQTT 5, 3.8.3-5
				s.fail(errReserved)
			}
		}
	case packets.Unsubscribe:
		s.u16()
		s.properties(1 << packets.Unsubscribe)
		for s.err == nil && len(s.b) > 0 {
			s.bytes()
		}
	case packets.Disconnect:
		s.reason(h.Type)
	default:
		return nil
	}
	if s.err == nil && len(s.b) > 0 {
		s.fail(errSurplus)
	}
	return s.err
}

// A scan goes over the fields of a packet. After the first error it gives zeros.
type scan struct {
	b   []byte
	v5  bool
	err error
}

func (s *scan) fail(err error) {
	if s.err == nil {
		s.err, s.b = err, nil
	}
}

func (s *scan) take(n int) []byte {
	if len(s.b) < n {
		s.fail(packets.ErrMalformedPacket)
		return make([]byte, min(n, 4))
	}
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

func (s *scan) u8() byte      { return s.take(1)[0] }
func (s *scan) u16() uint16   { return binary.BigEndian.Uint16(s.take(2)) }
func (s *scan) u32() uint32   { return binary.BigEndian.Uint32(s.take(4)) }
func (s *scan) bytes() []byte { return s.take(int(s.u16())) }

// varint reads a variable byte integer in its shortest form (MQTT 5, 1.5.5-1).
func (s *scan) varint() (n int) {
	for shift := 0; shift <= 21; shift += 7 {
		b := s.u8()
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			if b == 0 && shift > 0 {
				break
			}
			return n
		}
	}
	s.fail(packets.ErrMalformedVariableByteInteger)
	return 0
}

func (s *scan) connect() {
	s.bytes() // MQTT or MQIsdp: see knownLevel
	s.v5 = s.u8() == 5
	flags := s.u8()
	s.u16()
	switch {
	case flags&1 != 0: // MQTT 5, 3.1.2-3
		s.fail(errReserved)
	case flags>>3&3 == 3: // MQTT 5, 3.1.2-12
		s.fail(packets.ErrMalformedQos)
	}
	has := s.properties(1 << packets.Connect)
	if has&(1<<packets.PropAuthenticationData) != 0 && has&(1<<packets.PropAuthenticationMethod) == 0 {
		s.fail(errPropertyValue) // MQTT 5, 3.1.2.11.10
	}
	s.bytes()
	if flags&(1<<2) != 0 {
		s.properties(ofWill)
		s.bytes()
		s.bytes()
	}
	if flags&(1<<7) != 0 {
		if name := s.bytes(); !utf8.Valid(name) || bytes.IndexByte(name, 0) >= 0 { // MQTT 5, 3.1.3-12
			s.fail(packets.ErrMalformedInvalidUTF8)
		}
	}
	if flags&(1<<6) != 0 {
		s.bytes()
	}
}

// reason reads the reason code and the properties with which a packet may end.
func (s *scan) reason(typ byte) {
	if !s.v5 || len(s.b) == 0 {
		return
	}
	if bytes.IndexByte(reasons[typ], s.u8()) < 0 {
		s.fail(errReasonCode)
	}
	if len(s.b) > 0 {
		s.properties(1 << typ)
	}
}

// reasons are the codes that a client may give (MQTT 5, 3.4.2-1, 3.5.2-1, 3.6.2-1,
// 3.7.2-1 and 3.14.2-1).
var reasons = map[byte][]byte{
	packets.Puback:     {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
	packets.Pubrec:     {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
	packets.Pubrel:     {0x00, 0x92},
	packets.Pubcomp:    {0x00, 0x92},
	packets.Disconnect: {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99},
}

// ofWill stands for the properties of a will among the packets' types.
const ofWill = 1 << 0

const (
	acks     = 1<<packets.Puback | 1<<packets.Pubrec | 1<<packets.Pubrel | 1<<packets.Pubcomp
	requests = 1<<packets.Connect | 1<<packets.Publish | 1<<packets.Subscribe | 1<<packets.Unsubscribe
)

// allowed says in which packets from a client a property may be (MQTT 5, 2.2.2.2).
var allowed = [packets.PropSharedSubAvailable + 1]uint16{
	packets.PropPayloadFormat:          1<<packets.Publish | ofWill,
	packets.PropMessageExpiryInterval:  1<<packets.Publish | ofWill,
	packets.PropContentType:            1<<packets.Publish | ofWill,
	packets.PropResponseTopic:          1<<packets.Publish | ofWill,
	packets.PropCorrelationData:        1<<packets.Publish | ofWill,
	packets.PropSubscriptionIdentifier: 1<<packets.Publish | 1<<packets.Subscribe,
	packets.PropSessionExpiryInterval:  1<<packets.Connect | 1<<packets.Disconnect,
	packets.PropAuthenticationMethod:   1 << packets.Connect,
	packets.PropAuthenticationData:     1 << packets.Connect,
	packets.PropRequestProblemInfo:     1 << packets.Connect,
	packets.PropWillDelayInterval:      ofWill,
	packets.PropRequestResponseInfo:    1 << packets.Connect,
	packets.PropServerReference:        1 << packets.Disconnect,
	packets.PropReasonString:           acks | 1<<packets.Disconnect,
	packets.PropReceiveMaximum:         1 << packets.Connect,
	packets.PropTopicAliasMaximum:      1 << packets.Connect,
	packets.PropTopicAlias:             1 << packets.Publish,
	packets.PropUser:                   acks | requests | 1<<packets.Disconnect | ofWill,
	packets.PropMaximumPacketSize:      1 << packets.Connect,
}

// properties goes over the properties of a packet of type in, a bit of allowed,
// and gives those that it has, a bit for each. Before MQTT 5 there are none.
func (s *scan) properties(in uint16) (has uint64) {
	if !s.v5 {
		return 0
	}
	rest := s.take(s.varint())
	if s.err != nil {
		return 0
	}
	rest, s.b = s.b, rest
	for s.err == nil && len(s.b) > 0 {
		id := s.u8()
		if int(id) >= len(allowed) || allowed[id]&in == 0 {
			s.fail(packets.ErrMalformedBadProperty)
			break
		}
		if id != packets.PropUser && has&(1<<id) != 0 {
			s.fail(errPropertyTwice)
			break
		}
		has |= 1 << id
		s.value(id, in)
	}
	if s.err == nil {
		s.b = rest
	}
	return has
}

// value goes over the value of a property. A value that the specification calls a
// protocol error is one here; the topic alias 0 has a reason of its own: see
// publish.
func (s *scan) value(id byte, in uint16) {
	bad := false
	switch id {
	case packets.PropPayloadFormat, packets.PropRequestProblemInfo, packets.PropRequestResponseInfo:
		bad = s.u8() > 1
	case packets.PropReceiveMaximum:
		bad = s.u16() == 0
	case packets.PropTopicAliasMaximum, packets.PropTopicAlias:
		s.u16()
	case packets.PropMaximumPacketSize:
		bad = s.u32() == 0
	case packets.PropMessageExpiryInterval, packets.PropSessionExpiryInterval, packets.PropWillDelayInterval:
		s.u32()
	case packets.PropSubscriptionIdentifier: // MQTT 5, 3.8.2.1.2 and 3.3.4-6
		bad = s.varint() == 0 || in == 1<<packets.Publish
	case packets.PropUser:
		s.bytes()
		s.bytes()
	default:
		s.bytes()
	}
	if bad {
		s.fail(errPropertyValue)
	}
}
