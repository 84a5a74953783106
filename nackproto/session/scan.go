package session

import (
	"slices"

	"github.com/nackmq/nackmq/stream"
)

const (
	scanPage = 256 // messages read of the log at a time
	// Beyond so many subjects a turn does not mark them all, but looks each
	// message up.
	scanMarks = 1024
)

// turnOfScan gives a session that follows many subjects a turn of the log from
// its cursor on. It reports whether the session can be written to after that.
func (c *Core) turnOfScan(slot uint32, cd *cold) bool {
	r := c.slab.at(slot)
	c.resetScratch()
	c.markFollows(slot)
	if c.msgs == nil {
		c.msgs = make([]stream.Message, 0, scanPage)
	}
	at := r.cursor
	for c.steps = max(c.steps, 1); c.steps > 0 && len(c.scratch) < turnBytes && at < c.head; {
		msgs, err := c.source.ReadLog(at, c.msgs[:0])
		if err != nil {
			if at == r.cursor { // else what was read goes out first
				c.startWalk(slot, walk{kind: walkLapsed, from: at, upto: c.head})
				return true
			}
			break
		}
		if len(msgs) == 0 {
			at = c.head
			break
		}
		for i := range msgs {
			m := &msgs[i]
			if m.Index > c.head || len(c.scratch) >= turnBytes || c.steps <= 0 {
				break
			}
			at = m.Index
			c.steps--
			if fi := c.wants(slot, cd, m); fi != 0 {
				c.scratchMessage(fi, m)
				c.counts.Delivered++
			}
		}
	}
	r.cursor = at
	if len(c.scratch) > 0 && !c.writeScratch(slot, func(m mark) { r.cursor = min(r.cursor, m.index-1) }) {
		return false
	}
	if r.cursor >= c.head {
		c.endScan(slot, cd)
	}
	return r.flags&blocked == 0
}

// endScan makes a session one that is caught up. Subscriptions that ended
// meanwhile have kept the streams of subjects that others match, too, where they
// were; now they go, and it has caught up when that is done.
func (c *Core) endScan(slot uint32, cd *cold) {
	r := c.slab.at(slot)
	// All subscriptions are where the scan is.
	cd.exactDone, cd.fresh, cd.crowded = 0, 0, false
	ended := c.dropWilds(slot, func(w *wild) bool { return w.gone }) > 0 || len(cd.ghosts) > 0
	if !ended && !cd.anew {
		r.flags &^= scanning
		r.cursor = 0
		return
	}
	for _, fi := range cd.ghosts {
		c.follows.at(fi).sub &^= exact | late | subMask
	}
	cd.ghosts, cd.anew = nil, false
	c.startWalk(slot, walk{kind: walkTidy, wide: ended})
}

// markFollows notes at each subject by which follow the session gets it.
func (c *Core) markFollows(slot uint32) {
	c.turn++
	if c.slab.at(slot).count > scanMarks {
		return
	}
	c.steps -= int(c.slab.at(slot).count)
	for fi := c.slab.at(slot).follows; fi != 0; {
		f := c.follows.at(fi)
		s := c.subjects.at(f.subject)
		s.turn, s.follow = c.turn, fi
		fi = f.more
	}
}

// wants gives the follow by which a scanning session gets m, 0 if it does not.
func (c *Core) wants(slot uint32, cd *cold, m *stream.Message) uint32 {
	si := c.stateOf(m.Subject, m.ID, m.Position.Epoch)
	if si == 0 {
		return 0
	}
	s := c.subjects.at(si)
	if c.unsure(s) {
		if top, ok := c.source.Top(s.name); ok {
			c.learn(si, top)
		}
	}
	if s.turn != c.turn {
		s.turn, s.follow = c.turn, c.findFollow(slot, si)
	}
	fi := s.follow
	if fi == 0 || c.follows.at(fi).sub&gapped != 0 {
		return 0
	}
	if m.Index <= cd.fresh && m.Index <= c.served(slot, cd, fi) {
		return 0
	}
	return fi
}

// served gives the index up to which a scanning session needs nothing more of a
// subject: it was delivered, or was there before the subscription. The oldest
// subscription that matches decides: PROTOCOL.md §6.2.
func (c *Core) served(slot uint32, cd *cold, fi uint32) (done stream.Index) {
	f := c.follows.at(fi)
	if f.sub&(exact|late) == exact {
		return cd.exactDone
	}
	name := c.subjects.at(f.subject).name
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		w := c.wilds.at(i)
		if w.gone && f.sub&anew != 0 {
			continue
		}
		if c.filters.at(w.filter).text.Match(name) {
			done = w.done
		}
	}
	return done
}

// goBack sets a session back to an index for the sake of one wildcard
// subscription. The others are not concerned.
func (c *Core) goBack(slot, wi uint32, to stream.Index) {
	r, cd := c.slab.at(slot), c.chill(slot)
	here := c.head
	if r.flags&scanning != 0 {
		here = min(here, r.cursor)
	}
	for i := r.wilds; i != 0; i = c.wilds.at(i).more {
		w := c.wilds.at(i)
		if i == wi {
			w.done = to
		} else {
			w.done = max(w.done, here)
		}
		cd.fresh = max(cd.fresh, w.done)
	}
	cd.exactDone = max(cd.exactDone, here)
	cd.fresh = max(cd.fresh, cd.exactDone)
	if to < here {
		r.flags |= scanning
		r.cursor = to
		c.enqueue(slot)
	}
}

// lapsed tells one that was lapped of one subject that may have lost something. It
// goes on with its newest message, so as not to fall off the oldest again; if it
// was the loop that was late, with all that is left. PROTOCOL.md §6.4.
func (c *Core) lapsed(slot uint32, cd *cold, fi uint32) {
	f, w := c.follows.at(fi), &cd.walk
	s := c.subjects.at(f.subject)
	top, ok := c.source.Top(s.name)
	if !ok || top.Index <= w.from {
		return
	}
	// That a history began may have been lost, too: nothing else would announce it.
	c.attach(f.subject, top)
	c.learn(f.subject, top)
	if f.sub&gapped != 0 {
		return // that will tell
	}
	served := w.from
	if served < cd.fresh {
		served = max(served, c.served(slot, cd, fi))
	}
	if top.Index <= served {
		return
	}
	g := c.openGap(slot, fi, missed, stream.Position{Epoch: s.epoch}, 0)
	g.from, g.keep = served, w.loop
	if w.loop && w.from == c.lapseFrom {
		g.pos.Seq = s.lastAt(c.lapse)
	}
}

// startOver has a session that lost messages after index from look for subjects
// that its wildcard subscriptions match and that it does not follow yet, since
// their first messages may be among those.
func (c *Core) startOver(slot uint32, from stream.Index, loop bool) {
	cd := c.chill(slot)
	// One for each subscription at most: those that were not done begin again.
	older := map[stream.Filter]stream.Index{}
	cd.starts = slices.DeleteFunc(cd.starts, func(st start) bool {
		if st.kind == startLapped {
			older[st.filter] = st.index
		}
		return st.kind == startLapped
	})
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		w := c.wilds.at(i)
		if w.gone {
			continue
		}
		st := start{kind: startLapped, filter: c.filters.at(w.filter).text, index: max(from, w.done), keep: loop}
		if at, ok := older[st.filter]; ok {
			st.index = min(st.index, at)
		}
		cd.starts = append(cd.starts, st)
	}
	c.enqueue(slot)
}

// Lapped says that the cache went past the loop's reader, which now stands at index
// at. Whoever was caught up was not at fault and is told in its turn what it lost.
// PROTOCOL.md §6.4.
func (c *Core) Lapped(at stream.Index, now int64) {
	c.setNow(now)
	c.logTime()
	from := c.head
	c.head, c.lapseFrom = at, from
	c.lapse++
	for slot := uint32(1); slot < c.slab.used; slot++ {
		r := c.slab.at(slot)
		if r.flags&(scanning|closing) == 0 && (r.follows != 0 || r.wilds != 0) {
			r.flags |= scanning | lapsed
			r.cursor = from
			c.enqueue(slot)
		}
	}
}
