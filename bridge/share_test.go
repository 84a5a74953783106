package bridge

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Each message of a shared subscription goes to one member, each member gets
// its part, and an ordinary subscriber gets all.
func TestShareIsFair(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t)
		const members, n = 3, 300
		got := map[string]int{}
		all := h.connect(version, "all")
		all.subscribe(1, sub("job/#", 0))
		var peers []*peer
		for i := range members {
			p := h.connect(version, fmt.Sprint("m", i))
			p.subscribe(1, sub("$share/g/job/+", 1))
			peers = append(peers, p)
		}
		for i := range n {
			h.publish(fmt.Sprintf("job/%d", i%2), fmt.Sprint(i), q1)
		}
		for i := range n {
			all.message(fmt.Sprintf("job/%d", i%2), fmt.Sprint(i))
		}
		for i, p := range peers {
			p.raw("c000")
			last := -1
			for count := 0; ; count++ {
				pk, err := p.read(patience)
				if err != nil {
					t.Fatal(err)
				}
				if pk.FixedHeader.Type == packets.Pingresp {
					if count < n/members/2 || count > n/members*2 {
						t.Errorf("member %d got %d of %d", i, count, n)
					}
					break
				}
				got[string(pk.Payload)]++
				var v int
				fmt.Sscan(string(pk.Payload), &v)
				if v < last {
					t.Errorf("member %d: %d after %d", i, v, last)
				}
				last = v
			}
		}
		for i := range n {
			if got[fmt.Sprint(i)] != 1 {
				t.Errorf("message %d came %d times", i, got[fmt.Sprint(i)])
			}
		}
	})
}

// A member that does not acknowledge does not stall the group; what nobody can
// take waits in order; what a member leaves goes to another.
func TestShareWithASlowMember(t *testing.T) {
	h := newHouse(t)
	one := func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 }
	slow := h.connect(5, "slow", one)
	slow.subscribe(1, sub("$share/g/job", 1))
	h.publish("job", "0", q1)
	slow.message("job", "0") // and is not acknowledged
	for i := 1; i <= 3; i++ {
		h.publish("job", fmt.Sprint(i), q1)
	}
	slow.silence()
	fast := h.connect(5, "fast")
	fast.subscribe(1, sub("$share/g/job", 1))
	fast.message("job", "1")
	fast.message("job", "2")
	fast.message("job", "3")
	h.publish("job", "4", q1)
	fast.message("job", "4")
	h.hangUp(slow)
	fast.message("job", "0")
	fast.silence()
}

// A group and its retained messages: none are sent (MQTT 5, 4.8.2).
func TestShareHasNoRetained(t *testing.T) {
	h := newHouse(t)
	h.publish("t", "x", q1|1)
	s := h.connect(5, "s")
	s.subscribe(1, sub("$share/g/t", 1))
	s.silence()
}

// When no member can take more the group goes on from the log later: nothing is
// queued and nothing is dropped, whatever the backlog.
func TestShareCatchesUpFromTheLog(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		const n = 5000
		h := newHouse(t, func(c *Config) { c.Window = 2 })
		members := []*peer{h.connect(version, "a"), h.connect(version, "b")}
		for _, p := range members {
			p.subscribe(1, sub("$share/g/t/#", 1))
		}
		for i := range n {
			h.publish(fmt.Sprintf("t/%d", i%3), fmt.Sprint(i), q1)
		}
		h.loop.do(func() {
			for _, g := range h.loop.index.groups {
				if !g.late || len(g.waiting) > 0 {
					t.Errorf("the group is late: %v, and %d messages wait", g.late, len(g.waiting))
				}
			}
		})
		seen := map[string]int{}
		for total := 0; total < n; {
			for _, p := range members {
				if total == n {
					break
				}
				pk, err := p.read(20 * time.Millisecond)
				if err != nil {
					continue
				}
				total++
				seen[string(pk.Payload)]++
				p.send(ackOf(packets.Puback, pk.PacketID))
			}
		}
		for i := range n {
			if seen[fmt.Sprint(i)] != 1 {
				t.Fatalf("message %d came %d times", i, seen[fmt.Sprint(i)])
			}
		}
		if d := h.metric("nackmq_dropped_total", "slow") + h.metric("nackmq_dropped_total", "trimmed"); d != 0 {
			t.Errorf("%v messages were dropped", d)
		}
		h.publish("t/0", "live", q1)
		eventually(t, "the group is live again", func() bool {
			live := true
			h.loop.do(func() {
				for _, g := range h.loop.index.groups {
					live = live && !g.late
				}
			})
			return live
		})
	})
}
