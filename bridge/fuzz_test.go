package bridge

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/mochi-mqtt/server/v2/packets"
)

// samples are packets that a client may send after CONNECT, one of each kind.
func samples(t testing.TB, version byte) [][]byte {
	var out [][]byte
	add := func(pk packets.Packet, encode func(*packets.Packet, *bytes.Buffer) error) {
		pk.ProtocolVersion = version
		pk.Mods.AllowResponseInfo = true
		var b bytes.Buffer
		if err := encode(&pk, &b); err != nil {
			t.Fatal(err)
		}
		out = append(out, b.Bytes())
	}
	for qos := byte(0); qos <= 2; qos++ {
		pk := pub("a/b", "payload", qos, uint16(qos))
		pk.Properties = allProperties()
		pk.Properties.MessageExpiryInterval, pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 9, 3, true
		add(pk, (*packets.Packet).PublishEncode)
	}
	for typ, encode := range map[byte]func(*packets.Packet, *bytes.Buffer) error{
		packets.Puback: (*packets.Packet).PubackEncode, packets.Pubrec: (*packets.Packet).PubrecEncode,
		packets.Pubcomp: (*packets.Packet).PubcompEncode,
	} {
		add(ackOf(typ, 7), encode)
		bad := ackOf(typ, 8)
		bad.ReasonCode = reasons[typ][len(reasons[typ])-1]
		bad.Properties.ReasonString = "why"
		add(bad, encode)
	}
	rel := ackOf(packets.Pubrel, 7)
	rel.FixedHeader.Qos = 1
	add(rel, (*packets.Packet).PubrelEncode)
	s := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1,
		Filters: packets.Subscriptions{sub("a/+", 1), sub("$share/g/#", 2)}}
	s.Properties.SubscriptionIdentifier = []int{300}
	add(s, (*packets.Packet).SubscribeEncode)
	s.FixedHeader.Type = packets.Unsubscribe
	add(s, (*packets.Packet).UnsubscribeEncode)
	d := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: 4}
	d.Properties.User = []packets.UserProperty{{Key: "k", Val: "v"}}
	if version == 5 {
		add(d, (*packets.Packet).DisconnectEncode)
	}
	return append(out, []byte{0xc0, 0}, []byte{0xe0, 0})
}

func reader(r io.Reader) *packetReader {
	return &packetReader{br: bufio.NewReaderSize(r, 16), max: 1 << 20}
}

// Every packet is read whole however its bytes come, and not read when one is
// missing.
func TestPacketsByteByByteAndCutShort(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		for _, b := range samples(t, version) {
			if _, err := reader(iotest.OneByteReader(bytes.NewReader(b))).next(version); err != nil {
				t.Errorf("% x: %v", b, err)
			}
			for n := range b {
				if _, err := reader(bytes.NewReader(b[:n])).next(version); err == nil {
					t.Errorf("% x: read though %d bytes are missing", b[:n], len(b)-n)
				}
			}
		}
	})
}

// No bytes make the reader panic or read beyond its packet.
func FuzzPacketReader(f *testing.F) {
	for _, version := range []byte{4, 5} {
		for _, b := range samples(f, version) {
			f.Add(b, version == 5)
		}
	}
	f.Add([]byte("\x82\x06\x00\x01\x00\x00\x01a"), true)
	f.Fuzz(func(t *testing.T, b []byte, v5 bool) {
		version := byte(4)
		if v5 {
			version = 5
		}
		r := reader(bytes.NewReader(b))
		for {
			pk, err := r.next(version)
			if err != nil {
				return
			}
			// What the codec takes, our own checks must take, too.
			if pk.FixedHeader.Type == packets.Publish && pk.TopicName != "" {
				_, _ = subjectOf(pk.TopicName)
				_, _ = propsOf(&pk.Properties, r.emptyType)
			}
			for _, s := range pk.Filters {
				_, _, _ = splitFilter(s.Filter)
			}
		}
	})
}

// Any bytes after CONNECT leave the broker serving.
func FuzzConversation(f *testing.F) {
	h := newHouse(f)
	for _, version := range []byte{4, 5} {
		f.Add(bytes.Join(samples(f, version), nil), version == 5)
	}
	f.Fuzz(func(t *testing.T, b []byte, v5 bool) {
		version := byte(4)
		if v5 {
			version = 5
		}
		hh := &house{Bridge: h.Bridge, t: t, log: h.log, reg: h.reg, addr: h.addr}
		p := hh.connect(version, "fuzz")
		_, _ = p.nc.Write(b)
		other := hh.connect(version, "other")
		other.silence()
		p.nc.Close()
		other.nc.Close()
	})
}
