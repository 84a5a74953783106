package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/cluster/store"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

const clusterID = 0xc1

// A node is a machine: what outlives its processes.
type node struct {
	w    *world
	id   stream.NodeID
	disk disk
	life uint32 // in node.json, which is replaced as a whole
	p    *process

	segmentBytes  int64
	snapshotBytes int64
	queueBytes    int64
	limits        stream.Limits
}

func newNode(w *world, id stream.NodeID) *node {
	n := &node{w: w, id: id,
		segmentBytes:  int64(8+w.rnd.IntN(60)) << 10,
		snapshotBytes: int64(4+w.rnd.IntN(40)) << 10,
		queueBytes:    int64(1+w.rnd.IntN(60)) << 10,
		limits:        stream.Limits{CacheBytes: int64(64+w.rnd.IntN(64)) << 10, CacheMessages: int64(600 + w.rnd.IntN(400))},
	}
	if w.cfg.Nodes > 1 {
		n.limits = stream.Limits{CacheAge: 1000 * time.Hour} // a member that catches up must not lap its reader
		n.snapshotBytes = 1 << 40                            // a member that needs a snapshot cannot be sent one yet
	}
	n.disk.init(w)
	return n
}

func (n *node) String() string {
	if n.p == nil {
		return fmt.Sprintf("node %v is down", n.id)
	}
	return fmt.Sprintf("node %v: %+v, err %v", n.id, n.p.eng.Status(), n.p.eng.Err())
}

// A process drives the engine as package cluster does, but one thing at a time.
type process struct {
	n      *node
	w      *world
	store  *store.Store
	log    *wal.Log // the store's
	broker *broker.Broker
	reader *broker.Reader
	eng    *engine.Engine
	queue  *engine.Queue
	born   time.Duration
	led    time.Duration // when it began to lead
	since  int64         // the log's time at that moment, at most
	ready  bool
	seen   stream.Index
	buf    []stream.Message
	ticks  bool // an event for HandleTime is under way
}

// start starts a process; it may fail, as long as something is wrong with the disk.
func (n *node) start() {
	n.w.res.Starts++
	d := &n.disk
	d.dead, d.failing = false, false
	d.harmed = d.log.Space > 0
	if n.life == 0 { // the first start did not come to its end
		log, snaps := d.log, d.snap
		d.init(n.w)
		d.log.Space, d.snap.Space = log.Space, snaps.Space
	}
	p := &process{n: n, w: n.w, born: n.w.now}
	err := p.load()
	if d.dead {
		n.crash(d.power)
		n.restartSoon()
		return
	}
	if err != nil {
		if !d.harmed {
			n.w.failf("a start was refused: %v", err)
		}
		n.w.tracef("start: %v", err)
		n.crash(false)
		n.restartSoon()
		return
	}
	n.p = p
	n.w.tracef("node %v started, life %d, entries %d to %d", n.id, n.life, p.log.First(), p.log.Last())
	p.round()
}

// crash ends the process; with power, what was not synced is lost in part.
func (n *node) crash(power bool) {
	if power {
		n.w.res.Crashes++
		n.disk.log.Crash()
		n.disk.snap.Crash()
	} else {
		n.w.res.Kills++
		n.disk.log.Kill()
		n.disk.snap.Kill()
	}
	n.disk.ops = 0
	if n.p == nil {
		return
	}
	n.p = nil
	for _, p := range n.w.publishers {
		if p.home == n {
			p.lost()
		}
	}
}

func (w *world) voters() (ids []stream.NodeID) {
	for _, n := range w.nodes {
		ids = append(ids, n.id)
	}
	return ids
}

func (n *node) restartSoon() {
	n.w.after(n.w.upTo(time.Second), "start", func() {
		if n.p == nil {
			n.start()
		}
	})
}

func (p *process) load() error {
	n, bug := p.n, p.w.cfg.Bug
	d := &n.disk
	c := store.Config{Log: d.log, Snap: d.snap, Cluster: clusterID, Node: n.id, SegmentBytes: n.segmentBytes}
	var found store.Found
	var err error
	if n.life == 0 {
		p.store, found, err = store.Create(c, p.w.voters()...)
	} else {
		if bug == ForgetSnapshot {
			d.forgetSnapshots()
		}
		p.store, found, err = store.Open(c)
	}
	if err != nil {
		return err
	}
	p.log = p.store.Log
	if found.Log.Repaired {
		p.w.res.Repairs++
	}
	for _, r := range found.Removed {
		if r.Err != nil {
			p.w.tracef("%s stays: %v", r.Path, r.Err)
		}
	}
	// What a start finds is synced, though nobody was told of all of it.
	entries, err := p.log.Entries(p.log.First(), p.log.Last()+1, 1<<40, nil)
	if err != nil {
		return err
	}
	p.w.truth.durable(n, entries)
	if d.dead {
		return errDead
	}
	if n.life == 0 || bug != ReuseLife {
		n.life++
	}
	p.broker = broker.New(found.Ledger)
	p.reader = p.broker.NewReader()
	p.seen = p.broker.Head()
	p.queue = engine.NewQueue(n.id, n.life, n.queueBytes)
	p.eng, err = engine.New(engine.Config{
		Node: n.id, Life: n.life, Log: p.log, State: p.log.State(),
		Base: found.Base, Younger: found.Younger,
		Machine: &machine{Broker: p.broker, p: p}, Limits: n.limits, SnapshotBytes: n.snapshotBytes,
		InflightBytes: 64 << 10, TailBytes: 32 << 10,
	}, p.time())
	return err
}

func (p *process) time() engine.Now {
	return engine.Now{Mono: p.w.now - p.born, Wall: p.w.wall + p.w.now.Milliseconds()}
}

// alive reports whether what was begun for p is still wanted.
func (p *process) alive() bool { return p.n.p == p }

// publish takes up to n items of pub in, as a door would.
func (p *process) publish(pub *publisher, n int) {
	for ; n > 0 && pub.next <= pub.total && pub.out < 200; n-- {
		it, done := pub.send()
		p.queue.Add(&it, p.guard(done), p.time().Mono)
		if p.w.oneIn(8) {
			p.round()
			if !p.alive() {
				return
			}
		}
	}
	p.round()
}

// guard lets an answer through only while the process lives.
func (p *process) guard(done func(stream.Place, error)) engine.Done {
	return func(at stream.Place, err error) {
		if p.alive() {
			done(at, err)
		}
	}
}

// round does what the loop of package cluster does until there is nothing to do.
func (p *process) round() {
	for p.alive() {
		p.eng.HandleTime(p.time())
		p.feed()
		p.poll()
		more := p.eng.Step()
		if p.led == 0 && p.eng.Status().Leading {
			p.led, p.since = p.w.now, p.time().Wall
		}
		p.look()
		if err := p.eng.Err(); err != nil {
			p.stopped(err)
			return
		}
		if !more {
			break
		}
		if p.w.oneIn(2000) && !p.w.fine {
			p.n.stopAt("killed between two steps", p.w.oneIn(2))
		}
	}
	if !p.alive() {
		return
	}
	if !p.ready && p.eng.Ready() {
		p.ready = true
		p.since = max(p.broker.Time(), p.since)
		p.checkWhole()
	}
	if at, ok := p.eng.Deadline(); ok && !p.ticks {
		p.ticks = true
		p.later(max(at-p.time().Mono, 0), "tick", func() { p.ticks = false })
	}
}

// later makes something happen to p, if it still lives then, and a round after it.
func (p *process) later(d time.Duration, what string, do func()) {
	p.w.after(d, what, func() {
		if !p.alive() {
			return
		}
		p.eng.HandleTime(p.time())
		do()
		if p.n.disk.dead {
			power := p.n.disk.power
			p.n.crash(power)
			p.n.restartSoon()
			return
		}
		if p.alive() {
			p.round()
		}
	})
}

func (p *process) feed() {
	for p.eng.HandleFeed(p.queue.Feed(p.eng.PollWant())) {
	}
}

func (p *process) poll() {
	d := &p.n.disk
	if w, ok := p.eng.PollWrite(); ok {
		if p.w.cfg.Bug == ConfirmEarly && p.w.oneIn(20) {
			p.eng.HandleWritten(nil)
			p.later(d.latency(), "written late", func() { _ = p.log.Append(w.State, w.Entries) })
		} else {
			p.later(d.latency(), "written", func() { p.write(w) })
		}
	}
	if base, ok := p.eng.PollCompact(); ok {
		p.later(d.latency(), "compacted", func() { p.compact(base) })
	}
	if s, ok := p.eng.PollSnapshot(); ok {
		p.later(2*d.latency()+p.w.upTo(300*time.Millisecond), "snapshot", func() { p.save(s) })
	}
	for _, m := range p.eng.PollMessages() {
		p.w.net.send(p.n, m)
	}
}

func (p *process) write(w engine.Write) {
	p.n.disk.failing = false
	err := p.log.Append(w.State, w.Entries)
	if p.n.disk.dead {
		return
	}
	if p.w.oneIn(50) {
		_ = p.log.FlushGuard()
	}
	if err != nil && p.n.disk.failing && p.w.cfg.Bug == IgnoreFailedSync {
		err = nil
	} else if err == nil {
		p.w.truth.durable(p.n, w.Entries)
	}
	p.eng.HandleWritten(err)
}

func (p *process) compact(base uint64) {
	err := p.store.Compact(base)
	if p.n.disk.dead {
		return
	}
	if err == nil {
		p.w.res.Compactions++
	}
	p.eng.HandleCompacted(err)
}

func (p *process) save(s engine.Snapshot) {
	_, err := p.store.Save(s.Mark, s.View)
	if p.n.disk.dead {
		return
	}
	if err == nil {
		p.w.res.Snapshots++
	}
	p.eng.HandleSnapshotWritten(s.Index, err)
}

// stopped is what happens when the engine gives up: the process ends, after it has
// told everybody, and a supervisor starts it again.
func (p *process) stopped(err error) {
	if !p.n.disk.harmed {
		p.w.failf("the engine stopped although nothing was wrong: %v", err)
	}
	p.w.tracef("%v", err)
	p.feed()
	p.n.crash(false)
	p.n.restartSoon()
}

// look reads what came, as a session does.
func (p *process) look() {
	if p.buf == nil {
		p.buf = make([]stream.Message, 0, 64)
	}
	for {
		ms, err := p.reader.Next(p.buf)
		if errors.Is(err, broker.ErrLapped) {
			p.seen = p.reader.Cursor()
			continue
		}
		if len(ms) == 0 {
			return
		}
		for i := range ms {
			if ms[i].Index != p.seen+1 {
				p.w.failf("node %v: a reader got index %d after %d", p.n.id, ms[i].Index, p.seen)
			}
			p.seen = ms[i].Index
			p.w.truth.read(&ms[i])
		}
	}
}
