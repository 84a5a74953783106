package bridge

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/mochi-mqtt/server/v2/packets"
)

// bytesOf gives the next n bytes that come, in hexadecimal.
func (p *peer) bytesOf(n int) string {
	p.t.Helper()
	b := make([]byte, n)
	_ = p.nc.SetReadDeadline(time.Now().Add(patience))
	if m, err := io.ReadFull(p.br, b); err != nil {
		p.t.Fatalf("%s: got % x and then %v", p.name, b[:m], err)
	}
	return hex.EncodeToString(b)
}

// Names that every server takes, and longer ones, with any character (MQTT 5,
// 3.1.3-5); sessions are told apart by them, byte by byte (3.1.3-2).
func TestClientIDs(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		ids := []string{"0", letters[:23], letters[20:43], letters[39:], "a", "A", "á", "a\u0301", "a b", "\ufeffa", strings.Repeat("x", 1000)}
		var peers []*peer
		for _, id := range ids {
			p := h.connect(version, id)
			p.subscribe(1, sub("t", 0))
			peers = append(peers, p)
		}
		h.publish("t", "x", 0)
		for _, p := range peers { // nobody has taken another one's session
			p.message("t", "x")
		}
	})
}

// A client without a name gets one, and with it a session like any other (MQTT 5,
// 3.1.3-6, 3.1.3-7, 3.2.2-16; 3.1.1, 3.1.3-6 to 3.1.3-9).
func TestZeroLengthClientID(t *testing.T) {
	h := newHouse(t)
	p, ack := h.tryConnect(5, "", keep)
	id := ack.Properties.AssignedClientID
	if id == "" || ack.SessionPresent {
		t.Fatalf("assigned %q, session present %v", id, ack.SessionPresent)
	}
	p.subscribe(1, sub("t", 1))
	p.goodbye()
	h.publish("t", "missed", q1)
	p, ack = h.tryConnect(5, id, keep)
	if !ack.SessionPresent || ack.Properties.AssignedClientID != "" {
		t.Errorf("session present %v, assigned %q", ack.SessionPresent, ack.Properties.AssignedClientID)
	}
	p.message("t", "missed")
	// In 3.1.1 it is told nothing, and works; it must not ask for a kept session.
	old := h.connect(4, "")
	old.subscribe(1, sub("t", 1))
	h.publish("t", "x", q1)
	old.message("t", "x")
	refused, ack := h.tryConnect(4, "", keep)
	if ack.ReasonCode != 2 || ack.SessionPresent {
		t.Errorf("CONNACK %#x, session present %v; want 2, false", ack.ReasonCode, ack.SessionPresent)
	}
	refused.closed(0)
}

// CONNACK, byte for byte: reserved bits are 0, session present says the truth, also
// in a refusal (MQTT 5, 3.2.2-1 to 3.2.2-7; 3.1.1, 3.2.2-1 to 3.2.2-5).
func TestConnackFlags(t *testing.T) {
	h := newHouse(t)
	hello := func(version byte, change ...func(*packets.Packet)) *peer {
		p := h.dial(version)
		pk := connectPacket(version, "p")
		for _, f := range change {
			f(&pk)
		}
		p.send(pk)
		return p
	}
	for i, want := range []string{"20020000", "20020100", "20020100"} {
		p := hello(4, keep)
		if got := p.bytesOf(4); got != want {
			t.Errorf("kept, time %d: % s, want %s", i, got, want)
		}
		p.goodbye()
	}
	// A refusal, though there is a session: session present is 0, and the end comes.
	p := hello(5, keep, withWill("a/#", "x"))
	if ack := p.want(packets.Connack); ack.SessionPresent || ack.ReasonCode != 0x90 {
		t.Errorf("refused: session present %v, %#x", ack.SessionPresent, ack.ReasonCode)
	}
	p.closed(0)
	p = hello(5, keep)
	if ack := p.want(packets.Connack); !ack.SessionPresent {
		t.Error("the refused CONNECT ended the session")
	}
	p.goodbye()
	p = hello(4)
	if got := p.bytesOf(4); got != "20020000" {
		t.Errorf("clean: %s", got)
	}
}

// What a client sends after a CONNECT that is refused does not count; what it sends
// after one that is not, without waiting for CONNACK, does (MQTT 5, 3.1.4-6, 3.2.0-1).
func TestPacketsBehindConnect(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Authorizer = doorman{} })
		s := h.connect(version, "s", ann)
		s.subscribe(1, sub("t", 1))
		say := func(id string, change ...func(*packets.Packet)) *peer {
			var buf bytes.Buffer
			pk := connectPacket(version, id)
			for _, f := range change {
				f(&pk)
			}
			if err := pk.ConnectEncode(&buf); err != nil {
				t.Fatal(err)
			}
			pb := pub("t", "from "+id, 1, 1)
			pb.ProtocolVersion = version
			if err := pb.PublishEncode(&buf); err != nil {
				t.Fatal(err)
			}
			p := h.dial(version)
			p.write(buf.Bytes())
			return p
		}
		p := say("stranger")
		p.want(packets.Connack)
		p.closed(0)
		p = say("friend", ann)
		p.want(packets.Connack)
		p.want(packets.Puback)
		s.message("t", "from friend")
		s.silence()
	})
}

// A password needs a user name in 3.1.1 only (3.1.1, 3.1.2-22; MQTT 5, 3.1.2.9); a
// user name that is no UTF-8 is no user name (MQTT 5, 3.1.3-12).
func TestUserNames(t *testing.T) {
	h := newHouse(t)
	alone := func(pk *packets.Packet) { pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte("pw") }
	h.connect(5, "p", alone)
	p := h.dial(4)
	pk := connectPacket(4, "p4")
	alone(&pk)
	p.send(pk)
	p.closed(0)
	for _, name := range []string{"\xff", "a\x00b"} {
		bad := func(pk *packets.Packet) { pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte(name) }
		p, ack := h.tryConnect(5, "p", bad)
		if ack.ReasonCode != 0x81 {
			t.Errorf("%q: CONNACK %#x, want 0x81", name, ack.ReasonCode)
		}
		p.closed(0)
		p = h.dial(4)
		pk := connectPacket(4, "p4")
		bad(&pk)
		p.send(pk)
		p.closed(0)
	}
	// Flags without what they promise, and a will's flags without a will.
	for name, body := range map[string]string{
		"user name":   "0004 4d515454 04 82 003c 0001 61",
		"password":    "0004 4d515454 04 c2 003c 0001 61 0001 75",
		"will":        "0004 4d515454 04 06 003c 0001 61",
		"will QoS":    "0004 4d515454 04 0a 003c 0001 61",
		"will retain": "0004 4d515454 04 22 003c 0001 61",
		"will QoS 3":  "0004 4d515454 04 1e 003c 0001 61 0001 77 0001 78",
		"no flag":     "0004 4d515454 04 02 003c 0001 61 0001 75",
	} {
		p := h.dial(4)
		p.name = name
		p.write(packet(0x10, unhex(t, body)))
		p.closed(0)
		v5 := unhex(t, body)
		v5[6] = 5
		p = h.dial(5)
		p.name = name
		p.write(packet(0x10, slices.Insert(v5, 10, 0)))
		if ack := p.want(packets.Connack); ack.ReasonCode != 0x81 && ack.ReasonCode != 0x82 {
			t.Errorf("%s: CONNACK %#x", name, ack.ReasonCode)
		}
		p.closed(0)
	}
}

// A will is retained if it says so and only then, at its own QoS, on its topic; and
// it is gone when it was published (MQTT 5, 3.1.2-7 to 3.1.2-15).
func TestWillFlags(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s")
		s.subscribe(1, sub("will/#", 2))
		for qos := byte(0); qos <= 2; qos++ {
			for _, retain := range []bool{false, true} {
				topic := fmt.Sprintf("will/%d/%v", qos, retain)
				h.connect(version, "c", withWill(topic, "x", func(pk *packets.Packet) {
					pk.Connect.WillQos, pk.Connect.WillRetain = qos, retain
				})).nc.Close()
				if m := s.message(topic, "x"); m.FixedHeader.Qos != qos || m.FixedHeader.Retain {
					t.Errorf("%s: QoS %d, retain %v", topic, m.FixedHeader.Qos, m.FixedHeader.Retain)
				}
				late := h.connect(version, "late")
				late.subscribe(1, sub(topic, 2))
				if retain {
					late.message(topic, "x")
				}
				late.silence()
				late.goodbye()
			}
		}
		// The next connection has no will: none is published when it ends.
		h.hangUp(h.connect(version, "c"))
		s.silence()
		// A will belongs to one connection: one that returns in good order has none left.
		h.hangUp(h.connect(version, "k", keep, withWill("will/k", "1")))
		s.message("will/k", "1")
		h.hangUp(h.connect(version, "k", keep))
		s.silence()
	})
}

// A kept session's state lives as long as its connection, and as long after it as it
// was to; then it is gone (MQTT 5, 4.1.0-1, 4.1.0-2, 3.1.2-23).
func TestSessionStateEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.connect(5, "s", func(pk *packets.Packet) {
		keep(pk)
		pk.Properties.SessionExpiryInterval = 1
	})
	s.subscribe(1, sub("t", 1))
	start := time.Now()
	eventually(t, "it is connected for longer than it may be away", func() bool { return time.Since(start) > 1500*time.Millisecond })
	h.publish("t", "still here", q1)
	s.send(ackOf(packets.Puback, s.message("t", "still here").PacketID))
	s.goodbye()
	eventually(t, "the log ends the session", func() bool {
		_, kept := h.log.Broker.Session("s")
		return !kept
	})
	s, ack := h.tryConnect(5, "s", keep)
	if ack.SessionPresent {
		t.Error("the session outlived its expiry")
	}
	h.publish("t", "x", q1)
	s.silence()
	// An expiry of 0, and none, end with the connection.
	s.goodbye()
	s = h.connect(5, "s", func(pk *packets.Packet) { pk.Connect.Clean = false })
	s.goodbye()
	if _, ack = h.tryConnect(5, "s", keep); ack.SessionPresent {
		t.Error("a session without an expiry outlived its connection")
	}
}

// Nothing larger than a client takes is sent to it, whatever the packet (MQTT 5,
// 3.1.2-24, 3.2.2-19, 3.2.2-20, 3.9.2-1, 3.11.2-1, 3.14.2-3, 3.14.2-4).
func TestNothingIsTooLargeForTheClient(t *testing.T) {
	h := newHouse(t)
	most := func(n uint32) func(*packets.Packet) {
		return func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = n }
	}
	// Too small for any CONNACK that tells our limits.
	for n := uint32(1); n < 16; n++ {
		p := h.dial(5)
		pk := connectPacket(5, "p")
		most(n)(&pk)
		p.send(pk)
		b, err := readAll(p)
		if err != nil || len(b) > int(n) {
			t.Errorf("at most %d: got % x, %v", n, b, err)
		}
		if n >= 5 && (len(b) != 5 || b[3] != 0x83) {
			t.Errorf("at most %d: got % x, want a CONNACK 0x83", n, b)
		}
	}
	p, ack := h.tryConnect(5, "p", most(40))
	if ack.ReasonCode != 0 {
		t.Fatalf("at most 40: CONNACK %#x", ack.ReasonCode)
	}
	var fit []packets.Subscription
	for i := range 35 { // a SUBACK of 40 bytes
		fit = append(fit, sub(fmt.Sprint("t", i), 1))
	}
	p.subscribe(1, fit...)
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2, Filters: fit})
	p.want(packets.Unsuback)
	over := append(fit, sub("t", 1))
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 3, Filters: over})
	if b, err := readAll(p); err != nil || len(b) < 3 || len(b) > 40 || b[2] != 0x95 {
		t.Errorf("a SUBACK of 41 bytes: got % x, %v", b, err)
	}
	p = h.connect(5, "p", most(40))
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 3, Filters: over})
	if b, err := readAll(p); err != nil || len(b) < 3 || len(b) > 40 || b[2] != 0x95 {
		t.Errorf("an UNSUBACK of 41 bytes: got % x, %v", b, err)
	}
}

// readAll reads until the connection ends.
func readAll(p *peer) ([]byte, error) {
	_ = p.nc.SetReadDeadline(time.Now().Add(patience))
	defer p.nc.Close()
	return io.ReadAll(p.br)
}

// A server says nothing of what it was not asked for: no AUTH, no authentication
// method, no response information, no reason string in acknowledgements, no session
// expiry in a DISCONNECT (MQTT 5, 3.1.2-28, 3.1.2-29, 4.12.0-6, 3.14.2-2).
func TestUnaskedProperties(t *testing.T) {
	for _, problem := range []byte{0, 1} {
		h := newHouse(t, func(c *Config) { c.Authorizer = doorman{} })
		p, ack := h.tryConnect(5, "p", ann, keep, func(pk *packets.Packet) {
			pk.Properties.RequestProblemInfo, pk.Properties.RequestProblemInfoFlag = problem, true
			pk.Properties.RequestResponseInfo = 1 - problem
		})
		a := &ack.Properties
		if a.AuthenticationMethod != "" || a.AuthenticationData != nil || a.ResponseInfo != "" || a.User != nil {
			t.Errorf("CONNACK says %+v", a)
		}
		p.send(pub("secret", "x", 1, 1))
		if got := p.bytesOf(5); got != "4003000187" {
			t.Errorf("PUBACK %s", got)
		}
		p.send(pub("secret", "x", 2, 2))
		if got := p.bytesOf(5); got != "5003000287" {
			t.Errorf("PUBREC %s", got)
		}
		p.send(ackOf(packets.Pubrec, 9))
		if got := p.bytesOf(5); got != "6203000992" {
			t.Errorf("PUBREL %s", got)
		}
		p.send(ackOf(packets.Pubrel, 9))
		if got := p.bytesOf(5); got != "7003000992" {
			t.Errorf("PUBCOMP %s", got)
		}
		p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 3, Filters: packets.Subscriptions{sub("secret", 1)}})
		if got := p.bytesOf(6); got != "900400030087" {
			t.Errorf("SUBACK %s", got)
		}
		p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 4, Filters: packets.Subscriptions{sub("x", 1)}})
		if got := p.bytesOf(6); got != "b00400040011" {
			t.Errorf("UNSUBACK %s", got)
		}
		p.raw("c000")
		if got := p.bytesOf(2); got != "d000" {
			t.Errorf("PINGRESP %s", got)
		}
		p.raw("0000")
		if pk := p.want(packets.Disconnect); pk.Properties.SessionExpiryIntervalFlag || pk.Properties.User != nil {
			t.Error("DISCONNECT has a session expiry or user properties")
		}
	}
}

// After DISCONNECT nothing counts that a client sends, and nothing comes (MQTT 5,
// 3.14.4-1, 3.14.4-2; 3.1.1, 3.14.4-1 to 3.14.4-3).
func TestPacketsBehindDisconnect(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s")
		s.subscribe(1, sub("#", 0))
		p := h.connect(version, "p", withWill("will", "x"))
		if version == 5 {
			p.raw("e000 30 04 0001 61 00 c000")
		} else {
			p.raw("e000 30 03 0001 61 c000")
		}
		p.closed(0)
		s.silence()
	})
}

// Packets do not end where WebSocket's messages do, and a text message is no MQTT
// (MQTT 5, 6.0.0-1, 6.0.0-2).
func TestWebSocketFrames(t *testing.T) {
	h := newHouse(t)
	srv := httptest.NewServer(h.WebSocket())
	defer srv.Close()
	for _, typ := range []websocket.MessageType{websocket.MessageBinary, websocket.MessageText} {
		ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := ws.Subprotocol(); got != "mqtt" {
			t.Errorf("subprotocol %q", got)
		}
		var buf bytes.Buffer
		pk := connectPacket(5, "ws")
		if err := pk.ConnectEncode(&buf); err != nil {
			t.Fatal(err)
		}
		all := append(buf.Bytes(), unhex(t, "82 07 0001 00 0001 61 00 c000")...)
		if typ == websocket.MessageText {
			_ = ws.Write(t.Context(), typ, all)
			if _, b, err := ws.Read(t.Context()); err == nil {
				t.Errorf("a text message was answered with % x", b)
			}
			continue
		}
		for i, b := range all { // byte by byte, and then the last three packets' ends at once
			if i == len(all)-4 {
				if err := ws.Write(t.Context(), typ, all[i:]); err != nil {
					t.Fatal(err)
				}
				break
			}
			if err := ws.Write(t.Context(), typ, []byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		nc := websocket.NetConn(t.Context(), ws, typ)
		p := &peer{t: t, nc: nc, br: bufio.NewReader(nc), version: 5, name: "ws"}
		p.want(packets.Connack)
		p.want(packets.Suback)
		p.want(packets.Pingresp)
		nc.Close()
	}
}

// A client id or a will's topic that is no UTF-8 is a CONNECT that is none (MQTT 5,
// 3.1.3-4, 3.1.3-11).
func TestClientIDsNotInUTF8(t *testing.T) {
	h := newHouse(t)
	for _, bad := range []string{"ff", "00", "c080"} {
		for name, body := range map[string]string{
			"client id":  fmt.Sprintf("02 003c 00 000%d %s", len(bad)/2, bad),
			"will topic": fmt.Sprintf("06 003c 00 0001 61 00 000%d %s 0001 78", len(bad)/2, bad),
		} {
			p := h.dial(5)
			p.write(packet(0x10, unhex(t, "0004 4d515454 05 "+body)))
			want := map[string]byte{"client id": 0x85, "will topic": 0x81}[name]
			if ack := p.want(packets.Connack); ack.ReasonCode != want {
				t.Errorf("%s %s: CONNACK %#x, want %#x", name, bad, ack.ReasonCode, want)
			}
			p.closed(0)
		}
		p := h.dial(4)
		p.write(packet(0x10, unhex(t, fmt.Sprintf("0004 4d515454 04 02 003c 000%d %s", len(bad)/2, bad))))
		if pk, err := p.read(patience); err == nil && pk.ReasonCode != 2 {
			t.Errorf("3.1.1, %s: %s %#x", bad, packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
		}
	}
}

// The keep alive that the server says is the one that counts (MQTT 5, 3.2.2-21).
func TestServerKeepAliveCounts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.MaxKeepAlive = time.Second })
	for _, asked := range []uint16{0, 100} {
		p, ack := h.tryConnect(5, "p", func(pk *packets.Packet) { pk.Connect.Keepalive = asked })
		if ack.Properties.ServerKeepAlive != 1 {
			t.Errorf("server keep alive %d, want 1", ack.Properties.ServerKeepAlive)
		}
		p.closed(0x8d)
	}
}
