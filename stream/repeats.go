package stream

import "sort"

// maxWalk bounds the walk back over one publisher's messages, so that one which
// repeats ancient numbers does not stop the ledger; maxWalks bounds what is
// remembered of all walks.
const (
	maxWalk  = 4096
	maxWalks = 64 << 10
)

// repeats remembers the walks that were made back over publishers' messages. A
// publisher that comes back repeats its whole window, oldest first: with what is
// remembered a window of n costs n steps and not n². It is no part of the
// ledger's state: forgetting it changes no answer.
type repeats struct {
	walks map[PublisherID]*walk
	steps int // in all walks
}

// A walk is the publisher's messages from the newest one back, as far as it went.
type walk struct {
	newest Index
	steps  []step
}

type step struct {
	number uint64
	index  Index
}

// of gives the walk that begins at p's newest message.
func (r *repeats) of(p *publisher) *walk {
	if w := r.walks[p.id]; w != nil && w.newest == p.newest {
		return w
	}
	if r.walks == nil || r.steps > maxWalks || len(r.walks) > maxWalks/16 {
		r.walks, r.steps = make(map[PublisherID]*walk), 0
	}
	w := &walk{newest: p.newest}
	r.walks[p.id] = w
	return w
}

// placeOf finds the place that p's item of that number got. A number that the
// cache shows to have been left out was refused, and to call that a repetition
// would confirm what is nowhere. What the cache does not show is a repetition
// without a place.
func (l *Ledger) placeOf(p *publisher, number uint64) Place {
	w := l.repeats.of(p)
	more := true
	for more && (len(w.steps) == 0 || w.steps[len(w.steps)-1].number > number) {
		more = l.stepBack(w)
	}
	k := sort.Search(len(w.steps), func(k int) bool { return w.steps[k].number <= number })
	switch {
	case k == len(w.steps):
		if k > 0 && l.cache.holds(w.steps[k-1].index) && l.cache.rec(w.steps[k-1].index).byPub == firstOfPublisher {
			return Place{Outcome: PassedOver}
		}
		return Place{Outcome: Repeated}
	case !l.cache.holds(w.steps[k].index):
		return Place{Outcome: Repeated}
	case w.steps[k].number != number:
		return Place{Outcome: PassedOver}
	}
	r := l.cache.rec(w.steps[k].index)
	return Place{Position: Position{l.heads.at(uint32(r.id)).epoch, r.seq}, Index: w.steps[k].index, Outcome: Repeated}
}

// stepBack takes a walk one message further back; false: it cannot go on.
func (l *Ledger) stepBack(w *walk) bool {
	i := w.newest
	if n := len(w.steps); n > 0 {
		last := w.steps[n-1].index
		if n == maxWalk || !l.cache.holds(last) {
			return false
		}
		back := l.cache.rec(last).byPub
		if back == 0 || back == firstOfPublisher {
			return false
		}
		i = last - Index(back)
	}
	if !l.cache.holds(i) {
		return false
	}
	it, err := parseItem(l.cache.seg(i).item(i))
	if err != nil {
		panic("stream: an item in the cache is unreadable: " + err.Error())
	}
	w.steps = append(w.steps, step{it.number, i})
	l.repeats.steps++
	return true
}
