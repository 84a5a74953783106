package sim

import (
	"container/heap"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// Config says what to run. The zero value is a short run of one member.
type Config struct {
	Seed     uint64
	Nodes    int           // members; default 1
	Messages int           // each publisher's; default 200
	Weather  time.Duration // how long things fail; default 20 s
	Bug      Bug
	Trace    io.Writer // nil: none
}

// A Bug is planted at the boundary of the code under test.
type Bug uint8

const (
	NoBug            Bug = iota
	ConfirmEarly         // the engine is told that a write is durable before it is begun
	IgnoreFailedSync     // … although its sync failed
	Renumber             // a repetition comes under a new number, as if the ledger did not know it
	CompactEarly         // a snapshot becomes the base although the cache needs what is before it
	ForgetSnapshot       // the base is gone: a start takes the youngest snapshot for it
	ReuseLife            // a start does not count
	Unnumbered           // what a session publishes again comes without its number
)

// Result tells what a run met.
type Result struct {
	Steps, Messages, Entries int
	Kills, Crashes, Starts   int
	FailedWrites, Snapshots  int
	Compactions, Repairs     int
	Busy                     int
	Digest                   uint64 // of all that was confirmed and of when
}

// violation ends a run.
type violation struct{ text string }

// A world is everything that a seed decides.
type world struct {
	cfg    Config
	rnd    *rand.Rand
	src    *rand.PCG
	now    time.Duration // virtual
	wall   int64         // milliseconds between the wall clock and virtual time
	days   int           // that the wall clock has jumped by
	events eventHeap
	order  uint64 // events of one moment happen in the order in which they were made
	fine   bool   // nothing fails any more

	nodes      []*node
	net        *network
	publishers []*publisher
	clients    []*client
	truth      *truth
	res        Result
}

type event struct {
	at    time.Duration
	order uint64
	what  string
	do    func()
}

// Run runs a seed to its end. The error says which promise was broken, when, and
// how to see it again.
func Run(c Config) (res Result, err error) {
	if c.Nodes == 0 {
		c.Nodes = 1
	}
	if c.Nodes > 1 {
		defer seedRaft(c.Seed)()
	}
	if c.Messages == 0 {
		c.Messages = 200
	}
	if c.Weather == 0 {
		c.Weather = 20 * time.Second
	}
	src := rand.NewPCG(c.Seed, 0x6e61636b)
	w := &world{cfg: c, src: src, rnd: rand.New(src), wall: 1_800_000_000_000}
	defer func() {
		res = w.res
		if r := recover(); r != nil {
			v, ok := r.(violation)
			if !ok {
				v.text = fmt.Sprintf("panic: %v", r)
				w.tracef("%s", debug.Stack())
			}
			err = fmt.Errorf("seed %d, step %d, at %v: %s", c.Seed, w.res.Steps, w.now, v.text)
		}
	}()
	w.run()
	return w.res, nil
}

func (w *world) run() {
	w.truth = newTruth(w)
	w.net = newNetwork(w)
	for i := range w.cfg.Nodes {
		w.nodes = append(w.nodes, newNode(w, 0x11+stream.NodeID(i)))
	}
	for i := range 2 + w.rnd.IntN(3) {
		w.publishers = append(w.publishers, newPublisher(w, i))
	}
	for i := range 1 + w.rnd.IntN(3) {
		w.clients = append(w.clients, newClient(w, i))
	}
	for _, n := range w.nodes {
		n.start()
	}
	for _, p := range w.publishers {
		w.after(w.upTo(time.Second), "publish", p.tick)
	}
	for _, c := range w.clients {
		w.after(w.upTo(time.Second), c.name, c.tick)
	}
	w.weather()
	// Fine weather begins at cfg.Weather, and a minute of it is enough for all.
	w.after(w.cfg.Weather, "fine weather", func() {
		w.fine = true
		w.net.repair()
		for _, n := range w.nodes {
			n.disk.repair()
		}
	})
	limit := w.cfg.Weather + 5*time.Minute
	for w.events.Len() > 0 && !(w.fine && w.answered()) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		if w.now > limit {
			w.failf("no answer for %d s of fine weather: %s", int((limit-w.cfg.Weather)/time.Second), w.unanswered())
		}
		w.res.Steps++
		w.tracef("%s", e.what)
		e.do()
	}
	w.atEnd()
}

// seedRaft makes raft draw its election timeouts from the seed: it reads
// crypto/rand.Reader, of which a process has one. It gives what ends that.
func seedRaft(seed uint64) (end func()) {
	raftRand.Lock()
	was := crand.Reader
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	crand.Reader = rand.NewChaCha8(key)
	return func() {
		crand.Reader = was
		raftRand.Unlock()
	}
}

var raftRand sync.Mutex

// atEnd takes power away from all once more: everything is there afterwards.
func (w *world) atEnd() {
	for _, n := range w.nodes {
		if n.p == nil {
			continue // it stopped in the last moment; its disk is what counts
		}
		n.crash(true)
	}
	for _, n := range w.nodes {
		n.start()
	}
	for until := w.now + time.Minute; w.now < until && !w.allReady(); {
		if w.events.Len() == 0 {
			break
		}
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	if !w.allReady() {
		w.failf("not ready a minute after the last start")
	}
	for _, n := range w.nodes {
		n.p.checkWhole()
	}
	w.truth.finish()
}

func (w *world) allReady() bool {
	for _, n := range w.nodes {
		if n.p == nil || !n.p.ready || n.p.broker.Applied() < w.truth.shadow.Applied() {
			return false
		}
	}
	return true
}

func (w *world) answered() bool {
	for _, p := range w.publishers {
		if !p.finished() {
			return false
		}
	}
	return true
}

func (w *world) unanswered() (s string) {
	for _, p := range w.publishers {
		s += fmt.Sprintf("publisher %d has %d of %d; ", p.id, p.acked, p.total)
	}
	for _, n := range w.nodes {
		s += n.String() + "; "
	}
	return s
}

func (w *world) failf(format string, args ...any) {
	panic(violation{fmt.Sprintf(format, args...)})
}

func (w *world) tracef(format string, args ...any) {
	if w.cfg.Trace != nil {
		fmt.Fprintf(w.cfg.Trace, "%6d %12v  %s\n", w.res.Steps, w.now, fmt.Sprintf(format, args...))
	}
}

// after makes something happen d from now.
func (w *world) after(d time.Duration, what string, do func()) {
	w.order++
	heap.Push(&w.events, event{w.now + d, w.order, what, do})
}

// upTo draws a duration below d.
func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rnd.Int64N(int64(d))) }

// oneIn is true once in n times.
func (w *world) oneIn(n int) bool { return w.rnd.IntN(n) == 0 }

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(e any)   { *h = append(*h, e.(event)) }
func (h *eventHeap) Pop() any {
	n := len(*h) - 1
	e := (*h)[n]
	(*h)[n] = event{}
	*h = (*h)[:n]
	return e
}
