package bridge

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A packetReader reads packets with mochi-mqtt's codec. The packet that next
// gives is used again by the call after; its strings and slices are not.
type packetReader struct {
	br  *bufio.Reader
	max int // the longest packet
	pk  packets.Packet

	emptyType bool // pk, a PUBLISH or a CONNECT with a will, says that its content type is empty
}

// bodyStep is what is allocated on a length's word alone; beyond it memory
// follows the bytes that arrive.
const bodyStep = 16 << 10

// header reads a fixed header into r.pk.
func (r *packetReader) header() error {
	r.pk = packets.Packet{}
	b, err := r.br.ReadByte()
	if err != nil {
		return err
	}
	if b>>4 == packets.Publish && b&6 == 6 { // MQTT 5, 3.3.1-4; the codec has another reason
		return packets.ErrMalformedQos
	}
	if err := r.pk.FixedHeader.Decode(b); err != nil {
		return err
	}
	n := 0
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return packets.ErrMalformedVariableByteInteger
		}
		if b, err = r.br.ReadByte(); err != nil {
			return err
		}
		n |= int(b&127) << shift
		if b&128 == 0 {
			break
		}
	}
	r.pk.FixedHeader.Remaining = n
	if 1+varintLen(n)+n > r.max {
		return packets.ErrPacketTooLarge
	}
	return nil
}

// body reads the rest of the packet into memory of its own.
func (r *packetReader) body() ([]byte, error) {
	n := r.pk.FixedHeader.Remaining
	b := make([]byte, min(n, bodyStep))
	for at := 0; ; {
		m, err := io.ReadFull(r.br, b[at:])
		if err != nil {
			return nil, err
		}
		if at += m; at == n {
			return b, nil
		}
		grown := make([]byte, min(n, 2*len(b)))
		copy(grown, b)
		b = grown
	}
}

// next reads one packet of a connected client.
func (r *packetReader) next(version byte) (*packets.Packet, error) {
	if err := r.header(); err != nil {
		return nil, err
	}
	r.pk.ProtocolVersion = version
	switch t, n := r.pk.FixedHeader.Type, r.pk.FixedHeader.Remaining; {
	case n == 0 && (t == packets.Pingreq || t == packets.Disconnect):
		return &r.pk, nil
	case n == 2 && t >= packets.Puback && t <= packets.Pubcomp:
		// The commonest packet from a subscriber is read where it lies.
		b, err := r.br.Peek(2)
		if err != nil {
			return nil, err
		}
		r.pk.PacketID = binary.BigEndian.Uint16(b)
		_, _ = r.br.Discard(2)
		return &r.pk, nil
	}
	b, err := r.body()
	if err != nil {
		return nil, err
	}
	return &r.pk, r.decode(b)
}

// decode reads b into r.pk. The codec panics on some packets that are cut short
// (a SUBSCRIBE without its last byte); such a packet is malformed.
func (r *packetReader) decode(b []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = packets.ErrMalformedPacket
		}
	}()
	pk := &r.pk
	if err := wellFormed(&pk.FixedHeader, pk.ProtocolVersion, b); err != nil {
		return err
	}
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectDecode(b)
		r.emptyType = err == nil && hasEmptyType(pk, b)
		return err
	case packets.Publish:
		err = pk.PublishDecode(b)
		r.emptyType = err == nil && hasEmptyType(pk, b)
		return err
	case packets.Puback:
		return pk.PubackDecode(b)
	case packets.Pubrec:
		return pk.PubrecDecode(b)
	case packets.Pubrel:
		return pk.PubrelDecode(b)
	case packets.Pubcomp:
		return pk.PubcompDecode(b)
	case packets.Subscribe:
		return pk.SubscribeDecode(b)
	case packets.Unsubscribe:
		return pk.UnsubscribeDecode(b)
	case packets.Disconnect:
		if pk.ProtocolVersion < 5 {
			return packets.ErrMalformedPacket
		}
		if len(b) == 1 { // the codec would leave the reason out
			pk.ReasonCode = b[0]
			return nil
		}
		return pk.DisconnectDecode(b)
	case packets.Auth:
		return nil // refused whatever is in it
	}
	return packets.ErrMalformedPacket
}
