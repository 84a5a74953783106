package bridge

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// packet puts a fixed header before a body.
func packet(first byte, body []byte) []byte {
	return append(appendVarint([]byte{first}, len(body)), body...)
}

// alive wants that the connection goes on: it asks for a PINGRESP and reads up to it.
func (p *peer) alive() {
	p.t.Helper()
	p.raw("c000")
	for {
		pk, err := p.read(patience)
		if err != nil {
			p.t.Fatalf("%s: the connection ended: %v", p.name, err)
		}
		if pk.FixedHeader.Type == packets.Disconnect {
			p.t.Fatalf("%s: DISCONNECT %#x %q", p.name, pk.ReasonCode, pk.Properties.ReasonString)
		}
		if pk.FixedHeader.Type == packets.Pingresp {
			return
		}
	}
}

// A witness is there before, during and after what others do wrong, and misses
// nothing.
type witness struct{ sub, pub *peer }

func (h *house) witness(version byte) *witness {
	w := &witness{h.connect(version, "witness-sub"), h.connect(version, "witness-pub")}
	w.sub.subscribe(1, sub("witness", 1))
	return w
}

func (w *witness) unharmed(t *testing.T) {
	t.Helper()
	w.sub.t, w.pub.t = t, t
	w.pub.send(pub("witness", t.Name(), 1, 1))
	w.pub.want(packets.Puback)
	m := w.sub.message("witness", t.Name())
	w.sub.send(ackOf(packets.Puback, m.PacketID))
}

// A cut is a packet that is cut short at every byte, its length being right.
type cut struct {
	name  string
	first byte
	body  string
	whole []int // lengths at which it is a packet all the same
	empty int   // length at which it has no filters
}

var cuts = map[byte][]cut{
	4: {
		{"PUBLISH, QoS 0", 0x30, "0003 612f62 7071", []int{5, 6}, -1},
		{"PUBLISH, QoS 1", 0x32, "0001 61 0007 7071", []int{5, 6}, -1},
		{"PUBLISH, QoS 2", 0x34, "0001 61 0007 7071", []int{5, 6}, -1},
		{"PUBACK", 0x40, "0007", nil, -1},
		{"PUBREC", 0x50, "0007", nil, -1},
		{"PUBREL", 0x62, "0007", nil, -1},
		{"PUBCOMP", 0x70, "0007", nil, -1},
		{"SUBSCRIBE", 0x82, "0001 0001 61 01 0003 622f63 02", []int{6}, 2},
		{"UNSUBSCRIBE", 0xa2, "0001 0001 61 0003 622f63", []int{5}, 2},
	},
	5: {
		{"PUBLISH, QoS 0", 0x30, "0003 612f62 00 7071", []int{6, 7}, -1},
		{"PUBLISH, QoS 1", 0x32, "0001 61 0007 17 0101 02 00000009 23 0001 08 0001 72 09 0001 63 26 0000 0000 7071", []int{29, 30}, -1},
		{"PUBLISH, QoS 2", 0x34, "0001 61 0007 00 7071", []int{6, 7}, -1},
		{"PUBACK", 0x40, "0007 10 0d 1f 0003 776879 26 0001 6b 0001 76", []int{2, 3}, -1},
		{"PUBREC", 0x50, "0007 10 0d 1f 0003 776879 26 0001 6b 0001 76", []int{2, 3}, -1},
		{"PUBREL", 0x62, "0007 92 0d 1f 0003 776879 26 0001 6b 0001 76", []int{2, 3}, -1},
		{"PUBCOMP", 0x70, "0007 92 0d 1f 0003 776879 26 0001 6b 0001 76", []int{2, 3}, -1},
		{"SUBSCRIBE", 0x82, "0001 0a 0b ac02 26 0001 6b 0001 76 0001 61 01 0003 622f63 2e", []int{17}, 13},
		{"UNSUBSCRIBE", 0xa2, "0001 07 26 0001 6b 0001 76 0001 61 0003 622f63", []int{13}, 10},
	},
}

// Every packet type, cut short at every byte, is malformed, unless what is left is a
// packet, and whole as it stands (MQTT 5, 4.13.1-1; 3.1.1, 4.8.0-1).
func TestCutShort(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		w := h.witness(version)
		for _, c := range cuts[version] {
			t.Run(c.name, func(t *testing.T) {
				h.t = t
				body := unhex(t, c.body)
				for n := range len(body) + 1 {
					p := h.connect(version, "cut")
					p.name = fmt.Sprintf("cut at %d", n)
					p.write(packet(c.first, body[:n]))
					switch {
					case n == len(body) || slices.Contains(c.whole, n):
						p.alive()
						p.nc.Close()
					case n == c.empty:
						p.closed(0x82)
					default:
						p.closed(0x81)
					}
				}
				// Something behind its end, in a packet that has one.
				if c.first>>4 != packets.Publish {
					p := h.connect(version, "surplus")
					p.write(packet(c.first, append(body, 0)))
					p.closed(0x81)
				}
				w.unharmed(t)
			})
		}
	})
}

// A DISCONNECT that is cut short is answered, too; an empty one is the end.
func TestDisconnectCutShort(t *testing.T) {
	h := newHouse(t)
	body := unhex(t, "04 0c 11 00000000 26 0001 6b 0001 76")
	for n := range len(body) + 1 {
		p := h.connect(5, "d", keep)
		p.name = fmt.Sprintf("cut at %d", n)
		p.write(packet(0xe0, body[:n]))
		if n <= 1 || n == len(body) {
			p.closed(0)
		} else {
			p.closed(0x81)
		}
	}
	p := h.connect(4, "d")
	p.raw("e0 01 00")
	p.closed(0)
}

// A CONNECT that is cut short at any byte connects nobody; once its version is known
// the answer says why.
func TestConnectCutShort(t *testing.T) {
	for _, c := range []struct {
		version byte
		body    string
	}{
		{4, "0004 4d515454 04 c6 003c 0001 63 0001 77 0001 78 0001 75 0001 70"},
		{5, "0004 4d515454 05 c6 003c 08 11 00000001 210001 0001 63 05 18 00000001 0001 77 0001 78 0001 75 0001 70"},
	} {
		h := newHouse(t)
		body := unhex(t, c.body)
		for n := range len(body) + 2 {
			p := h.dial(c.version)
			p.name = fmt.Sprintf("%d cut at %d", c.version, n)
			cut := append(slices.Clone(body), 0)[:n]
			p.write(packet(0x10, cut))
			switch {
			case n == len(body):
				if ack := p.want(packets.Connack); ack.ReasonCode != 0 {
					t.Fatalf("the whole one: CONNACK %#x", ack.ReasonCode)
				}
				p.nc.Close()
				eventually(t, "it is gone", func() bool { return h.metric("nackmq_sessions", "mqtt") == 0 })
			case n > 6 && c.version == 5:
				if ack := p.want(packets.Connack); ack.ReasonCode != 0x81 {
					t.Errorf("cut at %d: CONNACK %#x, want 0x81", n, ack.ReasonCode)
				}
				p.closed(0)
			case n > 6:
				p.closed(0)
			default: // no version that we speak
				if ack, err := p.read(patience); err == nil && ack.ReasonCode == 0 {
					t.Errorf("cut at %d: connected", n)
				}
			}
		}
	}
}

// A packet that promises more than comes is no packet: the end of the connection
// is all there is, and what others do goes on.
func TestLengthBeyondTheConnection(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		w := h.witness(version)
		will := h.connect(version, "will")
		will.subscribe(1, sub("will", 0))
		for _, c := range cuts[version] {
			p := h.connect(version, "p", withWill("will", c.name))
			body := unhex(t, c.body)
			b := packet(c.first, append(body, 0, 0, 0))
			p.write(b[:len(b)-3])
			p.nc.Close()
			will.message("will", c.name) // it went without a word
		}
		w.unharmed(t)
	})
}

// Reserved bits of the fixed header, in each packet type, in each combination
// (MQTT 5, 2.1.3-1; 3.1.1, 2.2.2-2).
func TestReservedHeaderBits(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		w := h.witness(version)
		bodies := map[byte]string{packets.Puback: "0001", packets.Pubrec: "0001", packets.Pubrel: "0001", packets.Pubcomp: "0001",
			packets.Pingreq: "", packets.Disconnect: "", packets.Auth: "",
			packets.Subscribe: "0001 0001 61 00", packets.Unsubscribe: "0001 0001 61"}
		if version == 5 {
			bodies[packets.Subscribe], bodies[packets.Unsubscribe] = "0001 00 0001 61 00", "0001 00 0001 61"
		}
		for typ, body := range bodies {
			right := byte(0)
			if typ == packets.Pubrel || typ == packets.Subscribe || typ == packets.Unsubscribe {
				right = 2
			}
			for bits := range byte(16) {
				if bits == right {
					continue
				}
				p := h.connect(version, "p")
				p.name = fmt.Sprintf("%s with %x", packets.PacketNames[typ], bits)
				p.write(packet(typ<<4|bits, unhex(t, body)))
				p.closed(0x81)
			}
		}
		// Types that nobody has, and those that only servers send.
		for _, first := range []byte{0x00, 0x0f, 0x20, 0x90, 0xb0, 0xd0} {
			p := h.connect(version, "p")
			p.write([]byte{first, 0})
			p.closed(0x81)
		}
		// CONNECT has reserved bits of its own, and answers of its own.
		for bits := byte(1); bits < 16; bits++ {
			p := h.dial(version)
			p.write([]byte{0x10 | bits, 0})
			p.closed(0)
		}
		p := h.dial(version)
		body := "0004 4d515454 04 03 003c 0001 61"
		if version == 5 {
			body = "0004 4d515454 05 03 003c 00 0001 61"
		}
		p.write(packet(0x10, unhex(t, body)))
		if version == 5 {
			if ack := p.want(packets.Connack); ack.ReasonCode != 0x81 {
				t.Errorf("CONNECT with the reserved flag: %#x, want 0x81", ack.ReasonCode)
			}
		}
		p.closed(0)
		w.unharmed(t)
	})
}

// What is wrong in one packet and how it is answered. In 3.1.1 every answer is
// the end of the connection.
func TestWrongPackets(t *testing.T) {
	const v3, v5 = 1, 2
	for _, c := range []struct {
		name string
		in   int
		hex  string
		code byte
	}{
		// MQTT 5, 2.2.1; 3.1.1, 2.3.1
		{"SUBSCRIBE, packet id 0", v3, "82 06 0000 0001 61 00", 0},
		{"SUBSCRIBE, packet id 0", v5, "82 07 0000 00 0001 61 00", 0x82},
		{"UNSUBSCRIBE, packet id 0", v3, "a2 05 0000 0001 61", 0},
		{"UNSUBSCRIBE, packet id 0", v5, "a2 06 0000 00 0001 61", 0x82},
		{"PUBLISH, QoS 1, packet id 0", v3, "32 05 0001 61 0000", 0},
		{"PUBLISH, QoS 1, packet id 0", v5, "32 06 0001 61 0000 00", 0x82},
		{"PUBLISH, QoS 2, packet id 0", v3, "34 05 0001 61 0000", 0},
		{"PUBLISH, QoS 2, packet id 0", v5, "34 06 0001 61 0000 00", 0x82},
		{"PUBACK, packet id 0", v3 | v5, "40 02 0000", 0x82},
		{"PUBREC, packet id 0", v3 | v5, "50 02 0000", 0x82},
		{"PUBREL, packet id 0", v3 | v5, "62 02 0000", 0x82},
		{"PUBCOMP, packet id 0", v3 | v5, "70 02 0000", 0x82},
		// Lengths
		{"length of five bytes", v3 | v5, "30 80 80 80 80 01", 0x81},
		{"above the limit by one", v3 | v5, "30 fd ff 3f", 0x95},
		{"PUBACK above the limit", v3 | v5, "40 fd ff 3f", 0x95},
		{"PUBREC above the limit", v3 | v5, "50 fd ff 3f", 0x95},
		{"PUBREL above the limit", v3 | v5, "62 fd ff 3f", 0x95},
		{"PUBCOMP above the limit", v3 | v5, "70 fd ff 3f", 0x95},
		{"SUBSCRIBE above the limit", v3 | v5, "82 fd ff 3f", 0x95},
		{"UNSUBSCRIBE above the limit", v3 | v5, "a2 fd ff 3f", 0x95},
		{"PINGREQ above the limit", v3 | v5, "c0 fd ff 3f", 0x95},
		{"DISCONNECT above the limit", v3 | v5, "e0 fd ff 3f", 0x95},
		{"as long as MQTT can say", v3 | v5, "30 ff ff ff 7f", 0x95},
		{"PINGREQ with a body", v3 | v5, "c0 01 00", 0x81},
		{"property length beyond the packet", v5, "30 05 0001 61 02 01", 0x81},
		{"property length of five bytes", v5, "30 08 0001 61 80 80 80 80 01", 0x81},
		{"property length not in its shortest form", v5, "30 05 0001 61 80 00", 0x81},
		{"property that ends beyond its length", v5, "30 07 0001 61 01 02 00 00", 0x81},
		{"subscription identifier not in its shortest form", v5, "82 0a 0001 03 0b 8100 0001 61 00", 0x81},
		{"subscription identifier of five bytes", v5, "82 0d 0001 06 0b 8080808001 0001 61 00", 0x81},
		// PUBLISH
		{"PUBLISH, QoS 3", v3 | v5, "36 05 0001 61 0001", 0x81},
		{"PUBLISH, QoS 0 with DUP", v3 | v5, "38 03 0001 61", 0x82},
		{"PUBLISH to +", v3, "30 05 0003 2b2f61", 0},
		{"PUBLISH to +", v5, "30 06 0003 2b2f61 00", 0x82},
		{"PUBLISH to #", v3, "30 03 0001 23", 0},
		{"PUBLISH to #", v5, "30 04 0001 23 00", 0x82},
		{"PUBLISH to nothing", v3, "30 02 0000", 0},
		{"PUBLISH to nothing, no alias", v5, "30 03 0000 00", 0x82},
		{"PUBLISH, topic alias 0", v5, "30 07 0001 61 03 23 0000", 0x94},
		{"PUBLISH, topic alias above the maximum", v5, "30 07 0001 61 03 23 0021", 0x94},
		{"PUBLISH, topic alias far above the maximum", v5, "30 07 0001 61 03 23 ffff", 0x94},
		{"PUBLISH, topic alias that is not set", v5, "30 06 0000 03 23 0005", 0x94},
		{"PUBLISH with a subscription identifier", v5, "30 06 0001 61 02 0b 01", 0x82},
		{"PUBLISH, response topic with a wildcard", v5, "30 08 0001 61 04 08 0001 2b", 0x82},
		{"PUBLISH, response topic with U+0000", v5, "30 08 0001 61 04 08 0001 00", 0x81},
		{"PUBLISH, content type not in UTF-8", v5, "30 08 0001 61 04 03 0001 ff", 0x81},
		{"PUBLISH, user property not in UTF-8", v5, "30 0a 0001 61 06 26 0000 0001 ff", 0x81},
		{"PUBLISH, payload format 2", v5, "30 06 0001 61 02 01 02", 0x82},
		// Strings: MQTT 5, 1.5.4; 3.1.1, 1.5.3
		{"topic with U+0000", v3, "30 04 0002 6100", 0},
		{"topic with U+0000", v5, "30 05 0002 6100 00", 0x81},
		{"topic with a surrogate", v3, "30 05 0003 eda080", 0},
		{"topic with a surrogate", v5, "30 06 0003 eda080 00", 0x81},
		{"topic with an overlong form", v3, "30 04 0002 c080", 0},
		{"topic with an overlong form", v5, "30 05 0002 c080 00", 0x81},
		{"filter with U+0000", v3, "82 06 0001 0001 00 00", 0},
		{"filter with U+0000", v5, "82 07 0001 00 0001 00 00", 0x81},
		{"filter with a surrogate", v5, "82 09 0001 00 0003 eda080 00", 0x81},
		{"UNSUBSCRIBE, filter not in UTF-8", v3, "a2 05 0001 0001 ff", 0},
		{"UNSUBSCRIBE, filter not in UTF-8", v5, "a2 06 0001 00 0001 ff", 0x81},
		// SUBSCRIBE and UNSUBSCRIBE
		{"SUBSCRIBE without filters", v3, "82 02 0001", 0},
		{"SUBSCRIBE without filters", v5, "82 03 0001 00", 0x82},
		{"SUBSCRIBE, QoS 3", v3, "82 06 0001 0001 61 03", 0},
		{"SUBSCRIBE, QoS 3", v5, "82 07 0001 00 0001 61 03", 0x82},
		{"SUBSCRIBE, reserved bits", v3, "82 06 0001 0001 61 04", 0},
		{"SUBSCRIBE, reserved bits", v5, "82 07 0001 00 0001 61 40", 0x81},
		{"SUBSCRIBE, reserved bits", v5, "82 07 0001 00 0001 61 80", 0x81},
		{"SUBSCRIBE, retain handling 3", v5, "82 07 0001 00 0001 61 30", 0x82},
		{"SUBSCRIBE, no local for a group", v5, "82 10 0001 00 000a 2473686172652f672f61 04", 0x82},
		{"SUBSCRIBE, subscription identifier 0", v5, "82 09 0001 02 0b 00 0001 61 00", 0x82},
		{"SUBSCRIBE, two subscription identifiers", v5, "82 0b 0001 04 0b01 0b02 0001 61 00", 0x82},
		{"UNSUBSCRIBE without filters", v3, "a2 02 0001", 0},
		{"UNSUBSCRIBE without filters", v5, "a2 03 0001 00", 0x82},
		// Acknowledgements and the end
		{"PUBACK with a code that it does not have", v5, "40 03 0001 8e", 0x82},
		{"PUBREC with a code that it does not have", v5, "50 03 0001 92", 0x82},
		{"PUBREL with a code that it does not have", v5, "62 03 0001 80", 0x82},
		{"PUBCOMP with a code that it does not have", v5, "70 03 0001 10", 0x82},
		{"DISCONNECT with a server's code", v5, "e0 01 8e", 0x82},
		{"DISCONNECT makes a session last that was not to", v5, "e0 07 00 05 11 00000001", 0x82},
		{"AUTH without a method", v5, "f0 02 18 00", 0x82},
		{"AUTH", v3, "f0 00", 0},
	} {
		both(t, func(t *testing.T, version byte) {
			if c.in>>(version-4)&1 == 0 {
				return
			}
			t.Run(c.name, func(t *testing.T) {
				h := newHouse(t)
				w := h.witness(version)
				p := h.connect(version, "wrong")
				p.raw(c.hex)
				p.closed(c.code)
				w.unharmed(t)
			})
		})
	}
}

// one of each property of MQTT 5, with a value that it may have.
var onePerProperty = map[byte]string{
	1: "01 01", 2: "02 00000001", 3: "03 0001 63", 8: "08 0001 72", 9: "09 0001 64", 11: "0b 01", 17: "11 00000001",
	18: "12 0001 69", 19: "13 0001", 21: "15 0001 6d", 22: "16 0001 64", 23: "17 01", 24: "18 00000001", 25: "19 01",
	26: "1a 0001 69", 28: "1c 0001 73", 31: "1f 0001 72", 33: "21 0001", 34: "22 0001", 35: "23 0001", 36: "24 01",
	37: "25 01", 38: "26 0001 6b 0001 76", 39: "27 00000100", 40: "28 01", 41: "29 01", 42: "2a 01",
}

// For each packet type that a client sends: the properties that it may have, and
// the packet around them.
var propertyPlaces = []struct {
	name   string
	mayBe  []byte
	around func(t testing.TB, props []byte) []byte
	code   func(p *peer, code byte) // wants that answer
}{
	{"CONNECT", []byte{17, 21, 22, 23, 25, 33, 34, 38, 39}, func(t testing.TB, props []byte) []byte {
		return packet(0x10, slices.Concat(unhex(t, "0004 4d515454 05 02 003c"), packetProps(props), unhex(t, "0001 63")))
	}, nil},
	{"will", []byte{1, 2, 3, 8, 9, 24, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0x10, slices.Concat(unhex(t, "0004 4d515454 05 06 003c 00 0001 63"), packetProps(props), unhex(t, "0001 77 0001 78")))
	}, nil},
	{"PUBLISH", []byte{1, 2, 3, 8, 9, 35, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0x30, slices.Concat(unhex(t, "0001 74"), packetProps(props), []byte("x")))
	}, (*peer).closed},
	{"PUBACK", []byte{31, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0x40, slices.Concat(unhex(t, "0001 00"), packetProps(props)))
	}, (*peer).closed},
	{"PUBREC", []byte{31, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0x50, slices.Concat(unhex(t, "0001 00"), packetProps(props)))
	}, (*peer).closed},
	{"PUBREL", []byte{31, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0x62, slices.Concat(unhex(t, "0001 00"), packetProps(props)))
	}, (*peer).closed},
	{"PUBCOMP", []byte{31, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0x70, slices.Concat(unhex(t, "0001 00"), packetProps(props)))
	}, (*peer).closed},
	{"SUBSCRIBE", []byte{11, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0x82, slices.Concat(unhex(t, "0001"), packetProps(props), unhex(t, "0001 61 00")))
	}, (*peer).closed},
	{"UNSUBSCRIBE", []byte{38}, func(t testing.TB, props []byte) []byte {
		return packet(0xa2, slices.Concat(unhex(t, "0001"), packetProps(props), unhex(t, "0001 61")))
	}, (*peer).closed},
	{"DISCONNECT", []byte{17, 28, 31, 38}, func(t testing.TB, props []byte) []byte {
		return packet(0xe0, slices.Concat(unhex(t, "00"), packetProps(props)))
	}, (*peer).closed},
}

func packetProps(props []byte) []byte { return append(appendVarint(nil, len(props)), props...) }

// Each property in each packet: it belongs there or is malformed; twice is a
// protocol error, but for user properties; an unknown one is malformed (MQTT 5,
// 2.2.2.2).
func TestProperties(t *testing.T) {
	h := newHouse(t)
	w := h.witness(5)
	for _, place := range propertyPlaces {
		t.Run(place.name, func(t *testing.T) {
			h.t = t
			// says sends the packet with these properties and gives the answer; 0: it was fine.
			says := func(props []byte) byte {
				t.Helper()
				if place.code == nil {
					p := h.dial(5)
					p.write(place.around(t, props))
					code := p.want(packets.Connack).ReasonCode
					if code >= 0x80 {
						p.closed(0)
					}
					p.nc.Close()
					return code
				}
				p := h.connect(5, "p", keep)
				defer p.nc.Close()
				p.write(place.around(t, props))
				if place.name != "DISCONNECT" {
					p.raw("c000")
				}
				for {
					pk, err := p.read(patience)
					switch {
					case err != nil && place.name == "DISCONNECT":
						return 0
					case err != nil:
						t.Fatalf("% x: %v", props, err)
					case pk.FixedHeader.Type == packets.Disconnect:
						return pk.ReasonCode
					case pk.FixedHeader.Type == packets.Pingresp:
						return 0
					}
				}
			}
			for id := range 256 {
				one := unhex(t, onePerProperty[byte(id)])
				if len(one) == 0 {
					one = []byte{byte(id), 0, 0, 0, 0}
				}
				want := byte(0x81)
				switch {
				case slices.Contains(place.mayBe, byte(id)):
					want = 0
				case id == 11 && place.name == "PUBLISH":
					want = 0x82 // 3.3.4-6
				}
				switch { // CONNECT's authentication has answers of its own
				case place.name == "CONNECT" && id == 21:
					want = 0x8c
				case place.name == "CONNECT" && id == 22:
					want = 0x82
				}
				if got := says(one); got != want {
					t.Errorf("property %d: %#x, want %#x", id, got, want)
				}
				if want != 0 {
					continue
				}
				want = 0x82
				if id == 38 {
					want = 0
				}
				if got := says(slices.Concat(one, one)); got != want {
					t.Errorf("property %d twice: %#x, want %#x", id, got, want)
				}
			}
			w.unharmed(t)
		})
	}
}

// Values that a property cannot have are protocol errors (MQTT 5, 3.1.2.11).
func TestPropertyValues(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct{ name, props string }{
		{"receive maximum 0", "21 0000"},
		{"maximum packet size 0", "27 00000000"},
		{"request problem information 2", "17 02"},
		{"request response information 2", "19 02"},
		{"authentication data without a method", "16 0001 64"},
	} {
		p := h.dial(5)
		p.write(packet(0x10, slices.Concat(unhex(t, "0004 4d515454 05 02 003c"), packetProps(unhex(t, c.props)), unhex(t, "0001 63"))))
		if ack := p.want(packets.Connack); ack.ReasonCode != 0x82 {
			t.Errorf("%s: CONNACK %#x, want 0x82", c.name, ack.ReasonCode)
		}
		p.closed(0)
	}
	p := h.dial(5)
	p.write(packet(0x10, unhex(t, "0004 4d515454 05 06 003c 00 0001 63 02 01 02 0001 77 0001 78")))
	if ack := p.want(packets.Connack); ack.ReasonCode != 0x82 {
		t.Errorf("a will's payload format 2: CONNACK %#x, want 0x82", ack.ReasonCode)
	}
	p.closed(0)
}

// A packet full of properties is one packet: it costs what its bytes cost, goes
// through, and keeps nobody waiting.
func TestPropertyBombs(t *testing.T) {
	h := newHouse(t)
	w := h.witness(5)
	s, old := h.connect(5, "s"), h.connect(4, "old")
	s.subscribe(1, sub("bomb", 1))
	old.subscribe(1, sub("bomb", 1))
	const n = 200_000
	var bomb []byte
	for range n {
		bomb = append(bomb, 0x26, 0, 0, 0, 0)
	}
	p := h.connect(5, "p")
	p.write(packet(0x32, slices.Concat(unhex(t, "0004 626f6d62 0001"), packetProps(bomb), []byte("x"))))
	if ack := p.want(packets.Puback); ack.ReasonCode != 0 {
		t.Fatalf("PUBACK %#x", ack.ReasonCode)
	}
	if m := s.message("bomb", "x"); len(m.Properties.User) != n {
		t.Errorf("%d user properties came, want %d", len(m.Properties.User), n)
	}
	old.message("bomb", "x")
	w.unharmed(t)
	// In packets where nobody wants them.
	p.write(packet(0x82, slices.Concat(unhex(t, "0001"), packetProps(bomb), unhex(t, "0001 61 00"))))
	p.want(packets.Suback)
	p.write(packet(0x40, slices.Concat(unhex(t, "0001 00"), packetProps(bomb))))
	p.alive()
	c := h.dial(5)
	c.write(packet(0x10, slices.Concat(unhex(t, "0004 4d515454 05 02 003c"), packetProps(bomb), unhex(t, "0001 63"))))
	if ack := c.want(packets.Connack); ack.ReasonCode != 0 {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
	// One that is a protocol error at its end is one, whatever came before.
	p.write(packet(0x30, slices.Concat(unhex(t, "0001 61"), packetProps(slices.Concat(bomb, []byte{1, 1, 1, 1})), []byte("x"))))
	p.closed(0x82)
	w.unharmed(t)
}

// A SUBSCRIBE with 10,000 filters is answered filter by filter, whatever they are;
// what is too much is refused by name.
func TestManyFilters(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		w := h.witness(version)
		p := h.connect(version, "many")
		var filters []packets.Subscription
		for i := range 10_001 {
			filters = append(filters, sub(fmt.Sprint("f/", i), 1))
		}
		ack := p.subscribe(1, filters...)
		if len(ack.ReasonCodes) != len(filters) {
			t.Fatalf("%d codes for %d filters", len(ack.ReasonCodes), len(filters))
		}
		full := map[byte]byte{4: 0x80, 5: 0x97}[version]
		for i, code := range ack.ReasonCodes {
			want := byte(1)
			if i == 10_000 {
				want = full
			}
			if code != want {
				t.Fatalf("filter %d: %#x, want %#x", i, code, want)
			}
		}
		h.publish("f/9999", "x", q1)
		p.message("f/9999", "x")
		w.unharmed(t)
		// As many as a packet holds, all of them the same.
		body := []byte{0, 2}
		if version == 5 {
			body = append(body, 0)
		}
		for len(body) < 1<<20-16 {
			body = append(body, 0, 1, 'a', 1)
		}
		q := h.connect(version, "same")
		q.write(packet(0x82, body))
		if n := len(q.want(packets.Suback).ReasonCodes); n != (len(body)-2)/4 {
			t.Errorf("%d codes for %d filters", n, (len(body)-2)/4)
		}
		w.unharmed(t)
		// The same for sessions that are kept.
		k := h.connect(version, "kept", keep)
		if ack := k.subscribe(1, filters...); len(ack.ReasonCodes) != len(filters) || ack.ReasonCodes[9999] != 1 || ack.ReasonCodes[10_000] != full {
			t.Errorf("kept: %d codes, the last two %#x", len(ack.ReasonCodes), ack.ReasonCodes[9999:])
		}
		k = h.connect(version, "kept and same", keep)
		k.write(packet(0x82, body))
		if n := len(k.want(packets.Suback).ReasonCodes); n != (len(body)-2)/4 {
			t.Errorf("kept: %d codes for %d filters", n, (len(body)-2)/4)
		}
		w.unharmed(t)
	})
}

// Acknowledgements for nothing, or of the wrong kind, change nothing and end
// nothing; MQTT 5 has a reason for some of them.
func TestAcksForNothing(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s")
		s.subscribe(1, sub("one", 1), sub("two", 2))
		s.send(ackOf(packets.Puback, 77))
		s.send(ackOf(packets.Pubcomp, 77))
		s.silence()
		notFound := map[byte]byte{4: 0, 5: 0x92}[version]
		s.send(ackOf(packets.Pubrel, 77))
		if ack := s.want(packets.Pubcomp); ack.PacketID != 77 || ack.ReasonCode != notFound {
			t.Errorf("PUBREL without PUBREC: PUBCOMP %d %#x, want 77 %#x", ack.PacketID, ack.ReasonCode, notFound)
		}
		s.send(ackOf(packets.Pubrec, 77))
		if ack := s.want(packets.Pubrel); ack.PacketID != 77 || ack.ReasonCode != notFound {
			t.Errorf("PUBREC for nothing: PUBREL %d %#x, want 77 %#x", ack.PacketID, ack.ReasonCode, notFound)
		}
		// The wrong kind for a delivery: it stays unacknowledged.
		h.publish("one", "1", q1)
		h.publish("two", "2", 2<<1)
		one, two := s.message("one", "1"), s.message("two", "2")
		s.send(ackOf(packets.Puback, two.PacketID))
		s.send(ackOf(packets.Pubcomp, two.PacketID)) // no PUBREC yet
		s.send(ackOf(packets.Pubcomp, one.PacketID))
		s.silence()
		s.send(ackOf(packets.Pubrec, two.PacketID))
		if ack := s.want(packets.Pubrel); ack.PacketID != two.PacketID || ack.ReasonCode != 0 {
			t.Errorf("PUBREL %d %#x, want %d 0", ack.PacketID, ack.ReasonCode, two.PacketID)
		}
		s.send(ackOf(packets.Pubcomp, two.PacketID))
		s.send(ackOf(packets.Puback, one.PacketID))
		s.send(ackOf(packets.Puback, one.PacketID)) // and once more
		s.silence()
	})
}

// A packet id that is still in use, and comes again: QoS 1 is acknowledged each
// time, a SUBSCRIBE is answered each time.
func TestPacketIDsInUse(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		slow := &slowPublisher{}
		h := newHouse(t, slowly(slow))
		p := h.connect(version, "p")
		p.send(pub("t", "a", 1, 5))
		p.send(pub("t", "b", 1, 5))
		p.send(pub("t", "c", 2, 6))
		p.send(pub("t", "c", 2, 6)) // the first has no PUBREC yet: one answer for both
		p.subscribe(5, sub("x", 0))
		p.subscribe(5, sub("y", 0))
		eventually(t, "three are handed in", func() bool { return slow.waiting() == 3 })
		for i := range 3 {
			slow.finish(i, nil)
		}
		p.want(packets.Puback)
		p.want(packets.Puback)
		p.want(packets.Pubrec)
		p.silence()
		if n := len(slow.got); n != 3 {
			t.Errorf("%d publications, want 3", n)
		}
	})
}

// The first packet of a connection is CONNECT, or nothing is answered at all (MQTT 5,
// 3.1.0-1); a second one is the end (3.1.0-2); none at all is closed in time.
func TestConnectComesFirstAndOnce(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.ConnectTimeout = 100 * time.Millisecond })
		w := h.witness(version)
		for _, b := range samples(t, version) {
			p := h.dial(version)
			p.write(b)
			if pk, err := p.read(patience); err == nil {
				t.Errorf("% x: answered with %s", b, packets.PacketNames[pk.FixedHeader.Type])
			}
		}
		h.dial(version).closed(0)
		p := h.connect(version, "p", withWill("witness", "will"))
		p.send(connectPacket(version, "p"))
		p.closed(0x82)
		w.sub.message("witness", "will") // it was a protocol error, not a goodbye
		w.unharmed(t)
	})
}

// A body that comes slower than its length says holds no memory for what is
// missing, and a keep alive ends it.
func TestHalfAPacket(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		t.Parallel()
		h := newHouse(t)
		p := h.connect(version, "p", func(pk *packets.Packet) { pk.Connect.Keepalive = 1 })
		b := binary.BigEndian.AppendUint16([]byte{0x30, 0xff, 0xff, 0x3e}, 3)
		p.write(append(b, "abc"...))
		p.closed(0x8d)
	})
}
