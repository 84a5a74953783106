package engine

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// ErrClosed is the Err of an engine that was told to stop.
var ErrClosed = errors.New("engine: stopped")

// ErrNewer is the Err of an engine whose log has an entry that it does not know.
var ErrNewer = errors.New("engine: a newer version has written to the log")

// An Engine is a member's part in the agreement on the log. See the package
// comment for how it is driven. It belongs to one goroutine.
type Engine struct {
	cfg   Config
	node  *raft.RawNode
	store *storage
	own   origin
	write writer
	snaps snapshots
	clock LogClock
	timed bool // clock is set
	now   Now

	toApply []*pb.Message // MsgStorageApply, oldest first
	out     []*pb.Message // for other members
	conf    *pb.ConfState

	term      uint64
	lead      stream.NodeID // the leader, 0 if none is known
	leading   bool
	settled   bool   // an entry of this term was applied here: the log before it is known
	applied   uint64 // index of the last entry applied
	appliedAt uint64 // its term
	nextTick  time.Duration
	lostLead  time.Duration // when the leader was lost
	noQuorum  bool
	said      int64 // what was due when the time was said last
	err       error
}

// New gives an engine that begins at the snapshot its machine was loaded from.
// Drive it until Ready reports that the log behind it was applied.
func New(c Config, now Now) (*Engine, error) {
	c.setDefaults()
	// An entry with limits that no ledger takes would stop every member.
	if err := c.Limits.Validate(); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if err := checkBase(&c); err != nil {
		return nil, err
	}
	e := &Engine{cfg: c, store: newStorage(&c), conf: c.Base.Conf, now: now, term: c.State.Term, applied: c.Base.Index, appliedAt: c.Base.Term}
	e.snaps.init(&c)
	e.write.hard, e.write.stored = c.State, c.State
	e.nextTick, e.lostLead = now.Mono+c.TickEvery, now.Mono
	var err error
	e.node, err = raft.NewRawNode(&raft.Config{
		ID:                        uint64(c.Node),
		ElectionTick:              electionTicks,
		HeartbeatTick:             heartbeatTicks,
		Storage:                   e.store,
		Applied:                   c.Base.Index,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  applyBytes,
		MaxInflightMsgs:           256,
		MaxInflightBytes:          64 << 20,
		CheckQuorum:               true,
		PreVote:                   true,
		StepDownOnRemoval:         true,
		Logger:                    c.Logger,
		MaxUncommittedEntriesSize: 0, // bounded by InflightBytes of each member
	})
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e.campaign()
	e.ready()
	return e, nil
}

// checkBase refuses what raft would panic at.
func checkBase(c *Config) error {
	first, last, base := c.Log.First(), c.Log.Last(), c.Base
	switch {
	case base.Index+1 < first:
		return fmt.Errorf("engine: the log begins at entry %d, which does not join the snapshot of entry %d", first, base.Index)
	case base.Index > last:
		return fmt.Errorf("engine: the log ends at entry %d, before the snapshot of entry %d", last, base.Index)
	case c.State.Commit > last:
		return fmt.Errorf("engine: the log ends at entry %d, but entry %d was committed", last, c.State.Commit)
	}
	t, err := c.Log.Term(base.Index)
	if err != nil {
		return fmt.Errorf("engine: term of entry %d: %w", base.Index, err)
	}
	if t != base.Term {
		return fmt.Errorf("engine: entry %d has term %d in the log and %d in the snapshot", base.Index, t, base.Term)
	}
	return nil
}

// HandleTime says how late it is. Call it before anything else that happened at
// that moment.
func (e *Engine) HandleTime(now Now) {
	e.now = now
	if e.err != nil {
		return
	}
	if now.Mono >= e.nextTick {
		// Ticks that were missed are not made up for: the member slept, it has not
		// waited in vain.
		e.nextTick = now.Mono + e.cfg.TickEvery
		if !e.alone() {
			e.tick()
		}
	}
	e.sayTime()
}

func (e *Engine) tick() {
	e.node.Tick()
	if e.lead == 0 && !e.noQuorum && e.now.Mono-e.lostLead > e.cfg.NoQuorumAfter {
		e.noQuorum = true
		e.own.abandon(broker.ErrNoQuorum)
	}
	if !e.leading && e.own.next > 0 && e.now.Mono-e.own.moved > reproposeAfter {
		e.own.restart(e.now.Mono)
	}
	e.ready()
	e.propose()
}

// sayTime proposes an entry with nothing but the time if something in the log is
// due by it: the end of a session, a will.
func (e *Engine) sayTime() {
	due := e.due()
	if due == 0 || e.clock.Time(e.now) < due {
		return
	}
	entry := stream.AppendTime(nil)
	stream.StampEntry(entry, e.clock.Time(e.now))
	if err := e.node.Propose(entry); err != nil {
		return // raft.ErrProposalDropped: there is another leader soon
	}
	e.said = due
	e.ready()
}

// due gives the log time at which this member, as the leader, has to say what time
// it is; 0: it does not have to.
func (e *Engine) due() int64 {
	if !e.leading || !e.settled {
		return 0
	}
	if due := e.cfg.Machine.Due(); due != e.said {
		return due
	}
	return 0
}

// Deadline gives the moment at which HandleTime wants to be called next, and
// whether there is one. A member that is its own majority needs no ticks: it
// campaigns when it may, and waits for nobody.
func (e *Engine) Deadline() (at time.Duration, ok bool) {
	if e.err != nil {
		return 0, false
	}
	at, ok = e.nextTick, !e.alone()
	if due := e.due(); due != 0 {
		wait := time.Duration(due-e.clock.Time(e.now)) * time.Millisecond
		if when := e.now.Mono + wait; !ok || when < at {
			at, ok = when, true
		}
	}
	return at, ok
}

// take takes a batch in. Batches come in the order of their numbers.
func (e *Engine) take(b *Batch) {
	if e.err != nil {
		b.fail(broker.ErrStopped)
		return
	}
	if e.noQuorum {
		b.fail(broker.ErrNoQuorum)
	}
	if len(e.own.waiting) == 0 {
		e.own.moved = e.now.Mono
	}
	e.own.add(b)
	e.propose()
}

// propose gives raft what it was not given yet.
func (e *Engine) propose() {
	for e.lead != 0 && (!e.leading || e.settled) {
		b, data := e.own.proposal()
		if b == nil {
			return
		}
		if e.leading {
			stream.StampEntry(data, e.clock.Time(e.now))
		}
		if err := e.node.Propose(data); err != nil {
			return // raft.ErrProposalDropped; comes again with the next leader or tick
		}
		e.own.wasProposed()
		e.ready()
	}
}

// HandleMessage takes a message of another member. The engine owns it from then
// on.
func (e *Engine) HandleMessage(m *pb.Message) {
	if e.err != nil {
		return
	}
	if m.GetType() == pb.MsgProp && e.leading {
		for _, p := range m.GetEntries() {
			if p.GetType() == pb.EntryNormal {
				stream.StampEntry(p.GetData(), e.clock.Time(e.now))
			}
		}
	}
	// What raft refuses here is a message that came too late or from a stranger.
	_ = e.node.Step(m)
	e.ready()
	e.propose()
}

// PollMessages gives what is to be sent to other members since the last call.
func (e *Engine) PollMessages() []*pb.Message {
	out := e.out
	e.out = nil
	return out
}

// campaign makes a member that is its own majority lead as soon as it has applied
// what is known to be committed; that may have been a change of members.
func (e *Engine) campaign() {
	if e.alone() && !e.leading && e.applied >= e.write.hard.Commit {
		_ = e.node.Campaign()
	}
}

// alone reports whether this member is its own majority and has nobody to talk
// to.
func (e *Engine) alone() bool {
	c := e.conf
	return len(c.GetVoters()) == 1 && c.GetVoters()[0] == uint64(e.cfg.Node) &&
		len(c.GetLearners())+len(c.GetVotersOutgoing())+len(c.GetLearnersNext()) == 0
}

// ready takes from raft what it wants done.
func (e *Engine) ready() {
	for e.err == nil && e.node.HasReady() {
		rd := e.node.Ready()
		if rd.HardState != nil && rd.GetTerm() > e.term {
			e.term = rd.GetTerm()
			e.settled = false
			e.own.restart(e.now.Mono)
		}
		if s := rd.SoftState; s != nil {
			e.follow(s)
		}
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				if m.Snapshot != nil && !raft.IsEmptySnap(m.Snapshot) {
					e.fail(fmt.Errorf("engine: a leader sent a snapshot, which this version cannot take"))
					return
				}
				e.write.add(m)
			case raft.LocalApplyThread:
				e.toApply = append(e.toApply, m)
			default:
				e.out = append(e.out, m)
			}
		}
		e.respond(e.write.free())
	}
}

// follow notes who leads.
func (e *Engine) follow(s *raft.SoftState) {
	lead := stream.NodeID(s.Lead)
	if lead == 0 && e.lead != 0 {
		e.lostLead = e.now.Mono
	}
	if lead != e.lead {
		e.own.restart(e.now.Mono)
		e.said = 0
	}
	e.lead, e.leading = lead, s.RaftState == raft.StateLeader
	// Others propose from now on, also before everything in the log is applied here;
	// where its end is later than this clock, the ledger does not go back.
	if e.leading && !e.timed {
		e.clock.Start(e.cfg.Machine.Time(), e.now)
		e.timed = true
	}
	if e.lead != 0 {
		e.noQuorum = false
	}
}

// respond hands raft what its own storage answers, and the rest to others.
func (e *Engine) respond(ms []*pb.Message) {
	for _, m := range ms {
		if m.GetTo() == uint64(e.cfg.Node) {
			_ = e.node.Step(m)
		} else {
			e.out = append(e.out, m)
		}
	}
}

// Step applies some of what was agreed on, and reports whether there was
// anything. Poll what there is to write first, so that the disk works meanwhile.
func (e *Engine) Step() bool {
	if e.err != nil || len(e.toApply) == 0 {
		return false
	}
	m := e.toApply[0]
	e.toApply[0] = nil
	e.toApply = e.toApply[1:]
	for _, en := range m.GetEntries() {
		if err := e.apply(en); err != nil {
			e.fail(err)
			return false
		}
	}
	e.respond(m.GetResponses())
	e.campaign()
	e.ready()
	e.propose()
	e.snaps.plan(e)
	return true
}

func (e *Engine) apply(en *pb.Entry) error {
	entry := stream.Entry{Number: en.GetIndex()}
	switch en.GetType() {
	case pb.EntryNormal:
		entry.Data = en.GetData()
	case pb.EntryConfChange, pb.EntryConfChangeV2:
		cc, err := confChange(en)
		if err != nil {
			return err
		}
		e.conf = e.node.ApplyConfChange(cc)
	default:
		return fmt.Errorf("%w: entry %d is of kind %d", ErrNewer, en.GetIndex(), en.GetType())
	}
	a, err := e.cfg.Machine.Apply(entry)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.applied, e.appliedAt = en.GetIndex(), en.GetTerm()
	e.snaps.logged += int64(entryCost(en))
	// Old entries, which a start applies, say nothing of what the time is.
	if e.lead != 0 && !e.leading && en.GetTerm() == e.term && len(entry.Data) > 0 {
		e.clock.Observe(e.cfg.Machine.Time(), e.now)
		e.timed = true
	}
	if a.Origin.Node == e.cfg.Node && a.Origin.Life == e.cfg.Life {
		b, err := e.own.settle(&a, e.now.Mono)
		if err != nil {
			return err
		}
		if b != nil && e.cfg.Applied != nil {
			e.cfg.Applied(b)
		}
	}
	if en.GetTerm() == e.term && !e.settled {
		e.settled = true
		if e.leading {
			e.beginToLead()
		}
	}
	return nil
}

// beginToLead is called when everything that was agreed on before this term is
// known. Limits travel in the log so that all members have the same.
func (e *Engine) beginToLead() {
	e.clock.Pass(e.cfg.Machine.Time())
	if have := e.cfg.Machine.Limits(); have != e.cfg.Limits {
		entry := stream.AppendLimits(nil, e.cfg.Limits)
		stream.StampEntry(entry, e.clock.Time(e.now))
		_ = e.node.Propose(entry) // dropped only by a leader that is about to end
	}
}

func confChange(en *pb.Entry) (pb.ConfChangeI, error) {
	var m proto.Message
	var cc pb.ConfChangeI
	if en.GetType() == pb.EntryConfChange {
		c := new(pb.ConfChange)
		m, cc = c, c
	} else {
		c := new(pb.ConfChangeV2)
		m, cc = c, c
	}
	if err := proto.Unmarshal(en.GetData(), m); err != nil {
		return nil, fmt.Errorf("engine: entry %d is an unreadable change of members: %w", en.GetIndex(), err)
	}
	return cc, nil
}

// fail stops the engine for good.
func (e *Engine) fail(err error) {
	if e.err != nil {
		return
	}
	e.err = err
	e.toApply, e.out = nil, nil
	e.own.abandon(broker.ErrStopped)
}

// Err tells why the engine stopped; nil while it has not.
func (e *Engine) Err() error { return e.err }

// Stop ends the engine: everybody who waits is answered with broker.ErrStopped.
func (e *Engine) Stop() { e.fail(ErrClosed) }
