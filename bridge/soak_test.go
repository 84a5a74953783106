package bridge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// A wanderer is a subscriber with a kept session that hangs up at random, in the
// middle of whatever is going on, and comes back.
type wanderer struct {
	h       *house
	rng     *rand.Rand
	version byte
	id      string
	filter  string
	window  uint16
	want    []int // numbers of the messages that its filter matches

	held map[uint16]bool // QoS 2 ids between PUBLISH and PUBREL, as a client keeps them
	got  []int           // in order, without what QoS 1 repeated
	last int
}

// run connects again and again until everything has come.
func (w *wanderer) run() error {
	for end := time.Now().Add(60 * time.Second); len(w.got) < len(w.want); {
		if time.Now().After(end) {
			return fmt.Errorf("%s: %d of %d messages came", w.id, len(w.got), len(w.want))
		}
		if err := w.visit(); err != nil {
			return err
		}
	}
	return nil
}

// visit is one connection: some packets, then the line is cut.
func (w *wanderer) visit() error {
	p := w.h.connect(w.version, w.id, keep, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = w.window })
	defer p.nc.Close()
	lazy := false // it did not answer, and will be gone before long
	for left := 1 + w.rng.IntN(120); left > 0 && len(w.got) < len(w.want); left-- {
		wait := patience
		if lazy { // what it waits for may be waiting for its answer
			wait = 5 * time.Millisecond
		}
		pk, err := p.read(wait)
		if lazy && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.id, err)
		}
		if w.rng.IntN(20) == 0 {
			lazy, left = true, min(left, 3)
		}
		switch pk.FixedHeader.Type {
		case packets.Publish:
			if err := w.take(pk); err != nil {
				return err
			}
			if !lazy {
				p.send(ackOf(ackType(pk.FixedHeader.Qos), pk.PacketID))
			}
		case packets.Pubrel:
			delete(w.held, pk.PacketID)
			if !lazy {
				p.send(ackOf(packets.Pubcomp, pk.PacketID))
			}
		}
	}
	return nil
}

func (w *wanderer) take(pk *packets.Packet) error {
	n, _ := strconv.Atoi(string(pk.Payload))
	if pk.FixedHeader.Qos == 2 {
		if w.held[pk.PacketID] {
			if !pk.FixedHeader.Dup {
				return fmt.Errorf("%s: %d came again without DUP", w.id, n)
			}
			return nil
		}
		w.held[pk.PacketID] = true
	} else if n <= w.last && pk.FixedHeader.Dup {
		return nil // QoS 1 may repeat, and says so
	}
	i := len(w.got)
	if w.want[i] != n {
		return fmt.Errorf("%s: %d came (QoS %d, DUP %v) where %d was due", w.id, n, pk.FixedHeader.Qos, pk.FixedHeader.Dup, w.want[i])
	}
	w.got, w.last = append(w.got, n), n
	return nil
}

// Sessions that hang up at random get QoS 1 at least once and QoS 2 exactly
// once, in order, whatever they were served from: live, a scan of the log, or
// their subjects' chains.
func TestRandomDisconnects(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if s := os.Getenv("NACKMQ_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("NACKMQ_SEED=%d repeats this run", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t, func(c *Config) { c.Buffer = 4 << 10 })
	const messages, topics = 1000, 6
	var all []stream.Publication
	for i := range messages {
		all = append(all, stream.Publication{
			Subject: stream.Subject(fmt.Sprintf("/t/%d", rng.IntN(topics))),
			Payload: []byte(strconv.Itoa(i + 1)),
			Flags:   stream.Flags(0).WithQoS(byte(1 + rng.IntN(2))),
		})
	}
	var ws []*wanderer
	for i := range 16 {
		w := &wanderer{h: h, rng: rand.New(rand.NewPCG(seed, uint64(i+1))), version: byte(4 + i%2), id: fmt.Sprint("w", i),
			filter: []string{"t/#", "t/1", "+/2", "t/+"}[i/2%4], window: []uint16{1, 3, 100, 65535}[i/4], held: map[uint16]bool{}}
		f := stream.Filter("/" + w.filter)
		for n, p := range all {
			if f.Match(p.Subject) {
				w.want = append(w.want, n+1)
			}
		}
		first := h.connect(w.version, w.id, keep)
		first.subscribe(1, sub(w.filter, 2))
		first.goodbye()
		ws = append(ws, w)
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(ws))
	for _, w := range ws {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := w.run(); err != nil {
				errs <- err
			}
		}()
	}
	for i, p := range all {
		h.log.Publish(stream.Item{Publication: p}, func(stream.Place, error) {})
		if i%100 == 0 { // give the sessions the chance to be live
			h.publish("other", "", 0)
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}
