package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A crashable is a Publisher of a bridge that may die: from then on nothing that the
// bridge hands in gets into the log, as if its process were gone.
type crashable struct {
	broker.Publisher
	dead atomic.Bool
}

func (p *crashable) Publish(it stream.Item, done func(stream.Place, error)) {
	if p.dead.Load() {
		go done(stream.Place{}, broker.ErrStopped)
		return
	}
	p.Publisher.Publish(it, done)
}

// restart gives another bridge over the same log. The one before ended in good
// order, or crashed: then the log knows nothing of the end. The peers hang up.
func (h *house) restart(crash bool, peers ...*peer) *house {
	h.t.Helper()
	if crash {
		h.crash.dead.Store(true)
	}
	for _, p := range peers {
		p.nc.Close()
	}
	if err := h.Close(); err != nil {
		h.t.Fatal(err)
	}
	return newHouseOver(h.t, h.log)
}

func ways(t *testing.T, f func(t *testing.T, version byte, crash bool)) {
	both(t, func(t *testing.T, version byte) {
		for _, crash := range []bool{false, true} {
			t.Run(map[bool]string{false: "restart", true: "crash"}[crash], func(t *testing.T) { f(t, version, crash) })
		}
	})
}

// A session outlives the broker: its filters, what it missed, in order.
func TestSessionOutlivesTheBroker(t *testing.T) {
	ways(t, func(t *testing.T, version byte, crash bool) {
		h := newHouse(t)
		s := h.connect(version, "s", keep)
		s.subscribe(1, sub("a/+", 1), sub("two", 2), sub("gone", 1))
		s.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2, Filters: packets.Subscriptions{{Filter: "gone"}}})
		s.want(packets.Unsuback)
		other := h.connect(version, "offline", keep)
		other.subscribe(1, sub("a/#", 1))
		other.goodbye()
		h.publish("a/1", "before", q1)
		s.send(ackOf(packets.Puback, s.message("a/1", "before").PacketID))
		s.silence()

		h = h.restart(crash)
		for i := range 10 {
			h.publish("a/1", fmt.Sprint(i), q1)
			h.publish("two", fmt.Sprint(i), stream.Flags(0).WithQoS(2))
			h.publish("gone", fmt.Sprint(i), q1)
		}
		s, ack := h.tryConnect(version, "s", keep)
		if !ack.SessionPresent {
			t.Fatal("no session present")
		}
		if crash { // QoS 1 may come again: that it was acknowledged was not written down
			s.send(ackOf(packets.Puback, s.message("a/1", "before").PacketID))
		}
		r := &receiver{held: map[uint16]bool{}}
		h.finish(s, r)
		var want []string
		for i := range 10 {
			want = append(want, fmt.Sprint(i), fmt.Sprint(i))
		}
		if !slices.Equal(r.got, want) {
			t.Errorf("missed and then got: %v", r.got)
		}
		other = h.connect(version, "offline", keep)
		other.message("a/1", "before")
		for i := range 10 {
			other.message("a/1", fmt.Sprint(i))
		}
		other.silence()
	})
}

// The client's end of a QoS 2 delivery (MQTT 5, figure 4.3, method A): a message is
// delivered when its id is new; the id is held until PUBREL.
type receiver struct {
	held map[uint16]bool
	got  []string
}

// take handles a packet and gives the answer.
func (r *receiver) take(pk *packets.Packet) (answer packets.Packet, ok bool) {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		switch pk.FixedHeader.Qos {
		case 1:
			r.got = append(r.got, string(pk.Payload))
			return ackOf(packets.Puback, pk.PacketID), true
		case 2:
			if !r.held[pk.PacketID] {
				r.got = append(r.got, string(pk.Payload))
			}
			r.held[pk.PacketID] = true
			return ackOf(packets.Pubrec, pk.PacketID), true
		}
		r.got = append(r.got, string(pk.Payload))
	case packets.Pubrel:
		delete(r.held, pk.PacketID)
		return ackOf(packets.Pubcomp, pk.PacketID), true
	}
	return packets.Packet{}, false
}

// Deliveries of QoS 1 and 2 that end at every packet boundary, with a restart or a
// crash of the broker between: QoS 2 comes exactly once and in order, QoS 1 at least
// once, and in order but for what comes again.
func TestDeliveryAtEveryBoundary(t *testing.T) {
	const messages = 3
	for _, qos := range []byte{1, 2} {
		ways(t, func(t *testing.T, version byte, crash bool) {
			h := newHouse(t)
			for packetsBefore := range messages*int(qos) + 1 { // what the client takes in, and answers, before it all ends
				for _, answered := range []bool{false, true} { // whether the last of it was answered
					id := fmt.Sprintf("s-%d-%v", packetsBefore, answered)
					r := &receiver{held: map[uint16]bool{}}
					s := h.connect(version, id, keep)
					s.subscribe(1, sub(id, qos))
					for i := range messages {
						h.publish(id, fmt.Sprint(i), stream.Flags(0).WithQoS(2))
					}
					for n := range packetsBefore {
						if n >= messages && qos == 1 || n >= 2*messages {
							break // nothing more comes
						}
						pk, err := s.read(patience)
						if err != nil {
							t.Fatal(err)
						}
						if a, ok := r.take(pk); ok && (answered || n < packetsBefore-1) {
							s.send(a)
						}
					}
					if answered {
						s.answer(r)
					}
					h = h.restart(crash, s)
					s, ack := h.tryConnect(version, id, keep)
					if !ack.SessionPresent {
						t.Fatal("no session present")
					}
					h.finish(s, r)
					s.goodbye()
					want := []string{"0", "1", "2"}
					got := r.got
					if qos == 1 {
						got = slices.Compact(slices.Sorted(slices.Values(got)))
						for i, m := range r.got { // whatever comes again, nothing new comes before what is older
							if !slices.Contains(r.got[:i], m) && m != fmt.Sprint(len(slices.Compact(slices.Sorted(slices.Values(r.got[:i]))))) {
								t.Errorf("%s: %v is out of order", id, r.got)
							}
						}
					}
					if !slices.Equal(got, want) || len(r.held) > 0 {
						t.Errorf("QoS %d, %d packets, last one answered %v: got %v, ids held %v", qos, packetsBefore, answered, r.got, r.held)
					}
				}
			}
		})
	}
}

// answer answers what comes until the broker has answered a PINGREQ.
func (p *peer) answer(r *receiver) {
	p.t.Helper()
	p.raw("c000")
	for {
		pk, err := p.read(patience)
		if err != nil {
			p.t.Fatal(err)
		}
		if pk.FixedHeader.Type == packets.Pingresp {
			return
		}
		if a, ok := r.take(pk); ok {
			p.send(a)
		}
	}
}

// finish answers what comes until the session has nothing more for its client.
func (h *house) finish(p *peer, r *receiver) {
	h.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		p.answer(r)
		done := false
		h.loop.do(func() {
			s := h.loop.sessions[p.name]
			h.loop.acknowledge(s, false)
			done = s != nil && !s.late && s.out.head == s.out.tail
		})
		if done {
			p.answer(r)
			return
		}
	}
	h.t.Fatalf("%s: the session is never done", p.name)
}

// Publications of QoS 1 and 2 that end at every packet boundary, with a restart or a
// crash between: QoS 2 is published exactly once, QoS 1 at least once.
func TestPublicationAtEveryBoundary(t *testing.T) {
	ways(t, func(t *testing.T, version byte, crash bool) {
		h := newHouse(t)
		for _, qos := range []byte{1, 2} {
			for steps := range 2 * int(qos) {
				topic := fmt.Sprintf("t%d-%d", qos, steps)
				p := h.connect(version, topic, keep)
				publish := pub(topic, "x", qos, 7)
				script := []func(){
					func() { p.send(publish) },
					func() { p.want(map[byte]byte{1: packets.Puback, 2: packets.Pubrec}[qos]) },
					func() { p.send(ackOf(packets.Pubrel, 7)) },
					func() { p.want(packets.Pubcomp) },
				}
				for _, step := range script[:steps] {
					step()
				}
				p.answer(&receiver{held: map[uint16]bool{}})
				h = h.restart(crash, p)
				p, ack := h.tryConnect(version, topic, keep)
				if !ack.SessionPresent {
					t.Fatal("no session present")
				}
				// The client goes on as it must: with PUBLISH, or with PUBREL once PUBREC has come.
				publish.FixedHeader.Dup = steps > 0
				if steps < 2 {
					p.send(publish)
					p.want(map[byte]byte{1: packets.Puback, 2: packets.Pubrec}[qos])
				}
				if qos == 2 {
					p.send(ackOf(packets.Pubrel, 7))
					p.want(packets.Pubcomp)
					next := pub(topic, "next", 2, 7) // the id is free
					p.send(next)
					p.want(packets.Pubrec)
					p.send(ackOf(packets.Pubrel, 7))
					p.want(packets.Pubcomp)
				}
				top, _ := h.log.Broker.Top(stream.Subject("/" + topic))
				if n := int(top.Last.Seq); qos == 2 && n != 2 || qos == 1 && (n < 1 || n > 2) {
					t.Errorf("QoS %d after %d steps: published %d times", qos, steps, n)
				}
				p.goodbye()
			}
		}
	})
}

// What a retained message owed to a session is owed after a restart, too.
func TestRetainedIsOwedAfterARestart(t *testing.T) {
	ways(t, func(t *testing.T, version byte, crash bool) {
		h := newHouse(t)
		for i := range 3 {
			h.publish(fmt.Sprintf("r/%d", i), fmt.Sprint(i), q1|stream.Retain)
		}
		s := h.connect(version, "s", keep, func(pk *packets.Packet) {
			if version == 5 {
				pk.Properties.ReceiveMaximum = 1
			}
		})
		s.subscribe(1, sub("r/#", 1))
		// None is acknowledged: they are in the window, or owed where that holds one.
		eventually(t, "the first is sent", func() bool {
			sent := false
			h.loop.do(func() { w := &h.loop.sessions["s"].out; sent = w.head != w.tail })
			return sent
		})
		h = h.restart(crash, s)
		s = h.connect(version, "s", keep)
		r := &receiver{held: map[uint16]bool{}}
		h.finish(s, r)
		if got := slices.Compact(slices.Sorted(slices.Values(r.got))); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("got %v", r.got)
		}
	})
}

// Wills that wait when the broker ends go out at their time, or when it starts again
// without their clients having come; those of clients that were connected go out,
// too: their connections have ended.
func TestWillOutlivesTheBroker(t *testing.T) {
	ways(t, func(t *testing.T, version byte, crash bool) {
		h := newHouse(t)
		h.connect(version, "connected", withWill("will/connected", "x"))
		if version == 5 {
			h.hangUp(h.connect(5, "waits", keep, withWill("will/waits", "x", func(pk *packets.Packet) {
				pk.Connect.WillProperties.WillDelayInterval = 2
			})))
		}
		h = h.restart(crash)
		want := stream.Index(version) - 3 // one, or two
		eventually(t, "the wills are in the log", func() bool { return h.log.Broker.Head() == want })
		top, ok := h.log.Broker.Top("/will/connected")
		if !ok || top.Last.Seq != 1 {
			t.Errorf("the connected client's will: %+v", top)
		}
	})
}

// A client that came with a clean start ends the session that was in the log.
func TestCleanStartEndsTheKeptSession(t *testing.T) {
	h := newHouse(t)
	h.connect(5, "s", keep).goodbye()
	h = h.restart(true)
	eventually(t, "it is kept", func() bool { _, ok := h.log.Broker.Session("s"); return ok })
	h.connect(5, "s").goodbye()
	if _, ok := h.log.Broker.Session("s"); ok {
		t.Error("the session is still there")
	}
}

// Offline sessions are records in the log, and nothing in the bridge.
func TestOfflineSessionIsARecord(t *testing.T) {
	h := newHouse(t)
	for i := range 50 {
		s := h.connect(4, fmt.Sprint(i), keep)
		s.subscribe(1, sub("t/#", 1))
		s.goodbye()
	}
	eventually(t, "all have left", func() bool {
		n := -1
		h.loop.do(func() { n = len(h.loop.sessions) })
		return n == 0
	})
	if st := h.log.Broker.Stats(); st.Sessions != 50 {
		t.Errorf("%d sessions in the log", st.Sessions)
	}
}

// A state survives being written and read, and garbage is refused.
func TestState(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		s := newSession("s")
		for i := range rng.IntN(5) {
			s.lost.add(span{stream.Index(i * 10), stream.Index(i*10 + rng.IntN(5))})
		}
		for i := range rng.IntN(20) {
			e := sent{index: stream.Index(i*7 + rng.IntN(7)), qos: byte(1 + rng.IntN(2)), retain: rng.IntN(2) == 0, where: rng.IntN(2) == 0, state: sentState(1 + rng.IntN(3))}
			if rng.IntN(3) == 0 {
				e.rare = &rareSent{ids: []uint32{rng.Uint32(), 1}, group: "g/x", subject: "/r"}
			}
			s.out.push(e)
		}
		b := s.state(nil, 99, 100, rng.IntN(2) == 0)
		o := newSession("s")
		if err := o.restore(&stream.Session{State: b}, 100); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if again := o.state(nil, o.cursor, 100, b[1] == 1); !slices.Equal(b, again) {
			t.Fatalf("seed %d: written\n% x, read and written\n% x", seed, b, again)
		}
		for n := range b {
			if err := newSession("s").restore(&stream.Session{State: b[:n]}, 100); err == nil && n > 0 {
				t.Fatalf("seed %d: cut to %d of %d it is a state", seed, n, len(b))
			}
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add(newSession("s").state(nil, 5, 6, true))
	f.Fuzz(func(t *testing.T, b []byte) { _ = newSession("s").restore(&stream.Session{State: b}, 9) })
}

// A shared subscription with a member whose session is kept does not end with its
// last connection, nor with the broker: what came meanwhile goes to the member that
// comes back first, once.
func TestShareIsKept(t *testing.T) {
	ways(t, func(t *testing.T, version byte, crash bool) {
		const n = 300
		h := newHouse(t)
		a := h.connect(version, "a", keep)
		a.subscribe(1, sub("$share/g/t", 1))
		h.publish("t", "live", q1)
		a.send(ackOf(packets.Puback, a.message("t", "live").PacketID))
		a.silence()
		h = h.restart(crash, a)
		for i := range n {
			h.publish("t", fmt.Sprint(i), q1)
		}
		b := h.connect(version, "b") // one that is not kept takes what waits for the group
		b.subscribe(1, sub("$share/g/t", 1))
		if crash { // that it was acknowledged was not written down
			b.send(ackOf(packets.Puback, b.message("t", "live").PacketID))
		}
		for i := range n {
			b.send(ackOf(packets.Puback, b.message("t", fmt.Sprint(i)).PacketID))
		}
		a = h.connect(version, "a", keep)
		a.silence()
		b.silence()
	})
}

// When no member's session is kept any more, what came since is for nobody.
func TestShareWithoutMembersIsOver(t *testing.T) {
	h := newHouse(t)
	a := h.connect(5, "a", keep)
	a.subscribe(1, sub("$share/g/t", 1))
	a.goodbye()
	h.publish("t", "missed", q1)
	h.connect(5, "a").goodbye() // a clean start ends the session
	b := h.connect(5, "b", keep)
	b.subscribe(1, sub("$share/g/t", 1))
	h.publish("t", "new", q1)
	b.message("t", "new")
	b.silence()
}

// A group is kept while its last member's end and the next one's coming cross.
func TestShareChangesHands(t *testing.T) {
	h := newHouse(t)
	var got []string
	for i := range 30 {
		p := h.connect(5, fmt.Sprint("m", i%3), keep)
		p.subscribe(1, sub("$share/g/t", 1))
		h.publish("t", fmt.Sprint(i), q1)
		m := p.want(packets.Publish)
		got = append(got, string(m.Payload))
		p.send(ackOf(packets.Puback, m.PacketID))
		p.silence()
		p.nc.Close()
	}
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != 30 {
		t.Errorf("%d of 30 messages came: %v", len(got), got)
	}
}
