package session

import "slices"

// A client names its subscriptions with numbers of its own. A wildcard
// subscription keeps the number whole; an exact one is only a follow, which has
// room for a small number. A large one, and a second subscription to a subject,
// are rare and stand in the cold part.
type otherName struct {
	sub    uint64
	follow uint32
	twin   bool // the follow has another name, too
}

// hasName as the number in a follow says that the name is in the cold part.
const hasName = subMask

func small(sub uint64) bool { return sub < hasName }

// nameFollow names a follow that has no name.
func (c *Core) nameFollow(slot, fi uint32, sub uint64) {
	f := c.follows.at(fi)
	if small(sub) {
		f.sub = f.sub&^subMask | followState(sub)
		return
	}
	f.sub |= hasName
	cd := c.chill(slot)
	cd.names = append(cd.names, otherName{sub: sub, follow: fi})
}

// nameTwin notes a second subscription to the subject of a follow.
func (c *Core) nameTwin(slot, fi uint32, sub uint64) {
	cd := c.chill(slot)
	cd.names = append(cd.names, otherName{sub: sub, follow: fi, twin: true})
}

// findName gives the exact follow that has a name; 0 if none has.
func (c *Core) findName(slot uint32, sub uint64) uint32 {
	r := c.slab.at(slot)
	if r.flags&hasCold != 0 {
		for _, n := range c.cold[slot].names {
			if n.sub == sub {
				return n.follow
			}
		}
	}
	if small(sub) {
		for fi := r.follows; fi != 0; fi = c.follows.at(fi).more {
			c.steps--
			if f := c.follows.at(fi); f.sub&exact != 0 && f.sub&subMask == followState(sub) {
				return fi
			}
		}
	}
	return 0
}

// dropName takes a name from a follow. It reports whether that was the last one.
func (c *Core) dropName(slot, fi uint32, sub uint64) bool {
	f := c.follows.at(fi)
	if c.slab.at(slot).flags&hasCold == 0 {
		return true
	}
	cd := c.cold[slot]
	if i := slices.IndexFunc(cd.names, func(n otherName) bool { return n.sub == sub }); i >= 0 {
		twin := cd.names[i].twin
		cd.names = slices.Delete(cd.names, i, i+1)
		if twin {
			return false
		}
	}
	i := slices.IndexFunc(cd.names, func(n otherName) bool { return n.follow == fi })
	if i < 0 {
		return true
	}
	// A twin takes its place.
	twin := cd.names[i]
	cd.names = slices.Delete(cd.names, i, i+1)
	f.sub &^= subMask
	c.nameFollow(slot, fi, twin.sub)
	return false
}

// hasSub reports whether a session has a subscription of that name.
func (c *Core) hasSub(slot uint32, sub uint64) bool {
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		if w := c.wilds.at(i); !w.gone && w.sub == sub {
			return true
		}
	}
	return c.findName(slot, sub) != 0
}
