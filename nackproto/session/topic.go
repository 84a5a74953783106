package session

import "github.com/nackmq/nackmq/stream"

// A topic is a subject that somebody on this loop follows. Its followers are
// found when its first message comes, and again when a wildcard subscription was
// added since: a message for a subject that nobody new could follow costs one
// look at a small table.
type topic struct {
	name      stream.Subject
	id        stream.SubjectID // if bound
	bound     bool             // the log knows the subject: id and epoch are valid
	epoch     stream.Epoch
	last      stream.Seq   // of the newest message that this loop has seen; 0: not known
	index     stream.Index // of that message
	followers uint32       // the first of its follow records
	count     uint32       // of them
	run       int32        // scratch of a batch: its run, and 1
	turn      uint32       // scratch of a scanning turn: valid if equal to Core.turn
	follow    uint32       // scratch of a scanning turn: the session's follow
}

// An entry of the table by subject number.
type bound struct {
	epoch stream.Epoch // the history that the rest is about; 0: none yet
	topic uint32       // 0: nobody follows
	since uint64       // Core.wildCount when the wildcards were last asked
}

const boundPage = 1 << 10

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

// topicOf gives the topic of a history, by name, number and epoch, having made
// sure that everybody who wants it follows it. 0: nobody does.
func (c *Core) topicOf(name stream.Subject, id stream.SubjectID, epoch stream.Epoch) uint32 {
	e := c.boundAt(id)
	if e.epoch != epoch {
		c.bind(e, name, id, epoch)
	}
	if e.since != c.wildCount {
		c.askWildcards(e, name, id)
	}
	return e.topic
}

// bind gives the number id to a history that it did not stand for yet. A subject
// that was forgotten and came back has a new epoch and may have a new number;
// the number may have been another subject's.
func (c *Core) bind(e *bound, name stream.Subject, id stream.SubjectID, epoch stream.Epoch) {
	t := c.names[name]
	if e.topic != 0 && e.topic != t {
		c.unbind(e.topic)
	}
	*e = bound{epoch: epoch, topic: t}
	if t == 0 {
		return
	}
	top := c.topics.at(t)
	if top.bound && top.id != id {
		*c.boundAt(top.id) = bound{}
	}
	top.id, top.epoch, top.bound = id, epoch, true
	top.last, top.index = 0, 0
	c.hush(t)
}

// unbind takes a topic's number away: the log has forgotten the subject.
func (c *Core) unbind(t uint32) {
	top := c.topics.at(t)
	top.bound, top.id, top.last, top.index = false, 0, 0, 0
	c.unbound++
	c.hush(t)
}

// hush makes the next message of a topic be announced again to all its
// followers. They learn of another epoch by that: PROTOCOL.md §6.6.
func (c *Core) hush(t uint32) {
	for i := c.topics.at(t).followers; i != 0; i = c.follows.at(i).next {
		c.follows.at(i).sub &^= announced
	}
}

// newTopic makes the topic of a name that has none.
func (c *Core) newTopic(name stream.Subject) uint32 {
	t := c.topics.take()
	*c.topics.at(t) = topic{name: name}
	c.names[name] = t
	return t
}

// makeTopic gives the topic of a name, making it if need be, bound if the log
// knows the subject. The caller adds a follow, or calls dropTopic.
func (c *Core) makeTopic(name stream.Subject) uint32 {
	t := c.names[name]
	if t != 0 && c.topics.at(t).bound {
		return t
	}
	if t == 0 {
		t = c.newTopic(name)
	}
	if top, ok := c.source.Top(name); ok {
		e := c.boundAt(top.ID)
		if e.epoch != top.Last.Epoch {
			c.bind(e, name, top.ID, top.Last.Epoch)
		} else {
			e.topic = t
			at := c.topics.at(t)
			at.id, at.epoch, at.bound = top.ID, top.Last.Epoch, true
		}
		c.learn(t, top)
	}
	return t
}

// learn notes where a topic stands, if this loop is not behind that.
func (c *Core) learn(t uint32, top stream.Top) {
	if at := c.topics.at(t); top.Index <= c.head && at.last == 0 {
		at.last, at.index = top.Last.Seq, top.Index
	}
}

// dropTopic forgets a topic that nobody follows.
func (c *Core) dropTopic(t uint32) {
	top := c.topics.at(t)
	if top.count > 0 {
		return
	}
	delete(c.names, top.name)
	if top.bound {
		c.boundAt(top.id).topic = 0
	}
	c.topics.give(t)
}

// sweepUnbound lets go of the subjects that the log has forgotten, once they are
// many: nobody follows them any more but by name.
func (c *Core) sweepUnbound() {
	if c.unbound < 1024 || c.unbound < c.topics.live/4 {
		return
	}
	for slot := uint32(1); slot < c.slab.used; slot++ {
		if c.slab.at(slot).follows == 0 {
			continue
		}
		c.dropFollows(slot, func(f *follow) bool {
			return f.sub&exact == 0 && !c.topics.at(f.topic).bound
		})
	}
	c.unbound = 0 // what is left is followed by name
}
