package session

// A follow says that a session gets the messages of a subject. It has no
// pointer. It is in two lists: the followers of its subject, doubly linked, and
// what its session follows, singly linked.
type follow struct {
	session uint32      // slot
	subject uint32      // index into Core.subjects
	next    uint32      // of the same subject
	prev    uint32      // of the same subject
	more    uint32      // of the same session
	sub     followState // number of the exact subscription, and flags
}

// followState is a subscription's number in the low bits and flags above it.
type followState uint32

const (
	announced followState = 1 << 31 // SUBJECT was sent
	gapped    followState = 1 << 30 // reads the subject's own chain: see gap
	exact     followState = 1 << 29 // subscribed by name; else by wildcard only
	moved     followState = 1 << 28 // the next message may not be the one after the last one sent: say its whole seq
	late      followState = 1 << 27 // exact, but a wildcard subscription was there before
	anew      followState = 1 << 26 // began while the session scans, after the last subscription that ended: those have no say

	subMask = 1<<26 - 1
)

const arenaPage = 1 << 10

// An arena holds records that refer to one another by index, in pages. Index 0
// is none.
type arena[T any] struct {
	pages []*[arenaPage]T
	free  []uint32
	used  uint32
	live  int
}

func (a *arena[T]) at(i uint32) *T { return &a.pages[i/arenaPage][i%arenaPage] }

func (a *arena[T]) take() uint32 {
	a.live++
	if n := len(a.free); n > 0 {
		i := a.free[n-1]
		a.free = a.free[:n-1]
		return i
	}
	a.used = max(a.used, 1)
	i := a.used
	a.used++
	if int(i/arenaPage) >= len(a.pages) {
		a.pages = append(a.pages, new([arenaPage]T))
	}
	return i
}

func (a *arena[T]) give(i uint32) {
	var zero T
	*a.at(i) = zero
	a.free = append(a.free, i)
	a.live--
}

// addFollow makes slot follow subject si; the caller knows that it does not yet.
func (c *Core) addFollow(slot, si uint32) uint32 {
	i := c.follows.take()
	r, s := c.slab.at(slot), c.subjects.at(si)
	*c.follows.at(i) = follow{session: slot, subject: si, next: s.followers, more: r.follows}
	if r.flags&scanning != 0 {
		c.follows.at(i).sub = anew
		c.chill(slot).anew = true
	}
	if s.followers != 0 {
		c.follows.at(s.followers).prev = i
	}
	s.followers = i
	s.count++
	r.follows = i
	r.count++
	return i
}

// unlink takes follow i out of its subject's list and frees it; the caller has
// taken it out of its session's list.
func (c *Core) unlink(i uint32) {
	f := *c.follows.at(i)
	s := c.subjects.at(f.subject)
	if f.prev != 0 {
		c.follows.at(f.prev).next = f.next
	} else {
		s.followers = f.next
	}
	if f.next != 0 {
		c.follows.at(f.next).prev = f.prev
	}
	c.follows.give(i)
	s.count--
	if s.count == 0 {
		c.dropSubject(f.subject)
	}
}

// dropFollows takes away those of slot's follows for which drop is true.
func (c *Core) dropFollows(slot uint32, drop func(*follow) bool) {
	r := c.slab.at(slot)
	orphans := false
	for at := &r.follows; *at != 0; {
		i := *at
		f := c.follows.at(i)
		if !drop(f) {
			at = &f.more
			continue
		}
		*at = f.more
		r.count--
		orphans = orphans || f.sub&gapped != 0
		c.unlink(i)
	}
	if orphans {
		c.dropGaps(slot, c.cold[slot])
	}
}

// findFollow gives the follow of slot on subject si, walking the shorter of the two
// lists; 0 if there is none.
func (c *Core) findFollow(slot, si uint32) uint32 {
	r, s := c.slab.at(slot), c.subjects.at(si)
	if r.count <= s.count {
		for i := r.follows; i != 0; i = c.follows.at(i).more {
			c.steps--
			if c.follows.at(i).subject == si {
				return i
			}
		}
		return 0
	}
	for i := s.followers; i != 0; i = c.follows.at(i).next {
		c.steps--
		if c.follows.at(i).session == slot {
			return i
		}
	}
	return 0
}
