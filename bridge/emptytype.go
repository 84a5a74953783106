package bridge

import (
	"bytes"
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// hasEmptyType reports whether a PUBLISH, or the will of a CONNECT, has a content
// type that is empty. The codec does not tell it from none, and it is to be sent on
// unaltered (MQTT 5, 3.3.2-20). body is the one that the codec has read pk from.
func hasEmptyType(pk *packets.Packet, body []byte) bool {
	if pk.ProtocolVersion < 5 || !bytes.Contains(body, []byte{packets.PropContentType, 0, 0}) {
		return false // nearly always
	}
	b := body
	if pk.FixedHeader.Type == packets.Publish {
		b = b[2+len(pk.TopicName):]
		if pk.FixedHeader.Qos > 0 {
			b = b[2:]
		}
	} else if pk.Connect.WillFlag {
		n, own := cutVarint(b[len("..MQTT")+4:])
		b = own[n:][2+len(pk.Connect.ClientIdentifier):]
	} else {
		return false
	}
	n, b := cutVarint(b)
	for b = b[:n]; len(b) > 0; b = b[1+valueLen(b[0], b[1:]):] {
		if b[0] == packets.PropContentType {
			return b[1] == 0 && b[2] == 0
		}
	}
	return false
}

// cutVarint takes a variable byte integer off b.
func cutVarint(b []byte) (n int, rest []byte) {
	for i, shift := 0, 0; ; i, shift = i+1, shift+7 {
		n |= int(b[i]&0x7f) << shift
		if b[i]&0x80 == 0 {
			return n, b[i+1:]
		}
	}
}

// valueLen gives the length of the value of a property of a PUBLISH or a will.
func valueLen(id byte, b []byte) int {
	switch id {
	case packets.PropPayloadFormat:
		return 1
	case packets.PropTopicAlias:
		return 2
	case packets.PropMessageExpiryInterval, packets.PropWillDelayInterval:
		return 4
	case packets.PropSubscriptionIdentifier:
		_, rest := cutVarint(b)
		return len(b) - len(rest)
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if id == packets.PropUser {
		n += 2 + int(binary.BigEndian.Uint16(b[n:]))
	}
	return n
}
