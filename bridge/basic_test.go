package bridge

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// both runs a test in both versions.
func both(t *testing.T, f func(t *testing.T, version byte)) {
	t.Run("3.1.1", func(t *testing.T) { f(t, 4) })
	t.Run("5", func(t *testing.T) { f(t, 5) })
}

// What one client publishes another one gets, in every combination of QoS, at
// the lower of both.
func TestPublishReachesSubscriber(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		for in := byte(0); in <= 2; in++ {
			for out := byte(0); out <= 2; out++ {
				name := fmt.Sprintf("%d-%d", in, out)
				s := h.connect(version, "s"+name)
				if ack := s.subscribe(1, sub("a/"+name, out)); ack.ReasonCodes[0] != out {
					t.Fatalf("granted %d, want %d", ack.ReasonCodes[0], out)
				}
				p := h.connect(version, "p"+name)
				p.send(pub("a/"+name, "hello", in, uint16(in)*7))
				switch in {
				case 1:
					p.want(packets.Puback)
				case 2:
					p.want(packets.Pubrec)
					p.send(ackOf(packets.Pubrel, 14))
					p.want(packets.Pubcomp)
				}
				got := s.message("a/"+name, "hello")
				if want := min(in, out); got.FixedHeader.Qos != want {
					t.Errorf("%s: delivered at QoS %d, want %d", name, got.FixedHeader.Qos, want)
				}
				switch got.FixedHeader.Qos {
				case 1:
					s.send(ackOf(packets.Puback, got.PacketID))
				case 2:
					s.send(ackOf(packets.Pubrec, got.PacketID))
					s.want(packets.Pubrel)
					s.send(ackOf(packets.Pubcomp, got.PacketID))
				}
				s.silence()
			}
		}
	})
}

// A message that a native client published comes to an MQTT subscriber.
func TestMessageOfAnotherDoor(t *testing.T) {
	h := newHouse(t)
	s := h.connect(4, "s")
	s.subscribe(1, sub("#", 1))
	h.publish("sensor/temp", "21", stream.Flags(0).WithQoS(1))
	s.message("sensor/temp", "21")
	h.publish("/lead", "", stream.Flags(0).WithQoS(1))
	s.message("/lead", "")
}

// Retained messages come after the SUBACK, with the retain bit, and wildcards
// find the parent level, too.
func TestRetained(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		p := h.connect(version, "p")
		keepIt := pub("a", "root", 1, 1)
		keepIt.FixedHeader.Retain = true
		p.send(keepIt)
		p.want(packets.Puback)
		keepIt = pub("a/b/c", "leaf", 1, 2)
		keepIt.FixedHeader.Retain = true
		p.send(keepIt)
		p.want(packets.Puback)

		for _, filter := range []string{"a/#", "#", "+/#"} {
			s := h.connect(version, "s"+filter)
			s.subscribe(1, sub(filter, 1))
			got := map[string]bool{}
			for range 2 {
				m := s.want(packets.Publish)
				got[string(m.Payload)] = true
				if !m.FixedHeader.Retain {
					t.Errorf("%s: %s came without the retain bit", filter, m.Payload)
				}
				s.send(ackOf(packets.Puback, m.PacketID))
			}
			if !got["root"] || !got["leaf"] {
				t.Errorf("%s: got %v, want root and leaf", filter, got)
			}
			s.silence()
			s.goodbye()
		}

		// An empty retained payload takes it away.
		gone := pub("a", "", 1, 3)
		gone.FixedHeader.Retain = true
		p.send(gone)
		p.want(packets.Puback)
		s := h.connect(version, "last")
		s.subscribe(1, sub("a/#", 0))
		s.message("a/b/c", "leaf")
		s.silence()
	})
}
