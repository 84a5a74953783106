package bridge

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

const q1 = stream.Flags(1 << 1)

// A kept session gets what it missed, in order, once, without DUP; QoS 0 is not
// replayed.
func TestOfflineSessionCatchesUp(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("a/+", 1), sub("zero", 0))
		h.publish("a/1", "online", q1)
		m := s.message("a/1", "online")
		s.send(ackOf(packets.Puback, m.PacketID))
		s.goodbye()
		const n = 3000 // more than one read of the log
		for i := range n {
			h.publish(fmt.Sprintf("a/%d", i%3), fmt.Sprint(i), q1)
			h.publish("b", "not mine", q1)
			h.publish("zero", "gone", q1)
		}
		back, ack := h.tryConnect(version, "s", keep)
		if !ack.SessionPresent {
			t.Fatal("no session present")
		}
		for i := range n {
			m := back.message(fmt.Sprintf("a/%d", i%3), fmt.Sprint(i))
			if m.FixedHeader.Dup {
				t.Fatalf("message %d came first with DUP", i)
			}
			back.send(ackOf(packets.Puback, m.PacketID))
		}
		h.publish("a/1", "live", q1)
		back.message("a/1", "live")
		back.silence()
		eventually(t, "one continuous resume", func() bool { return h.metric("nackmq_resumes_total", "continuous") == 1 })
	})
}

// What was sent and not acknowledged comes again, first, in order, with DUP, and
// a PUBREL that was not answered comes as PUBREL.
func TestUnacknowledgedComesAgain(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("t", 2))
		qos := []byte{1, 2, 1, 2, 1}
		var ids []uint16
		for i, q := range qos {
			h.publish("t", fmt.Sprint(i), stream.Flags(0).WithQoS(q))
			ids = append(ids, s.message("t", fmt.Sprint(i)).PacketID)
		}
		s.send(ackOf(packets.Puback, ids[2]))
		s.send(ackOf(packets.Pubrec, ids[1]))
		s.want(packets.Pubrel)
		s.silence()
		h.hangUp(s)
		h.publish("t", "new", q1)
		s = h.connect(version, "s", keep)
		again := func(i int) {
			t.Helper()
			m := s.message("t", fmt.Sprint(i))
			if !m.FixedHeader.Dup || m.PacketID != ids[i] || m.FixedHeader.Qos != qos[i] {
				t.Errorf("message %d: dup %v, id %d, QoS %d; want true, %d, %d", i,
					m.FixedHeader.Dup, m.PacketID, m.FixedHeader.Qos, ids[i], qos[i])
			}
		}
		again(0)
		if rel := s.want(packets.Pubrel); rel.PacketID != ids[1] {
			t.Errorf("PUBREL %d, want %d", rel.PacketID, ids[1])
		}
		again(3)
		again(4)
		if m := s.message("t", "new"); m.FixedHeader.Dup {
			t.Error("the new message has DUP")
		}
		s.send(ackOf(packets.Pubcomp, ids[1]))
		s.silence()
	})
}

// A clean start forgets the session.
func TestCleanStart(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("t", 1))
		s.goodbye()
		h.publish("t", "missed", q1)
		s, ack := h.tryConnect(version, "s")
		if ack.SessionPresent {
			t.Error("session present after a clean start")
		}
		h.publish("t", "not subscribed", q1)
		s.silence()
		s.goodbye()
		if _, ack = h.tryConnect(version, "s", keep); ack.SessionPresent {
			t.Error("a session that was not to be kept is present")
		}
	})
}

// A session ends when its time is over, and not before.
func TestSessionExpiry(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	short := func(pk *packets.Packet) {
		keep(pk)
		pk.Properties.SessionExpiryInterval = 1
	}
	s := h.connect(5, "s", short)
	s.goodbye()
	s, ack := h.tryConnect(5, "s", short)
	if !ack.SessionPresent {
		t.Error("the session ended too early")
	}
	s.goodbye()
	eventually(t, "the session ends", func() (gone bool) {
		h.loop.do(func() { gone = len(h.loop.sessions) == 0 })
		return gone
	})
	// DISCONNECT may change it, but not from zero.
	s = h.connect(5, "s2", keep)
	zero := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
	zero.Properties.SessionExpiryIntervalFlag = true
	s.send(zero)
	s.closed(0)
	if _, ack := h.tryConnect(5, "s2", keep); ack.SessionPresent {
		t.Error("the session was kept against the client's last word")
	}
	s = h.connect(5, "s3")
	zero.Properties.SessionExpiryInterval = 10
	s.send(zero)
	s.closed(0x82)
}

// A second connection with the same client id ends the first; the session goes
// over whole.
func TestTakeover(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		first := h.connect(version, "same", keep)
		first.subscribe(1, sub("t", 1))
		h.publish("t", "unacknowledged", q1)
		first.message("t", "unacknowledged")
		second, ack := h.tryConnect(version, "same", keep)
		first.closed(0x8e)
		if !ack.SessionPresent {
			t.Error("no session present")
		}
		if m := second.message("t", "unacknowledged"); !m.FixedHeader.Dup {
			t.Error("no DUP on what the first connection got")
		}
		if n := h.metric("nackmq_sessions", "mqtt"); n != 1 {
			t.Errorf("%v sessions, want 1", n)
		}
	})
}

// Many connections fight for one client id; one has it in the end, and the
// session works.
func TestTakeoverStorm(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const n = 50
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = h.dial(4)
		pk := connectPacket(4, "same")
		keep(&pk)
		peers[i].send(pk)
	}
	eventually(t, "one is left", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.clients) == 1
	})
	last := h.connect(4, "same", keep)
	last.subscribe(1, sub("t", 1))
	h.publish("t", "x", q1)
	last.message("t", "x")
}

// What the cache no longer holds is told: counted, and an MQTT 5 client gets a
// user property on the next message.
func TestLossIsTold(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		log := brokertest.NewLocal(t, stream.Limits{CacheMessages: 100})
		h := newHouseOver(t, log)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("t", 1))
		s.goodbye()
		for i := range 1000 {
			h.publish("t", fmt.Sprint(i), q1)
		}
		first := int(log.Broker.Tail())
		s = h.connect(version, "s", keep)
		m := s.message("t", fmt.Sprint(first))
		if version == 5 {
			want := fmt.Sprintf("[{%s %d-%d}]", lostKey, 1, first)
			if got := fmt.Sprint(m.Properties.User); got != want {
				t.Errorf("user properties %v, want %v", got, want)
			}
		}
		for i := first + 1; i < 1000; i++ {
			s.message("t", fmt.Sprint(i))
			if i%50 == 0 {
				s.send(ackOf(packets.Puback, m.PacketID))
			}
		}
		if d := h.metric("nackmq_dropped_total", "trimmed"); d != float64(first) {
			t.Errorf("%v dropped, want %d", d, first)
		}
		if d := h.metric("nackmq_resumes_total", "reset"); d != 1 {
			t.Errorf("%v resets, want 1", d)
		}
	})
}

// A filter that is added while a session is behind brings nothing older.
func TestSubscriptionBeginsWhereItBegan(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s", keep, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	s.subscribe(1, sub("a", 1))
	h.publish("a", "1", q1)
	h.publish("a", "2", q1)
	h.publish("b", "old", q1)
	m := s.message("a", "1")
	s.subscribe(2, sub("b", 1)) // the session is behind: its window is full
	h.publish("b", "new", q1)
	for _, want := range []string{"2", "new"} {
		s.send(ackOf(packets.Puback, m.PacketID))
		if m = s.want(packets.Publish); string(m.Payload) != want {
			t.Fatalf("got %q, want %q", m.Payload, want)
		}
	}
}

// Retained messages of a subscription that is made while the session is behind
// come after what it is behind with, and before what is newer.
func TestRetainedWhileBehind(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	s.subscribe(1, sub("a", 1))
	for _, v := range []string{"1", "2", "3"} {
		h.publish("a", v, q1|stream.Retain)
	}
	m := s.message("a", "1")
	s.subscribe(2, sub("+", 1))
	for _, want := range []string{"2", "3", "3 retained"} {
		s.send(ackOf(packets.Puback, m.PacketID))
		m = s.want(packets.Publish)
		got := string(m.Payload)
		if m.FixedHeader.Retain {
			got += " retained"
		}
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	s.send(ackOf(packets.Puback, m.PacketID))
	h.publish("a", "4", q1|stream.Retain)
	s.message("a", "4")
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		p := h.connect(version, "p", func(pk *packets.Packet) { pk.Connect.Keepalive = 1 })
		start := time.Now()
		p.closed(0x8d)
		if d := time.Since(start); d < 1400*time.Millisecond {
			t.Errorf("closed after %v, want at least one and a half keep-alives", d)
		}
	})
}

func TestServerKeepAlive(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxKeepAlive = 30 * time.Second })
	_, ack := h.tryConnect(5, "p", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
	if !ack.Properties.ServerKeepAliveFlag || ack.Properties.ServerKeepAlive != 30 {
		t.Errorf("server keep alive %v %d, want 30", ack.Properties.ServerKeepAliveFlag, ack.Properties.ServerKeepAlive)
	}
}

func TestAssignedClientID(t *testing.T) {
	h := newHouse(t)
	_, a := h.tryConnect(5, "")
	_, b := h.tryConnect(5, "")
	if a.Properties.AssignedClientID == "" || a.Properties.AssignedClientID == b.Properties.AssignedClientID {
		t.Errorf("assigned %q and %q", a.Properties.AssignedClientID, b.Properties.AssignedClientID)
	}
	h.connect(4, "")
}

// CONNACK tells the limits.
func TestConnackAnnouncesLimits(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.SessionExpiry = time.Hour })
	_, ack := h.tryConnect(5, "p", func(pk *packets.Packet) {
		keep(pk)
		pk.Properties.SessionExpiryInterval = 1 << 30
	})
	p := ack.Properties
	if p.ReceiveMaximum != 1024 || p.MaximumPacketSize != 1<<20 || p.TopicAliasMaximum != 32 || p.SessionExpiryInterval != 3600 {
		t.Errorf("announced %+v", p)
	}
}
