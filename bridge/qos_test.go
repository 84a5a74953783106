package bridge

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

// A slowPublisher keeps what is published until the test lets it go. What happens
// to sessions it lets go at once.
type slowPublisher struct {
	mu   sync.Mutex
	held []func(stream.Place, error)
	got  []stream.Item
}

func (s *slowPublisher) Publish(it stream.Item, done func(stream.Place, error)) {
	if it.Op != nil {
		go done(stream.Place{}, nil)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, it)
	s.held = append(s.held, done)
}

func (s *slowPublisher) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// finish ends publication i with err.
func (s *slowPublisher) finish(i int, err error) {
	s.mu.Lock()
	done := s.held[i]
	s.mu.Unlock()
	done(stream.Place{}, err)
}

func slowly(p *slowPublisher) func(*Config) { return func(c *Config) { c.Publisher = p } }

// Acknowledgements wait for the commit, the reader does not; they leave in the
// order of arrival though the commits end in another one.
func TestAcksArePipelinedAndInOrder(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		slow := &slowPublisher{}
		h := newHouse(t, slowly(slow))
		p := h.connect(version, "p")
		for i := range 10 {
			p.send(pub("t", fmt.Sprint(i), byte(1+i%2), uint16(i+1)))
		}
		eventually(t, "all ten are handed in", func() bool { return slow.waiting() == 10 })
		p.silence() // the reader is free, and nothing is acknowledged before its commit
		for i := 9; i > 0; i-- {
			slow.finish(i, nil)
		}
		p.silence()
		slow.finish(0, nil)
		for i := range 10 {
			typ := []byte{packets.Puback, packets.Pubrec}[i%2]
			if ack := p.want(typ); ack.PacketID != uint16(i+1) {
				t.Fatalf("acknowledgement of %d, want %d", ack.PacketID, i+1)
			}
		}
		p.silence()
	})
}

// What a publisher is told when the commit fails.
func TestCommitFails(t *testing.T) {
	for _, c := range []struct {
		err     error
		ack     byte // of a PUBACK to MQTT 5; 0: the connection ends
		goodbye byte // reason of the DISCONNECT to MQTT 5
	}{
		{broker.ErrRefused, 0x97, 0},
		{broker.ErrTooLarge, 0x83, 0},
		{errors.New("another"), 0x80, 0},
		{broker.ErrNoQuorum, 0, 0x88},
		{broker.ErrBusy, 0, 0x89},
		{broker.ErrStopped, 0, 0x8b},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			for _, qos := range []byte{1, 2} {
				slow := &slowPublisher{}
				h := newHouse(t, slowly(slow))
				p5, p4 := h.connect(5, "p5"), h.connect(4, "p4")
				p5.send(pub("t", "x", qos, 1))
				eventually(t, "handed in", func() bool { return slow.waiting() == 1 })
				p4.send(pub("t", "x", qos, 1))
				eventually(t, "handed in", func() bool { return slow.waiting() == 2 })
				slow.finish(0, c.err)
				slow.finish(1, c.err)
				if c.ack != 0 {
					if ack := p5.want(ackType(qos)); ack.ReasonCode != c.ack {
						t.Errorf("QoS %d: %#x, want %#x", qos, ack.ReasonCode, c.ack)
					}
					p5.silence()
				} else {
					p5.closed(c.goodbye)
				}
				p4.closed(0)
				if n := h.metric("nackmq_publishes_total", broker.ResultOf(c.err).String()); n != 2 {
					t.Errorf("QoS %d: %v counted as %s, want 2", qos, n, broker.ResultOf(c.err))
				}
			}
		})
	}
}

// A publisher that does not wait for acknowledgements is stopped by the reader
// (3.1.1) or told that it went too far (5).
func TestReceiveMaximumOfTheServer(t *testing.T) {
	slow := &slowPublisher{}
	h := newHouse(t, slowly(slow), func(c *Config) { c.ReceiveMaximum = 5 })
	p, ack := h.tryConnect(5, "p")
	if ack.Properties.ReceiveMaximum != 5 {
		t.Errorf("announced %d, want 5", ack.Properties.ReceiveMaximum)
	}
	for i := range 6 {
		p.send(pub("t", "x", byte(1+i%2), uint16(i+1)))
	}
	p.closed(0x93)

	old := h.connect(4, "old")
	for i := range maxAckEntries + 10 {
		old.send(pub("t", "x", 1, uint16(i+1)))
	}
	eventually(t, "the window is full", func() bool { return slow.waiting() == 5+maxAckEntries })
	slow.finish(5, nil)
	old.want(packets.Puback)
	eventually(t, "the reader goes on", func() bool { return slow.waiting() == 6+maxAckEntries })
}

// A QoS 2 publication is published once, however often it is sent; a DUP after
// PUBREC is answered with success.
func TestQoS2IsPublishedOnce(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		s := h.connect(version, "s")
		s.subscribe(1, sub("t", 0))
		p := h.connect(version, "p", keep)
		p.send(pub("t", "once", 2, 7))
		p.want(packets.Pubrec)
		again := pub("t", "once", 2, 7)
		again.FixedHeader.Dup = true
		p.send(again)
		if ack := p.want(packets.Pubrec); ack.ReasonCode != 0 {
			t.Errorf("DUP answered with %#x, want success", ack.ReasonCode)
		}
		// The same over a new connection.
		p.nc.Close()
		p = h.connect(version, "p", keep)
		p.send(again)
		p.want(packets.Pubrec)
		p.send(ackOf(packets.Pubrel, 7))
		p.want(packets.Pubcomp)
		s.message("t", "once")
		s.silence()
		// The id is free: the next PUBLISH with it is a new one.
		p.send(pub("t", "twice", 2, 7))
		p.want(packets.Pubrec)
		s.message("t", "twice")
		// A PUBREL for nothing.
		p.send(ackOf(packets.Pubrel, 99))
		if ack := p.want(packets.Pubcomp); version == 5 && ack.ReasonCode != 0x92 {
			t.Errorf("PUBREL for nothing: %#x, want 0x92", ack.ReasonCode)
		}
	})
}

// A QoS 2 publication whose commit was pending when its connection ended is
// answered on the next connection, and published once.
func TestQoS2AcrossConnections(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{})
	var gate sync.Mutex
	log.Hold = func() { gate.Lock(); defer gate.Unlock() }
	h := newHouseOver(t, log)
	p := h.connect(5, "p", keep)
	gate.Lock()
	p.send(pub("t", "x", 2, 1))
	p.silence() // it is handed in
	p.nc.Close()
	p = h.dial(5)
	back := connectPacket(5, "p")
	keep(&back)
	p.send(back)
	gate.Unlock()
	if ack := p.want(packets.Connack); !ack.SessionPresent {
		t.Error("no session present")
	}
	again := pub("t", "x", 2, 1)
	again.FixedHeader.Dup = true
	p.send(again)
	p.want(packets.Pubrec)
	p.send(ackOf(packets.Pubrel, 1))
	p.want(packets.Pubcomp)
	if n := log.Broker.Head(); n != 1 {
		t.Errorf("published %d times", n)
	}
}

// A subscriber that takes one message at a time gets all of them, in order.
func TestReceiveMaximumOfTheClient(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		h := newHouse(t)
		s := h.connect(5, "s", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
		s.subscribe(1, sub("t", qos))
		const n = 20
		for i := range n {
			h.publish("t", fmt.Sprint(i), stream.Flags(0).WithQoS(2))
		}
		for i := range n {
			m := s.message("t", fmt.Sprint(i))
			s.silence()
			if m.FixedHeader.Dup {
				t.Errorf("message %d came first with DUP", i)
			}
			if qos == 1 {
				s.send(ackOf(packets.Puback, m.PacketID))
				continue
			}
			s.send(ackOf(packets.Pubrec, m.PacketID))
			s.want(packets.Pubrel)
			s.silence() // until PUBCOMP the window is full
			s.send(ackOf(packets.Pubcomp, m.PacketID))
		}
		s.silence()
	}
}

// Packet ids of the two directions have nothing to do with one another.
func TestPacketIDsOfBothDirections(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		c := h.connect(version, "c")
		c.subscribe(1, sub("t", 1))
		h.publish("t", "out", stream.Flags(0).WithQoS(1))
		m := c.message("t", "out")
		c.send(pub("other", "in", 2, m.PacketID))
		c.want(packets.Pubrec)
		c.subscribe(m.PacketID, sub("u", 1))
		c.send(ackOf(packets.Puback, m.PacketID))
		c.send(ackOf(packets.Pubrel, m.PacketID))
		c.want(packets.Pubcomp)
	})
}

// An MQTT 5 subscriber may refuse a QoS 2 delivery; then nothing follows.
func TestPubrecWithAnError(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	s.subscribe(1, sub("t", 2))
	h.publish("t", "a", stream.Flags(0).WithQoS(2))
	h.publish("t", "b", stream.Flags(0).WithQoS(2))
	m := s.message("t", "a")
	no := ackOf(packets.Pubrec, m.PacketID)
	no.ReasonCode = 0x80
	s.send(no)
	s.message("t", "b")
	// A PUBREC for nothing.
	s.send(ackOf(packets.Pubrec, 999))
	if rel := s.want(packets.Pubrel); rel.ReasonCode != 0x92 {
		t.Errorf("PUBREL %#x, want 0x92", rel.ReasonCode)
	}
}

// What subscribers send because of deliveries is counted, in packets and bytes.
func TestFeedbackIsCounted(t *testing.T) {
	h := newHouse(t)
	s := h.connect(4, "s")
	s.subscribe(1, sub("t", 2))
	for i := range 10 {
		h.publish("t", "x", stream.Flags(0).WithQoS(byte(1+i%2)))
		m := s.want(packets.Publish)
		if m.FixedHeader.Qos == 1 {
			s.send(ackOf(packets.Puback, m.PacketID))
			continue
		}
		s.send(ackOf(packets.Pubrec, m.PacketID))
		s.want(packets.Pubrel)
		s.send(ackOf(packets.Pubcomp, m.PacketID))
	}
	s.silence()
	for _, typ := range []string{"PUBACK", "PUBREC", "PUBCOMP"} {
		if n := h.metric("nackmq_feedback_packets_total", "mqtt", typ); n != 5 {
			t.Errorf("%s: %v packets, want 5", typ, n)
		}
		if n := h.metric("nackmq_feedback_bytes_total", "mqtt", typ); n != 20 {
			t.Errorf("%s: %v bytes, want 20", typ, n)
		}
	}
	if n := h.metric("nackmq_deliveries_total", "mqtt"); n != 10 {
		t.Errorf("%v deliveries, want 10", n)
	}
}
