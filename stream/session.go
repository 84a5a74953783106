package stream

import (
	"slices"
	"strings"
)

// A Fence numbers an attachment of a session to a member. The ledger gives each
// once (S10). The zero Fence is none.
type Fence uint64

// ForEver as a session's expiry says that it does not end by itself.
const ForEver = 1<<32 - 1

// A Session is what the log keeps of a client that is to be found again. It is a
// value that nobody writes to: its slices are replaced, never changed.
type Session struct {
	ID      string
	Fence   Fence           // of the newest attachment
	Holder  NodeID          // the member that the client is connected to; 0: offline
	Expiry  uint32          // seconds that it outlives its connection; ForEver
	Ends    int64           // when it is over if nobody attaches, log time in Unix milliseconds; 0: never, or not offline
	Filters []SessionFilter // by name
	State   []byte          // what its holder saved last
	Pending []uint16        // numbers of publications that were placed and not yet released, rising

	will   []byte // an encoded item; nil: none
	delay  uint32 // seconds from the end of the connection to the will
	willAt int64  // when an offline session's will is due, log time in Unix milliseconds
}

// A SessionFilter is a filter that a session subscribed to.
type SessionFilter struct {
	Name    string // as its holder names it
	Options uint64 // how it is to be served: the holder's
	Since   Index  // the log's head when it came: nothing older is for it
}

// sessionBytes is what a session, and each of its filters, costs beside its bytes.
const sessionBytes = 160

func (s *Session) size() int64 {
	n := sessionBytes + len(s.ID) + len(s.State) + len(s.will) + 2*len(s.Pending)
	for i := range s.Filters {
		n += sessionBytes/4 + len(s.Filters[i].Name)
	}
	return int64(n)
}

// due gives when something happens to the session by itself; 0: never.
func (s *Session) due() int64 {
	switch {
	case s.willAt == 0 || s.Ends != 0 && s.Ends < s.willAt:
		return s.Ends
	default:
		return s.willAt
	}
}

// Session gives the session of that name.
func (l *Ledger) Session(id string) (Session, bool) {
	slot, ok := l.sessionIDs[id]
	if !ok {
		return Session{}, false
	}
	return *l.sessions.at(slot), true
}

// Sessions calls yield with the sessions among the slots from on, until it returns
// false or steps slots were looked at. It gives the slot at which to go on, and
// whether there is more.
func (l *Ledger) Sessions(from uint32, steps int, yield func(Session) bool) (next uint32, more bool) {
	i := from
	for ; i < l.sessions.next && steps > 0; steps-- {
		s := l.sessions.at(i)
		i++
		if s.ID != "" && !yield(*s) {
			break
		}
	}
	return i, i < l.sessions.next
}

// Due gives when a session ends or its will is due, log time in Unix
// milliseconds; 0: nothing is. An entry of that time makes it happen.
func (l *Ledger) Due() int64 {
	d, _ := l.due.first()
	return d.at
}

// applySession does what op says.
func (l *Ledger) applySession(op *sessionOp, note entryNote) Place {
	if op.kind == opGone {
		l.holderGone(op.holder, note)
		return Place{Index: l.cache.head}
	}
	slot, exists := l.sessionIDs[string(op.id)]
	switch {
	case op.kind == opAttach:
		return l.attach(op, slot, exists, note)
	case op.kind == opEnd:
		if exists {
			l.endSession(slot, note)
		}
		return Place{Index: l.cache.head}
	case !exists || l.sessions.at(slot).Fence != op.fence || l.sessions.at(slot).Holder == 0:
		return Place{Outcome: Fenced}
	}
	s := *l.sessions.at(slot)
	switch op.kind {
	case opDetach:
		s.Expiry, s.State = op.expiry, slices.Clone(op.state)
		if op.noWill {
			s.will = nil
		}
		l.setSession(slot, s)
		l.detach(slot, note)
	case opSave:
		if more := int64(len(op.state) - len(s.State)); more > 0 && l.sessionBytes+more > l.limits.SessionBytes {
			return Place{Outcome: TooManySessions}
		}
		s.State = slices.Clone(op.state)
		l.setSession(slot, s)
	case opSubscribe:
		if !l.subscribe(&s, op) {
			return Place{Outcome: TooManySessions}
		}
		l.setSession(slot, s)
	case opUnsubscribe:
		gone := make(map[string]bool, len(op.filters))
		for _, f := range op.filters {
			gone[string(f.name)] = true
		}
		s.Filters = slices.DeleteFunc(slices.Clone(s.Filters), func(f SessionFilter) bool { return gone[f.Name] })
		l.setSession(slot, s)
	case opRelease:
		i, found := slices.BinarySearch(s.Pending, op.packet)
		if !found {
			return Place{Outcome: NoSuchNumber}
		}
		s.Pending = slices.Delete(slices.Clone(s.Pending), i, i+1)
		l.setSession(slot, s)
	}
	return Place{Index: l.cache.head}
}

// attach makes op's session, or takes over the one that is there.
func (l *Ledger) attach(op *sessionOp, slot uint32, exists bool, note entryNote) Place {
	if !l.hasRoom(op, slot, exists) {
		return Place{Outcome: TooManySessions}
	}
	if exists && op.clean {
		l.endSession(slot, note)
		exists = false
	}
	if exists && l.sessions.at(slot).Holder != 0 {
		l.detach(slot, note) // its connection has ended, or ends now
		slot, exists = l.sessionIDs[string(op.id)]
	}
	s := Session{ID: string(op.id)}
	if exists {
		s = *l.sessions.at(slot)
	}
	s.Holder, s.Expiry, s.Ends, s.willAt = op.holder, op.expiry, 0, 0
	s.will, s.delay = nil, op.delay
	if len(op.will) > 0 {
		s.will = slices.Clone(op.will)
	}
	if !exists {
		slot = l.sessions.take()
		l.sessionIDs[s.ID] = slot
	}
	l.fence++
	s.Fence = l.fence
	l.setSession(slot, s)
	p := Place{Index: l.cache.head, Fence: s.Fence}
	if exists {
		p.Outcome = Resumed
	}
	return p
}

// hasRoom reports whether the limits allow an attachment. One that does not make its
// session larger they always allow.
func (l *Ledger) hasRoom(op *sessionOp, slot uint32, exists bool) bool {
	more := int64(sessionBytes + len(op.id) + len(op.will))
	if !exists {
		return len(l.sessionIDs) < l.limits.Sessions && l.sessionBytes+more <= l.limits.SessionBytes
	}
	if was := l.sessions.at(slot); op.clean {
		more -= was.size()
	} else {
		more = int64(len(op.will) - len(was.will))
	}
	return more <= 0 || l.sessionBytes+more <= l.limits.SessionBytes
}

// subscribe puts op's filters into s; one of the same name keeps where it began.
func (l *Ledger) subscribe(s *Session, op *sessionOp) bool {
	was := s.size()
	all := slices.Grow(slices.Clone(s.Filters), len(op.filters))
	for _, f := range op.filters {
		all = append(all, SessionFilter{Name: string(f.name), Options: f.options, Since: l.cache.head})
	}
	slices.SortStableFunc(all, func(a, b SessionFilter) int { return strings.Compare(a.Name, b.Name) })
	s.Filters = all[:0]
	for _, f := range all {
		if n := len(s.Filters); n > 0 && s.Filters[n-1].Name == f.Name {
			s.Filters[n-1].Options = f.Options
			continue
		}
		s.Filters = append(s.Filters, f)
	}
	return l.sessionBytes+s.size()-was <= l.limits.SessionBytes
}

// detach takes the session from its holder. It is over, or waits for its client;
// its will goes out, or waits, too.
func (l *Ledger) detach(slot uint32, note entryNote) {
	s := *l.sessions.at(slot)
	if s.Expiry == 0 {
		l.endSession(slot, note)
		return
	}
	l.fence++ // what its holder still sends comes too late
	s.Fence, s.Holder, s.Ends = l.fence, 0, 0
	if s.Expiry != ForEver {
		s.Ends = note.time + int64(s.Expiry)*1000
	}
	if s.will != nil {
		s.willAt = note.time + int64(s.delay)*1000
	}
	l.setSession(slot, s)
	if s.will != nil && s.delay == 0 {
		l.sayWill(slot, note)
	}
}

// endSession forgets the session. Its will waits no longer.
func (l *Ledger) endSession(slot uint32, note entryNote) {
	if l.sessions.at(slot).will != nil {
		l.sayWill(slot, note)
	}
	s := l.sessions.at(slot)
	l.sessionBytes -= s.size()
	delete(l.sessionIDs, s.ID)
	l.due.set(slot, 0)
	l.sessions.give(slot)
}

// sayWill places the session's will. A limit of the log that stands against it is
// counted: there is nobody to tell.
func (l *Ledger) sayWill(slot uint32, note entryNote) {
	s := *l.sessions.at(slot)
	item := s.will
	s.will, s.delay, s.willAt = nil, 0, 0
	l.setSession(slot, s)
	it, err := parseItem(item)
	if err != nil {
		panic("stream: a will that was checked is unreadable: " + err.Error())
	}
	if p := l.place(item, &it, note); p.Outcome != Placed {
		l.willsRefused++
	}
}

// holderGone detaches what a member held.
func (l *Ledger) holderGone(n NodeID, note entryNote) {
	for slot := range l.sessions.next {
		if s := l.sessions.at(slot); s.ID != "" && s.Holder == n {
			l.detach(slot, note)
		}
	}
}

// runDue does what is due by the time of the entry: wills before ends.
func (l *Ledger) runDue(note entryNote) {
	for d, ok := l.due.first(); ok && d.at <= note.time; d, ok = l.due.first() {
		if s := l.sessions.at(d.slot); s.willAt != 0 && s.willAt <= note.time {
			l.sayWill(d.slot, note)
		} else {
			l.endSession(d.slot, note)
		}
	}
}

// setSession puts s into its slot.
func (l *Ledger) setSession(slot uint32, s Session) {
	p := l.sessions.edit(slot)
	if p.ID != "" {
		l.sessionBytes -= p.size()
	}
	l.sessionBytes += s.size()
	*p = s
	l.due.set(slot, s.due())
}

// pend notes that a publication of a session gets its place now, unless one of
// that number has had it. ok is false if it is not to be placed: then p says why.
func (l *Ledger) pend(it *rawItem) (p Place, ok bool) {
	slot, exists := l.sessionIDs[string(it.session)]
	if !exists || l.sessions.at(slot).Fence != it.fence {
		return Place{Outcome: Fenced}, false
	}
	if _, found := slices.BinarySearch(l.sessions.at(slot).Pending, it.packet); found {
		return Place{Outcome: Repeated}, false
	}
	return Place{}, true
}

// pended notes that it was placed.
func (l *Ledger) pended(it *rawItem) {
	slot := l.sessionIDs[string(it.session)]
	s := *l.sessions.at(slot)
	i, _ := slices.BinarySearch(s.Pending, it.packet)
	pending := make([]uint16, 0, len(s.Pending)+1)
	pending = append(append(append(pending, s.Pending[:i]...), it.packet), s.Pending[i:]...)
	s.Pending = pending
	l.setSession(slot, s)
}

// session writes a session into a snapshot.
func (s *snapshotWriter) session(e *Session) {
	s.str([]byte(e.ID))
	s.num(uint64(e.Fence))
	s.num(uint64(e.Holder))
	s.num(uint64(e.Expiry))
	s.num(uint64(e.Ends))
	s.str(e.will)
	s.num(uint64(e.delay))
	s.num(uint64(e.willAt))
	s.str(e.State)
	s.num(uint64(len(e.Pending)))
	for _, n := range e.Pending {
		s.num(uint64(n))
	}
	s.num(uint64(len(e.Filters)))
	for i := range e.Filters {
		s.str([]byte(e.Filters[i].Name))
		s.num(e.Filters[i].Options)
		s.num(uint64(e.Filters[i].Since))
	}
}

// session reads what snapshotWriter.session wrote.
func (s *snapshotReader) session(e *Session) {
	e.ID = string(s.str(MaxSessionID))
	e.Fence, e.Holder = Fence(s.num()), NodeID(s.num())
	e.Expiry, e.Ends = uint32(s.num()), int64(s.num())
	if will := s.str(MaxItemBytes); len(will) > 0 {
		if _, err := parsePublication(will); err != nil {
			s.fail("a will is unreadable")
		}
		e.will = will
	}
	e.delay, e.willAt = uint32(s.num()), int64(s.num())
	e.State = s.str(MaxSessionState)
	for n := s.num(); n > 0 && s.err == nil; n-- {
		e.Pending = append(e.Pending, uint16(s.num()))
	}
	for n := s.num(); n > 0 && s.err == nil; n-- {
		e.Filters = append(e.Filters, SessionFilter{Name: string(s.str(MaxSubject)), Options: s.num(), Since: Index(s.num())})
	}
	if e.ID == "" {
		s.fail("a session without a name")
	}
}
