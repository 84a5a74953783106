package session

import "github.com/nackmq/nackmq/stream"

// A subjectState is what the core knows of a subject that somebody on this loop
// follows. Its followers are found when its first message comes, and again when
// a wildcard subscription was added since: a message for a subject that nobody
// new could follow costs one look at a small table.
type subjectState struct {
	name      stream.Subject
	id        stream.SubjectID // if bound
	bound     bool             // the log knows the subject: id and epoch are valid
	epoch     stream.Epoch
	last      stream.Seq   // of the newest message that this loop has seen; 0: not known
	index     stream.Index // of that message
	before    stream.Seq   // last, when the loop's reader was lapped for the time that lapse says
	lapse     uint32
	followers uint32 // the first of its follow records
	count     uint32 // of them
	run       int32  // scratch of a batch: its run, and 1
	turn      uint32 // scratch of a scanning turn: valid if equal to Core.turn
	follow    uint32 // scratch of a scanning turn: the session's follow
}

// An entry of the table by subject number.
type bound struct {
	epoch   stream.Epoch // the history that the rest is about; 0: none yet
	subject uint32       // 0: nobody follows
	since   uint64       // Core.wildCount when the wildcards were last asked
}

const boundPage = 1 << 10

// seen notes the newest message that the loop has seen.
func (s *subjectState) seen(lapse uint32, last stream.Seq, index stream.Index) {
	if s.lapse != lapse {
		s.lapse, s.before = lapse, s.last
	}
	s.last, s.index = last, index
}

// lastAt gives what last was when the loop's reader was lapped; lapse is the newest
// lapse. 0: not known.
func (s *subjectState) lastAt(lapse uint32) stream.Seq {
	if s.lapse != lapse {
		return s.last
	}
	return s.before
}

// boundAt gives the entry of a subject number, making its page if need be. There
// are as many entries as the log has subjects at a time.
func (c *Core) boundAt(id stream.SubjectID) *bound {
	p := int(id / boundPage)
	if p >= len(c.bound) {
		c.bound = append(c.bound, make([]*[boundPage]bound, p+1-len(c.bound))...)
	}
	if c.bound[p] == nil {
		c.bound[p] = new([boundPage]bound)
	}
	return &c.bound[p][id%boundPage]
}

// stateOf gives the subject of a history, by name, number and epoch, having made
// sure that everybody who wants it follows it. 0: nobody does.
func (c *Core) stateOf(name stream.Subject, id stream.SubjectID, epoch stream.Epoch) uint32 {
	e := c.boundAt(id)
	if e.epoch != epoch {
		c.bind(e, name, id, epoch)
	}
	if e.since != c.wildCount {
		c.askWildcards(e, name, id)
	}
	return e.subject
}

// bind gives the number id to a history that it did not stand for yet. A subject
// that was forgotten and came back has a new epoch and may have a new number;
// the number may have been another subject's.
func (c *Core) bind(e *bound, name stream.Subject, id stream.SubjectID, epoch stream.Epoch) {
	si := c.names[name]
	if e.subject != 0 && e.subject != si {
		c.unbind(e.subject)
	}
	*e = bound{epoch: epoch, subject: si}
	if si == 0 {
		return
	}
	s := c.subjects.at(si)
	if s.bound && s.id != id {
		*c.boundAt(s.id) = bound{}
	}
	s.id, s.epoch, s.bound = id, epoch, true
	s.last, s.index, s.before, s.lapse = 0, 0, 0, c.lapse
	c.hush(si)
}

// unbind takes a subject's number away: the log has forgotten the subject.
func (c *Core) unbind(si uint32) {
	s := c.subjects.at(si)
	s.bound, s.id, s.last, s.index, s.before, s.lapse = false, 0, 0, 0, 0, c.lapse
	c.unbound++
	c.hush(si)
}

// hush makes the next message of a subject be announced again to all its
// followers. They learn of another epoch by that: PROTOCOL.md §6.6.
func (c *Core) hush(si uint32) {
	for i := c.subjects.at(si).followers; i != 0; i = c.follows.at(i).next {
		c.follows.at(i).sub &^= announced
	}
}

// newSubject takes up a name that nobody followed.
func (c *Core) newSubject(name stream.Subject) uint32 {
	si := c.subjects.take()
	*c.subjects.at(si) = subjectState{name: name, lapse: c.lapse}
	c.names[name] = si
	return si
}

// makeSubject gives the subject of a name, taking it up if need be, bound if the log
// knows it. The caller adds a follow, or calls dropSubject.
func (c *Core) makeSubject(name stream.Subject) uint32 {
	si := c.names[name]
	if si != 0 && c.subjects.at(si).bound {
		return si
	}
	if si == 0 {
		si = c.newSubject(name)
	}
	if top, ok := c.source.Top(name); ok {
		c.attach(si, top)
		c.learn(si, top)
	}
	return si
}

// attach binds a subject to the history that the log has of it.
func (c *Core) attach(si uint32, top stream.Top) {
	s := c.subjects.at(si)
	if s.bound && s.id == top.ID && s.epoch == top.Last.Epoch {
		return
	}
	e := c.boundAt(top.ID)
	if e.epoch != top.Last.Epoch {
		c.bind(e, s.name, top.ID, top.Last.Epoch)
		return
	}
	// The history was seen when nobody followed it by this name.
	e.subject = si
	s.id, s.epoch, s.bound = top.ID, top.Last.Epoch, true
}

// learn notes where a subject stands, if that is not known or was before the loop's
// reader was lapped.
func (c *Core) learn(si uint32, top stream.Top) {
	s := c.subjects.at(si)
	switch {
	case s.lapse == c.lapse && s.last != 0:
	case top.Index <= c.head:
		s.seen(c.lapse, top.Last.Seq, top.Index)
	case s.lapse != c.lapse && c.source.Tail() <= c.head:
		// Nothing came since, so the oldest that is left is still to come.
		s.seen(c.lapse, top.First-1, 0)
	}
}

// unsure reports whether what s says of its newest message may not be so.
func (c *Core) unsure(s *subjectState) bool { return s.last == 0 || s.lapse != c.lapse }

// dropSubject forgets a subject that nobody follows.
func (c *Core) dropSubject(si uint32) {
	s := c.subjects.at(si)
	if s.count > 0 {
		return
	}
	delete(c.names, s.name)
	if s.bound {
		c.boundAt(s.id).subject = 0
	}
	c.subjects.give(si)
}

// sweepUnbound lets go of the subjects that the log has forgotten, once they are
// many: nobody follows them any more but by name.
func (c *Core) sweepUnbound() {
	if c.unbound < 1024 || c.unbound < c.subjects.live/4 {
		return
	}
	for slot := uint32(1); slot < c.slab.used; slot++ {
		if c.slab.at(slot).follows == 0 {
			continue
		}
		if c.walking(slot) {
			return // again when that is over
		}
		c.dropFollows(slot, func(f *follow) bool {
			return f.sub&exact == 0 && !c.subjects.at(f.subject).bound
		})
	}
	c.unbound = 0 // what is left is followed by name
}
