package session

import (
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// A walkKind says why all that a session follows is looked at.
type walkKind uint8

const (
	noWalk     walkKind = iota
	walkLapsed          // the cache went past the session: what it lost is to be told
	walkTidy            // a scan is over: what was kept for its sake goes
	walkEnded           // an UNSUBSCRIBE: streams that nothing matches any more go
	walkBeat            // a heartbeat is due: it tells the tops
)

// A walk goes over all that a session follows, which may be a million subjects, some
// at a time. Until it is over the session gets no other turn and its frames wait; so
// nothing is subscribed or unsubscribed meanwhile. Follows may still be added, by
// messages of new subjects: they stand before all others. Only walkLapsed comes to
// them, too.
type walk struct {
	kind walkKind
	at   uint32 // the follow that comes next
	prev uint32 // the one before it in the session's list; 0: the first that is there

	first uint32       // walkLapsed: the first follow when the walk, or its last round, began
	end   uint32       // walkLapsed: where the round ends; 0: with the list
	from  stream.Index // walkLapsed: everything up to it was delivered
	upto  stream.Index // walkLapsed: where the scan goes on; walkBeat: what the heartbeat tells
	loop  bool         // walkLapsed: the loop's reader was lapped, not the session
	wide  bool         // walkTidy: follows may go
	all   bool         // walkBeat: also the tops of what is not announced
	wild  uint32       // walkEnded: the wildcard subscription that ended and is kept while the session scans
	beat  *nackproto.Heartbeat
}

// startWalk begins a walk.
func (c *Core) startWalk(slot uint32, w walk) {
	cd := c.chill(slot)
	if cd.walk.kind != noWalk {
		panic("session: a walk begins before the last one is over")
	}
	w.at = c.slab.at(slot).follows
	w.first = w.at
	cd.walk = w
	rest := c.steps
	c.steps = c.pace.once
	c.turnOfWalk(slot, cd)
	c.steps += rest - c.pace.once
}

// turnOfWalk goes on with a walk, and does what comes behind it.
func (c *Core) turnOfWalk(slot uint32, cd *cold) {
	r, w := c.slab.at(slot), &cd.walk
	cost := 1
	if w.kind == walkEnded || w.kind == walkTidy && w.wide {
		cost += int(r.subs) // each may be asked whether it matches
	}
	link := &r.follows
	for ; w.prev == 0 && w.at != w.end && *link != w.at; link = &c.follows.at(*link).more {
		c.steps-- // those that were added
	}
	if w.prev != 0 {
		link = &c.follows.at(w.prev).more
	}
	orphans := false
	c.steps = max(c.steps, 1) // however many were added, it comes on
	for w.at != w.end && c.steps > 0 && len(cd.out) < turnBytes {
		c.steps -= cost
		i := w.at
		f := c.follows.at(i)
		w.at = f.more
		if c.keeps(slot, cd, i) {
			w.prev, link = i, &f.more
			continue
		}
		*link = w.at
		r.count--
		orphans = orphans || f.sub&gapped != 0
		c.unlink(i)
	}
	if orphans {
		c.dropGaps(slot, cd)
	}
	if w.at == w.end && w.kind == walkLapsed && r.follows != w.first {
		w.at, w.prev, w.first, w.end = r.follows, 0, r.follows, w.first
	}
	if w.at != w.end {
		c.enqueue(slot)
		return
	}
	done := *w
	*w = walk{}
	switch done.kind {
	case walkLapsed:
		c.startOver(slot, done.from, done.loop)
		r.cursor = done.upto
		if r.cursor >= c.head {
			c.endScan(slot, cd)
		}
	case walkTidy:
		if r.cursor >= c.head {
			c.endScan(slot, cd)
		}
	case walkBeat:
		c.endBeat(slot, &done)
	}
	if c.hasWork(slot) || r.flags&paused != 0 {
		c.enqueue(slot)
	}
}

// keeps does to one follow what the session's walk is for. False: the follow goes.
func (c *Core) keeps(slot uint32, cd *cold, fi uint32) bool {
	f := c.follows.at(fi)
	switch w := &cd.walk; w.kind {
	case walkLapsed:
		c.lapsed(slot, cd, fi)
	case walkBeat:
		c.beatOf(slot, cd, f)
	case walkTidy:
		f.sub &^= anew
		c.settleLate(slot, f)
		return !w.wide || f.sub&exact != 0 || c.matchesWild(slot, c.subjects.at(f.subject).name)
	case walkEnded:
		f.sub &^= announced
		if f.sub&anew != 0 && w.wild != 0 {
			c.inherit(slot, fi, w.wild)
		}
		c.settleLate(slot, f)
		return f.sub&exact != 0 || c.matchesWild(slot, c.subjects.at(f.subject).name)
	}
	return true
}

// walking reports whether a session's walk is not over.
func (c *Core) walking(slot uint32) bool {
	return c.slab.at(slot).flags&hasCold != 0 && c.cold[slot].walk.kind != noWalk
}
