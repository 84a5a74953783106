package session

import "unsafe"

// SetPace has the core do so many steps where a walk begins, and in a turn.
func (c *Core) SetPace(once, turn int) { c.pace = pace{once: once, turn: turn, flush: 8 * turn} }

// Kept gives about how many bytes the core keeps for a session because of what its
// client sent, or did not read: all but the follows, of which MaxSubjects is the
// limit, and their gaps.
func (c *Core) Kept(id ID) (n int) {
	slot, r := c.slab.find(id)
	if r == nil {
		return 0
	}
	for i := r.wilds; i != 0; i = c.wilds.at(i).more {
		n += int(unsafe.Sizeof(wild{})) + filterCost(c.filters.at(c.wilds.at(i).filter).text)
	}
	for i := r.follows; i != 0; i = c.follows.at(i).more {
		if s := c.subjects.at(c.follows.at(i).subject); !s.bound {
			n += len(s.name)
		}
	}
	cd := c.cold[slot]
	if cd == nil {
		return n
	}
	n += cap(cd.in) + cap(cd.tail) + cap(cd.out) + cap(cd.flight)
	n += cap(cd.starts)*int(unsafe.Sizeof(start{})) + cap(cd.names)*int(unsafe.Sizeof(otherName{})) + cap(cd.ghosts)*4
	if p := cd.pub; p != nil {
		n += cap(p.window)*int(unsafe.Sizeof(pending{})) + p.bytes + cap(p.aliases)*int(unsafe.Sizeof(alias{}))
		for i := range p.aliases {
			n += len(p.aliases[i].subject)
		}
	}
	return n
}
