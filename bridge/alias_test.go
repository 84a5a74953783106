package bridge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

func aliases(n uint16) func(*packets.Packet) {
	return func(pk *packets.Packet) { pk.Properties.TopicAliasMaximum = n }
}

// A topic that repeats comes by its alias to a client that takes aliases, and to
// nobody else.
func TestTopicAliasOut(t *testing.T) {
	h := newHouse(t)
	const long = "a/long/topic"
	taker := h.connect(5, "taker", aliases(10))
	taker.subscribe(1, sub("#", 1))
	plain := h.connect(5, "plain")
	plain.subscribe(1, sub("#", 1))
	for i := range 4 {
		h.publish(long, fmt.Sprint(i), q1)
		plain.next(long, fmt.Sprint(i))
		m := taker.next(map[bool]string{true: long, false: ""}[i < 2], fmt.Sprint(i))
		if has := m.Properties.TopicAliasFlag; has != (i > 0) {
			t.Errorf("message %d: topic %q, alias %v %d", i, m.TopicName, has, m.Properties.TopicAlias)
		}
		h.publish("short", fmt.Sprint(i), q1) // not worth it
		plain.next("short", fmt.Sprint(i))
		taker.next("short", fmt.Sprint(i))
	}
	// The next connection knows no aliases.
	taker = h.connect(5, "taker", aliases(10))
	taker.subscribe(1, sub("#", 1))
	h.publish(long, "again", q1)
	taker.next(long, "again")
}

// However topics take turns, a client that keeps the aliases as MQTT says finds the
// right topic for each message, with all that a delivery may carry.
func TestTopicAliasesOfManyTopics(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t)
	const most = 3
	p := h.connect(5, "p", aliases(most), func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 300 })
	with := sub("t/#", 2)
	with.Identifier = 7
	p.ask(1, packets.Subscriptions{with, sub("u/#", 1)})
	p.ask(2, packets.Subscriptions{sub("v/#", 1)}, positionKey, "yes")
	known := map[uint16]string{}
	saved := 0
	for i := range 2000 {
		topic := fmt.Sprintf("%c/some/topic/%d", "tuv"[rng.IntN(3)], rng.IntN(3))
		body := fmt.Sprintf("%d %s ", i, topic)
		fill := rng.IntN(300)
		h.publish(topic, body+strings.Repeat("x", fill), stream.Flags(0).WithQoS(byte(rng.IntN(2))))
		if fill > 100 { // it may be too large
			continue
		}
		for {
			m := p.want(packets.Publish)
			if m.FixedHeader.Qos == 1 {
				p.send(ackOf(packets.Puback, m.PacketID))
			}
			name, a := m.TopicName, m.Properties.TopicAlias
			switch {
			case m.Properties.TopicAliasFlag && (a == 0 || a > most):
				t.Fatalf("alias %d of %d", a, most)
			case name == "":
				name = known[a]
				saved++
			case m.Properties.TopicAliasFlag:
				known[a] = name
			}
			var n int
			var of string
			_, _ = fmt.Sscan(string(m.Payload), &n, &of)
			if name != of {
				t.Fatalf("message %d of %q came as %q", n, of, name)
			}
			if n == i { // else one of the large ones
				break
			}
		}
	}
	if saved < 100 {
		t.Errorf("%d of 2000 came by an alias", saved)
	}
	if h.metric("nackmq_dropped_total", "mqtt", "too_large") == 0 {
		t.Error("nothing was too large")
	}
}
