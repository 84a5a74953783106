package nackproto

import (
	"bytes"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// tracked is what the client knows of a subject.
type tracked struct {
	name    stream.Subject
	tracker stream.Tracker // what was delivered last; never the zero position
	// recovered is the seq up to which messages of this epoch are recovered ones.
	recovered stream.Seq

	// Of this connection:

	alias   Alias      // zero: none is bound
	subs    []uint64   // the active subscriptions that match; never changed in place
	wire    stream.Seq // what a MESSAGE's 16 bits are relative to: the seq before it on this stream
	awaited uint64     // the subscription that carried a mark to which neither CONTINUOUS nor RESET came; 0: none
	// placedAt is the number of the frame, SUBJECT or RESET, that made the
	// position: what follows it directly belongs to it.
	placedAt uint64
	// toldAt is the number of the frame, SUBJECT or RESET, that made the position and
	// of which the user was told.
	toldAt uint64
	// renewed is where another history than tracker's begins, if SUBJECT said so
	// while a mark was awaited: RESET is to tell, or the next message does.
	renewed stream.Position
	gap     gap
}

// subjects are the subjects that a session knows, and which of them stand open.
type subjects struct {
	byName  map[stream.Subject]*tracked
	byAlias map[Alias]*tracked
	all     []*tracked // in the order in which they were met
	awaited int        // how many have awaited set
	frames  uint64     // counts the frames of all connections
	gaps    gaps
}

func (ss *subjects) init() {
	ss.byName = map[stream.Subject]*tracked{}
	ss.byAlias = map[Alias]*tracked{}
}

func (ss *subjects) add(name stream.Subject, last stream.Position) *tracked {
	t := &tracked{name: name}
	t.tracker.Reset(last)
	ss.byName[name] = t
	ss.all = append(ss.all, t)
	return t
}

// remember takes a position from outside for a subject that is not known.
func (ss *subjects) remember(m Mark) {
	if ss.byName[m.Subject] == nil {
		ss.add(m.Subject, m.Position)
	}
}

// keep drops the subjects of which keep says no.
func (ss *subjects) keep(keep func(*tracked) bool) {
	kept := ss.all[:0]
	for _, t := range ss.all {
		if keep(t) {
			kept = append(kept, t)
		} else {
			ss.settle(t)
			ss.unbind(t)
			delete(ss.byName, t.name)
		}
	}
	clear(ss.all[len(kept):])
	ss.all = kept
}

func (ss *subjects) bind(t *tracked, a Alias) {
	if before := ss.byAlias[a]; before != nil {
		before.alias = 0
	}
	ss.unbind(t)
	t.alias = a
	ss.byAlias[a] = t
}

func (ss *subjects) unbind(t *tracked) {
	if t.alias != 0 {
		delete(ss.byAlias, t.alias)
		t.alias = 0
	}
}

// await notes that a mark was sent with subscription sub.
func (ss *subjects) await(t *tracked, sub uint64) {
	t.awaited = sub
	ss.awaited++
}

// answered notes that the resume is over.
func (ss *subjects) answered(t *tracked) {
	if t.awaited != 0 {
		t.awaited = 0
		ss.awaited--
	}
}

// refused notes that the marks that sub carried will not be answered.
func (ss *subjects) refused(sub uint64) {
	for _, t := range ss.all {
		if t.awaited == sub {
			ss.answered(t)
		}
	}
}

// place makes p the position of t by the word of the frame at hand.
func (ss *subjects) place(t *tracked, p stream.Position, recovered stream.Seq) {
	t.tracker.Reset(p)
	t.recovered = recovered
	t.placedAt = ss.frames
}

// fresh reports whether the frame before the one at hand placed t.
func (ss *subjects) fresh(t *tracked) bool { return t.placedAt+1 == ss.frames }

// settle closes all that stands open at t.
func (ss *subjects) settle(t *tracked) {
	ss.answered(t)
	ss.gaps.close(t)
	t.renewed = stream.Position{}
}

func (ss *subjects) disconnect() {
	ss.gaps.closeAll()
	for _, t := range ss.all {
		ss.settle(t)
		t.alias = 0
	}
	clear(ss.byAlias)
}

// open reports whether something is missing or a resume is not over: then an
// index from a heartbeat says nothing.
func (ss *subjects) open() bool { return ss.awaited > 0 || len(ss.gaps.list) > 0 }

func (ss *subjects) timeout() time.Time { return ss.gaps.next }

// handleSubject is PROTOCOL.md §6.3, the last paragraph.
func (s *ClientSession) handleSubject(now time.Time, f *Subject) {
	ids := s.activeFor(f.Name)
	if len(ids) == 0 {
		if t := s.subjects.byAlias[f.Alias]; t != nil {
			s.subjects.unbind(t)
		}
		return
	}
	at := stream.Position{Epoch: f.Epoch, Seq: f.After}
	t := s.subjects.byName[f.Name]
	if t == nil {
		if len(s.subjects.all) >= s.config.MaxSubjects {
			s.overflow(ids)
			return
		}
		t = s.subjects.add(f.Name, at)
		t.subs, t.wire = ids, f.After
		s.subjects.place(t, at, f.Upto)
		s.subjects.bind(t, f.Alias)
		return
	}
	t.subs, t.wire = ids, f.After
	s.subjects.bind(t, f.Alias)
	last := t.tracker.Last()
	switch {
	case last.Epoch == f.Epoch:
		t.recovered = max(t.recovered, f.Upto)
		if f.After > last.Seq {
			s.subjects.gaps.open(now, t, f.After)
		}
	case t.awaited != 0:
		t.renewed = at
		t.placedAt = s.subjects.frames
	default:
		s.renew(t, at, f.Upto)
	}
}

// renew goes over to another history and tells so.
func (s *ClientSession) renew(t *tracked, at stream.Position, recovered stream.Seq) {
	before := t.tracker.Last()
	s.subjects.settle(t)
	s.subjects.place(t, at, recovered)
	t.toldAt = t.placedAt
	s.tell(&Lost{Subject: t.name, Reason: Other, Before: before, Next: next(at), Subs: t.subs})
}

func next(p stream.Position) stream.Position {
	p.Seq++
	return p
}

// overflow ends the subscriptions that brought more subjects than the session
// may remember. PROTOCOL.md §7.
func (s *ClientSession) overflow(ids []uint64) {
	for _, id := range ids {
		s.Unsubscribe(id)
		s.tell(&Ended{Sub: id, Code: SubscribeTooMany, Local: true})
	}
}

func (s *ClientSession) handleMessage(now time.Time, f *Message) {
	t := s.subjects.byAlias[f.Alias]
	if t == nil {
		return
	}
	s.catchUp(t)
	last := t.tracker.Last()
	// PROTOCOL.md §6.3: not relative to the position, which stays behind while
	// something is missing and ahead of what is sent again.
	next := t.wire + 1
	d := int16(f.Seq16 - uint16(next))
	if d < 0 && stream.Seq(-int(d)) >= next {
		return // before the first
	}
	at := stream.Position{Epoch: last.Epoch, Seq: next + stream.Seq(d)}
	t.wire = at.Seq
	if s.turn(now, t, at) {
		s.deliver(now, t, &Delivery{Message: stream.Message{
			Publication: stream.Publication{Subject: t.name, Payload: bytes.Clone(f.Payload)},
			Position:    at,
		}})
	}
}

func (s *ClientSession) handleMessageX(now time.Time, f *MessageX) {
	t := s.subjects.byAlias[f.Alias]
	if t == nil {
		return
	}
	if f.Snapshot {
		s.handleSnapshot(t, f)
		return
	}
	s.catchUp(t)
	t.wire = f.Seq
	m := f.message(t.name, t.tracker.Last().Epoch)
	if s.turn(now, t, m.Position) {
		s.deliver(now, t, &Delivery{Message: m})
	}
}

// turn reports whether the message at p is the next one. If it is newer, those
// before it are missing. PROTOCOL.md §6.5.
func (s *ClientSession) turn(now time.Time, t *tracked, p stream.Position) bool {
	switch t.tracker.Observe(p) {
	case stream.Deliver:
		return true
	case stream.Gap:
		s.subjects.gaps.open(now, t, p.Seq)
	}
	return false
}

// message copies what f says.
func (f *MessageX) message(name stream.Subject, e stream.Epoch) stream.Message {
	m := stream.Message{
		Publication: stream.Publication{
			Subject: name, Payload: bytes.Clone(f.Payload), Props: bytes.Clone(f.Props), Expiry: f.Expiry,
		},
		Position: stream.Position{Epoch: e, Seq: f.Seq},
		Index:    f.Index,
		Time:     f.Time,
	}
	if f.Retain {
		m.Flags = stream.Retain
	}
	return m
}

// handleSnapshot hands a snapshot out if it belongs to a position that was just
// made: to a client that has the stream it tells nothing. It moves nothing.
// PROTOCOL.md §5.11.
func (s *ClientSession) handleSnapshot(t *tracked, f *MessageX) {
	if s.subjects.fresh(t) {
		s.catchUp(t)
		s.tell(&Delivery{Message: f.message(t.name, t.tracker.Last().Epoch), Kind: Snapshot, Subs: t.subs})
	}
}

// catchUp goes over to the history that SUBJECT named during a resume when
// messages come and no RESET has told: then this end tells.
func (s *ClientSession) catchUp(t *tracked) {
	if !t.renewed.IsZero() {
		s.renew(t, t.renewed, 0)
	}
}

// deliver hands out the next message of t.
func (s *ClientSession) deliver(now time.Time, t *tracked, e *Delivery) {
	if e.Message.Position.Seq <= t.recovered {
		e.Kind = Recovered
	}
	e.Subs = t.subs
	s.tell(e)
	if t.gap.upto != 0 {
		s.narrow(now, t)
	}
}

// handleContinuous is PROTOCOL.md §6.6.
func (s *ClientSession) handleContinuous(now time.Time, f *Continuous) {
	t := s.subjects.byAlias[f.Alias]
	if t == nil {
		return
	}
	s.catchUp(t)
	if f.Seq > t.tracker.Last().Seq {
		s.subjects.gaps.open(now, t, f.Seq)
		t.gap.resumes = t.gap.resumes || t.awaited != 0
		s.subjects.answered(t)
		return
	}
	if t.awaited != 0 {
		s.subjects.answered(t)
		s.tell(&Continued{t.name, t.tracker.Last(), t.subs})
	}
}

// handleReset is PROTOCOL.md §5.13 and §6.6.
func (s *ClientSession) handleReset(f *Reset) {
	if f.Alias == 0 {
		s.handleNoHistory(f)
		return
	}
	t := s.subjects.byAlias[f.Alias]
	if t == nil {
		return
	}
	t.wire = f.Next - 1
	last := t.tracker.Last()
	resumes := t.awaited != 0 || t.gap.resumes
	fresh := s.subjects.fresh(t)
	young := fresh && t.toldAt != t.placedAt // the position is young, and nobody was told
	if last.Epoch == f.Epoch && last.Seq+1 >= f.Next && !young {
		// Nothing is lost to this client, so a resume ends well.
		s.subjects.settle(t)
		if fresh {
			s.subjects.place(t, last, max(t.recovered, f.Last)) // a snapshot may follow
			t.toldAt = t.placedAt
		}
		if resumes {
			s.tell(&Continued{t.name, last, t.subs})
		}
		return
	}
	e := &Lost{
		Subject: t.name, Reason: f.Reason, Before: last, Subs: t.subs,
		Next: stream.Position{Epoch: f.Epoch, Seq: f.Next}, First: f.First, Last: f.Last,
	}
	if young && t.renewed.IsZero() && t.tracker.Last().Seq+1 == f.Next {
		e.Before = stream.Position{}
	}
	s.subjects.settle(t)
	s.subjects.place(t, stream.Position{Epoch: f.Epoch, Seq: f.Next - 1}, f.Last)
	t.toldAt = t.placedAt // a second RESET directly behind says the same
	s.tell(e)
}

// handleNoHistory forgets a subject that the server does not know.
func (s *ClientSession) handleNoHistory(f *Reset) {
	t := s.subjects.byName[f.Name]
	if t == nil || t.awaited == 0 {
		return
	}
	s.tell(&Lost{Subject: t.name, Reason: f.Reason, Before: t.tracker.Last(), Subs: s.activeFor(t.name)})
	s.subjects.keep(func(other *tracked) bool { return other != t })
}

// handleHeartbeat is PROTOCOL.md §6.7.
func (s *ClientSession) handleHeartbeat(now time.Time, f *Heartbeat) {
	for _, top := range f.Tops {
		if t := s.subjects.byAlias[top.Alias]; t != nil && top.Seq > t.tracker.Last().Seq && t.renewed.IsZero() {
			s.subjects.gaps.open(now, t, top.Seq)
		}
	}
	if f.Stale != s.stale {
		s.stale = f.Stale
		s.tell(&Staleness{f.Stale})
	}
	if s.subjects.open() {
		return
	}
	for _, sub := range s.subs {
		if sub.state == subActive {
			sub.settled = true
			if sub.cluster != s.welcome.Cluster || f.Index > sub.index {
				sub.cluster, sub.index = s.welcome.Cluster, f.Index
			}
		}
	}
}
