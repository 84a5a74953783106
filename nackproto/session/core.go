package session

import (
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// Later is what Driver.Write answers when it cannot say yet.
const Later = -1

// A Driver carries out what a Core decides. It must not call the core back from
// within these calls.
type Driver interface {
	// Write sends b to the peer of id and says how many bytes it took. Fewer than
	// all: the socket is full, the driver keeps nothing of the rest and calls
	// Writable when there is room. Later: the driver goes on with it and calls
	// Wrote. There is at most one write of a session that was not completed, and
	// b does not change until then.
	Write(id ID, b []byte) int
	// Close ends the connection: id is not known any more. What Write took is
	// still to be sent.
	Close(id ID)
	// PauseRead asks for no more Input from id until ResumeRead. What is on its
	// way may still come.
	PauseRead(id ID)
	ResumeRead(id ID)
	// Publish brings an item into the log and calls Placed with the tag. The
	// item's bytes are its own. Items of a session enter in the order of the calls.
	Publish(id ID, tag uint64, it stream.Item)
	// Claim says that id publishes as p. The driver calls Replaced for a session
	// that claimed p before.
	Claim(id ID, p stream.PublisherID)
}

// A Source is the log that sessions read. *broker.Broker is one.
type Source interface {
	Head() stream.Index
	Top(stream.Subject) (stream.Top, bool)
	Retained(stream.Subject) (stream.Message, bool)
	Subjects(f stream.Filter, from stream.SubjectID, yield func(stream.Subject, stream.Top) bool) (next stream.SubjectID, more bool)
	// ReadSubject fails with a *stream.LostError, ReadLog when the cache no longer
	// holds what comes next.
	ReadSubject(s stream.Subject, after stream.Position, hint stream.Index, buf []stream.Message) ([]stream.Message, error)
	ReadLog(after stream.Index, buf []stream.Message) ([]stream.Message, error)
	Tail() stream.Index
	Time() int64 // of the newest entry
}

// An Authorizer says who may connect.
type Authorizer interface {
	// Connect gives what the client may do, or false: it may not connect.
	Connect(h *nackproto.Hello) (Rights, bool)
}

// Rights say what one client may do.
type Rights interface {
	MaySubscribe(stream.Filter) bool
	MayPublish(stream.Subject) bool
}

// Config is what a Core is made of. Driver and Source are needed.
type Config struct {
	Driver     Driver
	Source     Source
	Authorizer Authorizer // nil: everybody may do everything
	Limits     Limits
	Node       string // this member's name
	Cluster    stream.ClusterID
	Servers    []string // where else clients may go; ours among them
}

// ticks count tenths of a second since the core was made, from 1. They reach 13
// years.
type ticks uint32

const perTick = 100 // milliseconds

// A Core serves all connections of one loop. It has no lock: its loop
// serializes.
type Core struct {
	driver  Driver
	source  Source
	auth    Authorizer
	limits  Limits
	node    string
	cluster stream.ClusterID
	servers []string

	slab     slab
	cold     map[uint32]*cold
	follows  arena[follow]
	subjects arena[subjectState]
	names    map[stream.Subject]uint32
	bound    []*[boundPage]bound
	unbound  int // subjects that the log has forgotten

	wilds     arena[wild]
	filters   arena[filter]
	tree      stream.FilterTree[uint32] // of indexes into filters
	wildCount uint64

	head      stream.Index // newest message handed to Messages
	lapse     uint32       // how often the loop's reader was lapped
	lapseFrom stream.Index // head when it was last

	origin     int64 // now at tick 0
	clock      int64 // the newest now
	now        ticks
	logClock   stream.Clock
	scanned    ticks  // when Tick last looked at records
	scanAt     uint32 // the slot at which it goes on
	drainUntil ticks  // 0: not draining
	stale      bool

	queue     ring
	pace      pace
	steps     int          // that are left, of a turn or until the next Flush: see pace
	owing     []uint32     // slots with confirmations to send
	met       int          // sessions that were greeted
	partial   int          // bytes of frames that did not come whole, over all sessions
	waiting   int          // bytes of unconfirmed publishes, over all sessions
	held      []ID         // sessions paused because of waiting
	ahead     []ID         // sessions paused because they are ahead of this member
	aheadHead stream.Index // where the core stood when they asked last
	aheadAt   ticks

	decoder nackproto.FromClient
	counts  Counts
	batch   batch
	matched []uint32 // scratch of askWildcards
	turn    uint32
	scratch []byte // frames on their way; given away when the driver answers Later
	marks   []mark
	msgs    []stream.Message
	readers []chain
	kept    []gap // scratch of closeGaps
	confirm nackproto.Confirm
	bytes   slicer
}

// Counts are what a core counted since the last call of Core.Counts.
type Counts struct {
	Delivered  uint64 // messages that the driver was given, in a session's stream
	Nacks      uint64 // and NackBytes: feedback that subscribers sent
	NackBytes  uint64
	Continuous uint64 // resumed subjects, by outcome
	Resets     uint64
	Lost       uint64     // messages that sessions were told they lost
	Behind     uint64     // sessions that were sent away because they are ahead of this member
	Published  [16]uint64 // answered publishes: see CodeIndex
}

// CodeIndex gives the place of a code in Counts.Published.
func CodeIndex(code nackproto.PublishCode) int { return int(code>>6&1)<<3 | int(code&7) }

// New makes a core. now is milliseconds by a clock that never goes back and does
// not jump; its origin is the driver's.
func New(cf Config, now int64) *Core {
	c := &Core{
		driver: cf.Driver, source: cf.Source, auth: cf.Authorizer, limits: cf.Limits.withDefaults(),
		node: cf.Node, cluster: cf.Cluster, servers: cf.Servers,
		cold: map[uint32]*cold{}, names: map[stream.Subject]uint32{},
		origin: now, clock: now, now: 1, scanned: 1, scanAt: 1, pace: fullPace, steps: fullPace.flush,
	}
	c.head = c.source.Head()
	c.logTime()
	return c
}

// Head gives the index up to which Messages has brought the log; a new core
// stands at the source's head. The loop's reader starts there.
func (c *Core) Head() stream.Index { return c.head }

// Sessions gives the number of sessions, Greeted that of those whose HELLO was
// accepted.
func (c *Core) Sessions() int { return c.slab.live }
func (c *Core) Greeted() int  { return c.met }

// Counts gives what was counted since the last call.
func (c *Core) Counts() Counts {
	n := c.counts
	c.counts = Counts{}
	return n
}

func (c *Core) setNow(now int64) {
	if now > c.clock {
		c.clock = now
		c.now = ticks((now-c.origin)/perTick) + 1
	}
}

// logTime gives the log's time, by which messages expire. Tick and Messages ask,
// too, so that the clock sees entries when they come.
func (c *Core) logTime() int64 { return c.logClock.Time(c.source.Time(), c.clock) }

// Open begins a session.
func (c *Core) Open(now int64) ID {
	c.setNow(now)
	slot := c.slab.take()
	c.slab.at(slot).wrote = c.now
	c.wake(slot, c.now+inTicks(c.limits.HelloTimeout))
	return c.slab.id(slot)
}

// Closed says that the connection of id is gone.
func (c *Core) Closed(id ID) {
	if slot, r := c.slab.find(id); r != nil {
		c.forget(slot)
	}
}

// forget frees everything that a session has.
func (c *Core) forget(slot uint32) {
	r := c.slab.at(slot)
	if r.flags&greeted != 0 {
		c.met--
	}
	if r.flags&hasCold != 0 {
		cd := c.cold[slot]
		c.partial -= len(cd.in)
		if cd.pub != nil {
			c.waiting -= cd.pub.bytes
		}
		cd.gaps = nil
	}
	c.dropWilds(slot, func(*wild) bool { return true })
	c.dropFollows(slot, func(*follow) bool { return true })
	delete(c.cold, slot)
	c.slab.give(slot)
}

// Wrote completes a write that the driver answered with Later: n bytes went out.
// Fewer than all: as for Driver.Write.
func (c *Core) Wrote(id ID, n int, now int64) {
	c.setNow(now)
	slot, r := c.slab.find(id)
	if r == nil || r.flags&inFlight == 0 {
		return
	}
	cd := c.cold[slot]
	rest := cd.flight[n:]
	cd.flight = nil
	r.flags &^= inFlight
	if n > 0 {
		r.wrote = c.now
	}
	if len(rest) > 0 {
		cd.tail = append([]byte(nil), rest...)
		r.flags |= full
		return
	}
	c.ready(slot)
}

// Writable says that there is room again after a write that was cut.
func (c *Core) Writable(id ID, now int64) {
	c.setNow(now)
	if slot, r := c.slab.find(id); r != nil && r.flags&full != 0 {
		r.flags &^= full
		c.ready(slot)
	}
}

// ready goes on with a session that can be written to again.
func (c *Core) ready(slot uint32) {
	if c.hasWork(slot) {
		c.enqueue(slot)
		return
	}
	c.thaw(slot)
}

// Flush does the work that waits: confirmations, and a turn each for some of the
// sessions that are behind. It reports whether there is more; the loop looks at
// its other duties in between. However much peers ask for, a Flush is short.
func (c *Core) Flush(now int64) (more bool) {
	c.setNow(now)
	for _, slot := range c.owing {
		if r := c.slab.at(slot); r.flags&(inUse|owes) == inUse|owes {
			c.enqueue(slot)
		}
	}
	c.owing = c.owing[:0]
	left := c.pace.flush
	for range min(c.queue.len(), turnsPerFlush) {
		if left <= 0 {
			break
		}
		slot := c.queue.pop()
		r := c.slab.at(slot)
		if r.flags&queued == 0 {
			continue // gone, and the slot perhaps given to another
		}
		r.flags &^= queued
		c.steps = c.pace.turn
		c.serve(slot)
		left -= c.pace.turn - c.steps
	}
	c.steps = c.pace.flush
	c.resumeHeld()
	if len(c.ahead) > 0 && (c.head != c.aheadHead || c.now != c.aheadAt) {
		c.aheadHead, c.aheadAt = c.head, c.now
		c.retryAhead()
	}
	c.sweepUnbound()
	return c.queue.len() > 0
}

const turnsPerFlush = 64

// A pace says how many steps are done at a time, about. A step is a subject, a message
// or the like that is looked at; what a peer can have the core look at is counted in
// Core.steps, and ends when they are used up.
type pace struct {
	once  int // where a walk begins: what most sessions follow is gone over there and then
	turn  int // in a turn
	flush int // in all turns of a Flush, and for frames that come between two
}

var fullPace = pace{once: 1024, turn: 4096, flush: 32 << 10}

func (c *Core) enqueue(slot uint32) {
	r := c.slab.at(slot)
	if r.flags&(queued|blocked) == 0 {
		r.flags |= queued
		c.queue.push(slot)
	}
}

// A ring is a queue of slots.
type ring struct {
	buf  []uint32
	head int
}

func (q *ring) len() int { return len(q.buf) - q.head }

func (q *ring) push(slot uint32) {
	if q.head > 1024 && q.head*2 > len(q.buf) {
		q.buf = q.buf[:copy(q.buf, q.buf[q.head:])]
		q.head = 0
	}
	q.buf = append(q.buf, slot)
}

func (q *ring) pop() uint32 {
	slot := q.buf[q.head]
	q.head++
	if q.head == len(q.buf) {
		q.buf, q.head = q.buf[:0], 0
	}
	return slot
}
