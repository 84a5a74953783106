package bridge

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/stream"
)

// Each of these is answered in one clear way, and the broker serves on.
func TestBadPackets(t *testing.T) {
	long := strings.Repeat("a", 65535)
	for _, c := range []struct {
		name string
		send func(p *peer)
		code byte // of the DISCONNECT that an MQTT 5 client gets
	}{
		{"subscribe without options byte, 8 bytes", func(p *peer) {
			if p.version == 5 {
				p.raw("82 06 0001 00 0001 61")
			} else {
				p.raw("82 05 0001 0001 61")
			}
		}, 0x81},
		{"subscribe without filters", func(p *peer) { p.raw(map[byte]string{4: "82 02 0001", 5: "82 03 0001 00"}[p.version]) }, 0x82},
		{"subscribe with packet id 0", func(p *peer) {
			p.raw(map[byte]string{4: "82 06 0000 0001 61 00", 5: "82 07 0000 00 0001 61 00"}[p.version])
		}, 0x82},
		{"subscribe with reserved header bits", func(p *peer) { p.raw("80 06 0001 0001 61 00") }, 0x81},
		{"subscribe with QoS 3", func(p *peer) {
			p.raw(map[byte]string{4: "82 06 0001 0001 61 03", 5: "82 07 0001 00 0001 61 03"}[p.version])
		}, 0x82},
		{"publish with QoS 3", func(p *peer) { p.raw("36 05 0001 61 0001") }, 0x81},
		{"publish with DUP and QoS 0", func(p *peer) { p.raw("38 03 0001 61") }, 0x82},
		{"publish with packet id 0", func(p *peer) {
			p.raw(map[byte]string{4: "32 05 0001 61 0000", 5: "32 06 0001 61 0000 00"}[p.version])
		}, 0x82},
		{"publish to a wildcard", func(p *peer) {
			p.raw(map[byte]string{4: "30 05 0003 612f2b", 5: "30 06 0003 612f23 00"}[p.version])
		}, 0x82},
		{"publish with U+0000", func(p *peer) {
			p.raw(map[byte]string{4: "30 04 0002 6100", 5: "30 05 0002 6100 00"}[p.version])
		}, 0x81},
		{"publish with broken UTF-8", func(p *peer) {
			p.raw(map[byte]string{4: "30 04 0002 61ff", 5: "30 05 0002 61ff 00"}[p.version])
		}, 0x81},
		{"publish to nothing", func(p *peer) { p.raw(map[byte]string{4: "30 02 0000", 5: "30 03 0000 00"}[p.version]) }, 0x82},
		{"publish cut short", func(p *peer) { p.raw("32 03 0005 61") }, 0x81},
		{"length of five bytes", func(p *peer) { p.raw("30 ff ff ff ff 7f") }, 0x81},
		{"longer than the limit", func(p *peer) { p.raw("30 ff ff ff 7f") }, 0x95},
		{"packet type 0", func(p *peer) { p.raw("00 00") }, 0x81},
		{"a packet that only servers send", func(p *peer) { p.raw("90 03 0001 00") }, 0x81},
		{"second CONNECT", func(p *peer) { p.send(connectPacket(p.version, "again")) }, 0x82},
		{"AUTH that nobody asked for", func(p *peer) { p.raw("f0 00") }, 0x82},
		{"PUBACK with packet id 0", func(p *peer) { p.raw("40 02 0000") }, 0x82},
		{"PUBREL with wrong header bits", func(p *peer) { p.raw("60 02 0001") }, 0x81},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, version byte) {
				h := newHouse(t)
				p := h.connect(version, "bad")
				c.send(p)
				p.closed(c.code)
				other := h.connect(version, "good")
				other.subscribe(1, sub(long[:100], 0))
				other.silence()
			})
		})
	}
}

// Who says nothing, or half of a CONNECT, is closed in time and takes no memory
// for what it only announced.
func TestHalfOpenConnections(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.ConnectTimeout = 50 * time.Millisecond })
	for _, first := range []string{"", "10", "10 ff ff 3f", "10 ff ff 3f 0004 4d515454"} {
		p := h.dial(5)
		if first != "" {
			p.raw(first)
		}
		p.closed(0)
	}
	p := h.dial(4)
	p.raw("c0 00")
	p.closed(0)
}

func TestConnectRefusals(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name string
		v    byte
		edit func(*packets.Packet)
		code byte
	}{
		{"3.1.1, no client id, session kept", 4, func(pk *packets.Packet) { pk.Connect.ClientIdentifier, pk.Connect.Clean = "", false }, 2},
		{"5, enhanced authentication", 5, func(pk *packets.Packet) { pk.Properties.AuthenticationMethod = "SCRAM" }, 0x8c},
		{"5, will to a wildcard", 5, func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "a/#", []byte("x")
		}, 0x90},
		{"5, reserved will QoS", 5, func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillQos = true, "a", []byte("x"), 3
		}, 0x81},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ack := h.tryConnect(c.v, "x", c.edit)
			if ack.ReasonCode != c.code {
				t.Errorf("CONNACK %#x, want %#x", ack.ReasonCode, c.code)
			}
			p.closed(0)
		})
	}
	for _, level := range []string{"06", "00", "86", "03", "80", "83"} {
		p := h.dial(4)
		p.raw("10 0d 0004 4d515454" + level + "02 003c 0001 61")
		if ack := p.want(packets.Connack); ack.ReasonCode != 1 {
			t.Errorf("level %s: CONNACK %#x, want 1", level, ack.ReasonCode)
		}
		p.closed(0)
	}
	// A bridge's level is no other than the level that it stands for.
	for v, connect := range map[byte]string{
		3: "10 0f 0006 4d5149736470 83 02 003c 0001 62",
		4: "10 0d 0004 4d515454 84 02 003c 0001 62",
		5: "10 0e 0004 4d515454 85 02 003c 00 0001 62",
	} {
		p := h.dial(v)
		p.raw(connect)
		if ack := p.want(packets.Connack); ack.ReasonCode != 0 {
			t.Errorf("bridge, level %d: CONNACK %#x, want 0", v, ack.ReasonCode)
		}
		p.goodbye()
	}
	// MQTT 3.1 is spoken.
	p := h.dial(3)
	p.raw("10 0f 0006 4d5149736470 03 02 003c 0001 61")
	if ack := p.want(packets.Connack); ack.ReasonCode != 0 {
		t.Errorf("MQTT 3.1: CONNACK %#x, want 0", ack.ReasonCode)
	}
}

// Filters that are none are refused one by one, in the SUBACK.
func TestBadFilters(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		p := h.connect(version, "p")
		bad := []string{"a+", "a#", "#/a", "a/#/b", "a/b+", "$share//x", "$share/g", "$share/g/", "$share/+/x", "$share/g+/x",
			"$share", "", strings.Repeat("/", 300)}
		var subs []packets.Subscription
		for _, f := range bad {
			subs = append(subs, sub(f, 1))
		}
		subs = append(subs, sub("good/+/#", 1), sub("$share/g/a/+", 2))
		ack := p.subscribe(9, subs...)
		want := map[byte]byte{4: 0x80, 5: 0x8f}[version]
		for i, f := range bad {
			if ack.ReasonCodes[i] != want {
				t.Errorf("%.20q: %#x, want %#x", f, ack.ReasonCodes[i], want)
			}
		}
		if n := len(bad); ack.ReasonCodes[n] != 1 || ack.ReasonCodes[n+1] != 2 {
			t.Errorf("good filters: %v, want 1 and 2", ack.ReasonCodes[n:])
		}
	})
}

// The broker's own topics are not for clients; the answer says so.
func TestPublishToSys(t *testing.T) {
	h := newHouse(t)
	p := h.connect(5, "p")
	p.send(pub("$SYS/x", "lie", 1, 1))
	if ack := p.want(packets.Puback); ack.ReasonCode != 0x90 {
		t.Errorf("QoS 1: %#x, want 0x90", ack.ReasonCode)
	}
	p.send(pub("$SYS/x", "lie", 2, 2))
	if ack := p.want(packets.Pubrec); ack.ReasonCode != 0x90 {
		t.Errorf("QoS 2: %#x, want 0x90", ack.ReasonCode)
	}
	p.send(pub("$SYS/x", "lie", 0, 0))
	p.silence()
	old := h.connect(4, "old")
	old.send(pub("$SYS/x", "lie", 1, 1))
	old.closed(0) // no acknowledgement: nothing was published
}

func TestDollarTopics(t *testing.T) {
	h := newHouse(t)
	s := h.connect(4, "s")
	s.subscribe(1, sub("#", 0), sub("+/x", 0))
	h.publish("$x/x", "hidden", 0)
	s.silence()
	s.subscribe(2, sub("$x/#", 0))
	h.publish("$x/x", "asked for", 0)
	s.message("$x/x", "asked for")
}

// A topic of 64 KiB goes through.
func TestLongTopic(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("+/#", 1))
	p := h.connect(5, "p")
	topic := strings.Repeat("é/", 65535/3)
	p.send(pub(topic, "x", 1, 1))
	p.want(packets.Puback)
	s.message(topic, "x")
}

// A subscriber of QoS 1 that stops reading does not stop those who publish, and
// gets everything, in order, when it reads again.
func TestStalledSubscriber(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Buffer, c.Window = 64<<10, 16384 })
		s := h.connect(version, "stalled")
		_ = s.nc.(*net.TCPConn).SetReadBuffer(256 << 10)
		s.subscribe(1, sub("t", 1))
		p := h.connect(version, "p")
		const n = 400
		body := strings.Repeat("x", 16<<10)
		for i := range n {
			pk := pub("t", body, 1, uint16(i+1))
			binary.BigEndian.PutUint32(pk.Payload, uint32(i))
			p.send(pk)
			if ack := p.want(packets.Puback); ack.PacketID != uint16(i+1) {
				t.Fatalf("PUBACK %d, want %d", ack.PacketID, i+1)
			}
		}
		for i := range n {
			m := s.want(packets.Publish)
			if got := binary.BigEndian.Uint32(m.Payload); got != uint32(i) {
				t.Fatalf("message %d came where %d was due", got, i)
			}
			s.send(ackOf(packets.Puback, m.PacketID))
		}
		s.silence()
		if d := h.metric("nackmq_dropped_total", "slow"); d != 0 {
			t.Errorf("dropped %v", d)
		}
	})
}

// A stalled subscriber of QoS 0 loses what does not fit, and that is counted.
func TestStalledSubscriberOfQoS0(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Buffer = 32 << 10 })
	s := h.connect(4, "stalled")
	_ = s.nc.(*net.TCPConn).SetReadBuffer(256 << 10)
	s.subscribe(1, sub("t", 0))
	p := h.connect(4, "p")
	body := strings.Repeat("x", 64<<10)
	for i := range 200 {
		p.send(pub("t", body, 1, uint16(i+1)))
		p.want(packets.Puback)
	}
	eventually(t, "a drop is counted", func() bool { return h.metric("nackmq_dropped_total", "slow") > 0 })
	p.silence()
}

// A peer that takes no byte for StuckTimeout is cut off.
func TestStuckPeerIsCutOff(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.StuckTimeout = 100 * time.Millisecond; c.Buffer = 1 << 20 })
	s := h.connect(4, "stuck", keep)
	_ = s.nc.(*net.TCPConn).SetReadBuffer(256 << 10)
	s.subscribe(1, sub("t", 1))
	p := h.connect(4, "p")
	body := strings.Repeat("x", 64<<10)
	for i := range 100 {
		p.send(pub("t", body, 1, uint16(i+1)))
		p.want(packets.Puback)
	}
	eventually(t, "the stuck connection is gone", func() bool { return h.metric("nackmq_sessions", "mqtt") == 1 })
}

func TestTooManyConnections(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Seats = socket.NewSeats(2) })
	h.connect(4, "1")
	two := h.connect(4, "2")
	h.dial(4).closed(0)
	two.goodbye()
	eventually(t, "there is room again", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.clients) < 2
	})
	h.connect(4, "3")
}

// An error of Accept does not end the accept loop.
func TestAcceptErrorIsWaitedOut(t *testing.T) {
	h := newHouse(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flaky := &flakyListener{Listener: ln, fail: 3}
	served := make(chan error, 1)
	go func() { served <- h.Serve(t.Context(), flaky) }()
	h.addr = ln.Addr().String()
	h.connect(4, "a")
	ln.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

type flakyListener struct {
	net.Listener
	fail int
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.fail--; l.fail >= 0 {
		return nil, &net.OpError{Op: "accept", Err: net.UnknownNetworkError("too many open files")}
	}
	return l.Listener.Accept()
}

// Who sends a packet that is too large is told, and so is the operator.
func TestPacketTooLarge(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.MaxPacket = 1024 })
		p := h.connect(version, "p")
		p.send(pub("t", strings.Repeat("x", 2000), 1, 1))
		p.closed(packets.ErrPacketTooLarge.Code)
		if n := h.metric("nackmq_publishes_total", "mqtt", "too_large"); n != 1 {
			t.Errorf("%v publishes were too large, want 1", n)
		}
	})
}

// A session without a filter has lost nothing when the cache moves on.
func TestNobodyLosesWhatHeDidNotWant(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{CacheMessages: 5})
	h := newHouseOver(t, log)
	h.connect(5, "idle", keep).goodbye()
	h.connect(5, "connected")
	for i := range 50 {
		h.publish("t", fmt.Sprint(i), q1)
	}
	h.connect(5, "idle", keep)
	h.loop.do(func() { h.loop.lapped(h.loop.cursor + 1) })
	if n := h.metric("nackmq_dropped_total", "trimmed"); n != 0 {
		t.Errorf("%v messages were lost to nobody", n)
	}
}
