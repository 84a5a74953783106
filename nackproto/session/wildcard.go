package session

import "github.com/nackmq/nackmq/stream"

// A wild is one session's subscription with a wildcard filter. It has no pointer
// and is in two lists: those of its filter, newest first, and its session's.
type wild struct {
	session uint32 // slot
	filter  uint32 // index into Core.filters
	next    uint32 // of the same filter
	prev    uint32 // of the same filter
	more    uint32 // of the same session
	sub     uint64 // the client's number
	joined  uint64 // Core.wildCount when it came
	gone    bool   // unsubscribed while the session scans: it only says up to where the session was served
	// Up to done it needs nothing more: it was not there yet, or was served. Only
	// a scanning session looks at it.
	done stream.Index
}

// A filter is a wildcard filter that at least one session has.
type filter struct {
	text  stream.Filter
	first uint32 // the newest subscription
	count uint32
}

// addWild subscribes slot to a wildcard filter.
func (c *Core) addWild(slot uint32, text stream.Filter, sub uint64) uint32 {
	at := c.tree.Place(text)
	if *at == 0 {
		*at = c.filters.take()
		c.filters.at(*at).text = text
	}
	fi := *at
	c.wildCount++
	i := c.wilds.take()
	r, f := c.slab.at(slot), c.filters.at(fi)
	*c.wilds.at(i) = wild{session: slot, filter: fi, next: f.first, more: r.wilds, sub: sub, joined: c.wildCount, done: c.head}
	if f.first != 0 {
		c.wilds.at(f.first).prev = i
	}
	f.first = i
	f.count++
	r.wilds = i
	r.filters += uint32(filterCost(text))
	return i
}

// dropWilds takes away those of slot's wildcard subscriptions for which drop is
// true, and says how many.
func (c *Core) dropWilds(slot uint32, drop func(*wild) bool) (n int) {
	for at := &c.slab.at(slot).wilds; *at != 0; {
		i := *at
		if p := c.wilds.at(i); !drop(p) {
			at = &p.more
			continue
		}
		w := *c.wilds.at(i)
		*at = w.more
		n++
		f := c.filters.at(w.filter)
		c.slab.at(slot).filters -= uint32(filterCost(f.text))
		if w.prev != 0 {
			c.wilds.at(w.prev).next = w.next
		} else {
			f.first = w.next
		}
		if w.next != 0 {
			c.wilds.at(w.next).prev = w.prev
		}
		c.wilds.give(i)
		if f.count--; f.count == 0 {
			c.tree.Remove(f.text)
			c.filters.give(w.filter)
		}
	}
	return n
}

// settleLate has an exact subscription decide where its stream stands, when the
// wildcard subscriptions that were there before it have all ended.
func (c *Core) settleLate(slot uint32, f *follow) {
	if f.sub&late == 0 {
		return
	}
	name := c.subjects.at(f.subject).name
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		if c.filters.at(c.wilds.at(i).filter).text.Match(name) {
			return
		}
	}
	f.sub &^= late
}

// matchesWild reports whether a wildcard subscription of slot matches name.
func (c *Core) matchesWild(slot uint32, name stream.Subject) bool {
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		if w := c.wilds.at(i); !w.gone && c.filters.at(w.filter).text.Match(name) {
			return true
		}
	}
	return false
}

// askWildcards has those sessions follow a subject whose wildcard subscription
// matches it and came after the subject was last asked about.
func (c *Core) askWildcards(e *bound, name stream.Subject, id stream.SubjectID) {
	c.matched = c.matched[:0]
	c.tree.Match(name, func(fi *uint32) { c.matched = append(c.matched, *fi) })
	for _, fi := range c.matched {
		for i := c.filters.at(fi).first; i != 0; {
			w := c.wilds.at(i)
			if w.joined <= e.since {
				break
			}
			i = w.next
			if w.gone {
				continue
			}
			if e.subject == 0 {
				e.subject = c.newSubject(name)
				s := c.subjects.at(e.subject)
				s.id, s.epoch, s.bound = id, e.epoch, true
			}
			if c.slab.at(w.session).count > 0 && c.findFollow(w.session, e.subject) != 0 {
				continue
			}
			c.steps -= 1 + int(c.slab.at(w.session).subs) // each may be asked whether it decides
			c.addWildFollow(w.session, e.subject)
		}
	}
	e.since = c.wildCount
	if si := e.subject; si != 0 {
		c.dropSubject(si) // if all were over their limit
	}
}
