package session

import (
	"errors"
	"slices"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// A gapKind says why a session reads a subject's own chain, and so what it is
// told when that fails.
type gapKind uint8

const (
	missed   gapKind = iota // it could not be written to when the message came
	nackGap                 // it sent a NACK
	beginGap                // its subscription begins with older messages
	indexGap                // its subscription begins after an index
	resume                  // it sent a mark; CONTINUOUS or RESET ends it
)

// A gap is a subject of which a session is behind at a position of its own. It
// is closed when the chain has been read up to the session's head; until then
// the live path and the scan leave the subject alone. A NACK, a resume and a
// slow reader are the same gap: PROTOCOL.md §6.4 to §6.6.
type gap struct {
	follow uint32
	kind   gapKind
	begun  bool            // a message was handed over
	state  bool            // what the subject's state was at pos goes first, as a snapshot
	keep   bool            // the loop was late: all that the cache still holds is wanted
	ended  bool            // the chain has no more for the time being
	pos    stream.Position // everything up to it was handed over, or told lost
	hint   stream.Index    // of the message at pos; 0: not known
	from   stream.Index    // messages up to here are not wanted
	spare  stream.Seq      // beginGap: to lose what is up to here needs no word, it was there before the subscription
}

// gapsAtOnce is how many chains are merged by index, chainPage how many messages
// are read of one at a time.
const (
	gapsAtOnce = 16
	chainPage  = 32
)

// A chain is a gap while a turn reads it.
type chain struct {
	gap  *gap
	msgs []stream.Message
	at   int
	more bool
	buf  [chainPage]stream.Message
}

// openGap sets a session back to pos on a subject that it follows. A gap that is
// open already is set back only if that is further.
func (c *Core) openGap(slot, fi uint32, kind gapKind, pos stream.Position, hint stream.Index) *gap {
	f := c.follows.at(fi)
	cd := c.chill(slot)
	if f.sub&gapped != 0 {
		g := c.gapOf(cd, fi)
		if g.pos.Epoch != pos.Epoch || pos.Seq < g.pos.Seq {
			g.pos, g.hint, g.begun, g.ended, g.state = pos, hint, false, false, false
		}
		if kind > g.kind {
			g.kind = kind
		}
		return g
	}
	f.sub |= gapped
	cd.gaps = append(cd.gaps, gap{follow: fi, kind: kind, pos: pos, hint: hint})
	c.enqueue(slot)
	return &cd.gaps[len(cd.gaps)-1]
}

func (c *Core) gapOf(cd *cold, fi uint32) *gap {
	for i := range cd.gaps {
		c.steps--
		if cd.gaps[i].follow == fi {
			return &cd.gaps[i]
		}
	}
	panic("session: a follow is marked as gapped and has no gap")
}

// dropGaps forgets the gaps of follows that have gone away just now.
func (c *Core) dropGaps(slot uint32, cd *cold) {
	cd.gaps = slices.DeleteFunc(cd.gaps, func(g gap) bool { return c.follows.at(g.follow).session != slot })
}

// turnOfGaps gives a session a turn of what its gaps lack, merged by index. It
// reports whether the session can be written to after that.
func (c *Core) turnOfGaps(slot uint32, cd *cold) bool {
	c.resetScratch()
	first := 0
	for first < len(cd.gaps) && c.steps > 0 && len(c.scratch) < turnBytes {
		n, ok := c.mergeGaps(slot, cd.gaps[first:min(first+gapsAtOnce, len(cd.gaps))])
		if !ok {
			return false // closed
		}
		first += n
	}
	if len(c.scratch) > 0 && !c.writeScratch(slot, func(m mark) {
		g := c.gapOf(cd, m.follow)
		g.pos, g.hint, g.ended, g.state = stream.Position{Epoch: g.pos.Epoch, Seq: m.seq - 1}, 0, false, m.state
	}) {
		return false
	}
	c.closeGaps(slot, cd, first)
	return c.slab.at(slot).flags&blocked == 0
}

// mergeGaps fills the scratch from some gaps until the turn is used up or they
// have no more. It says of how many it has read; not ok: the session was closed.
func (c *Core) mergeGaps(slot uint32, gaps []gap) (n int, ok bool) {
	if c.readers == nil {
		c.readers = make([]chain, gapsAtOnce)
	}
	chains := c.readers[:0]
	for c.steps = max(c.steps, 1); n < len(gaps) && c.steps > 0 && len(c.scratch) < turnBytes; n++ {
		g := &gaps[n]
		g.ended = false
		if g.state {
			g.state = false
			c.scratchSnapshot(g)
		}
		chains = chains[:n+1]
		ch := &chains[n]
		ch.gap, ch.msgs, ch.at = g, nil, 0
		if !c.readChain(slot, ch) {
			return n, false
		}
	}
	for len(c.scratch) < turnBytes {
		var next *chain
		for i := range chains {
			ch := &chains[i]
			if ch.at < len(ch.msgs) && (next == nil || ch.msgs[ch.at].Index < next.msgs[next.at].Index) {
				next = ch
			}
		}
		if next == nil {
			return n, true
		}
		g, m := next.gap, &next.msgs[next.at]
		if m.Index > g.from {
			c.scratchMessage(g.follow, m)
			g.begun = true
			c.counts.Delivered++
		}
		g.pos, g.hint = m.Position, m.Index
		if next.at++; next.at == len(next.msgs) && next.more {
			if !c.readChain(slot, next) {
				return n, false
			}
		}
	}
	for i := range chains {
		if ch := &chains[i]; ch.at < len(ch.msgs) {
			ch.gap.ended = false
		}
	}
	return n, true
}

// scratchSnapshot announces a subject with the message at the gap's position, or
// else the retained one. It is not part of the stream. PROTOCOL.md §6.2.
func (c *Core) scratchSnapshot(g *gap) {
	f := c.follows.at(g.follow)
	s := c.subjects.at(f.subject)
	if !s.bound || s.epoch != g.pos.Epoch {
		return // the chain will tell
	}
	if f.sub&announced == 0 {
		c.scratch = appendSubject(c.scratch, s, g.pos.Seq, s.last)
		c.marks = append(c.marks, mark{end: len(c.scratch), follow: g.follow})
		f.sub |= announced
	}
	var m stream.Message
	before := stream.Position{Epoch: g.pos.Epoch, Seq: g.pos.Seq - 1}
	if at, err := c.source.ReadSubject(s.name, before, 0, make([]stream.Message, 0, 1)); err == nil && len(at) > 0 {
		m = at[0]
	} else if kept, ok := c.source.Retained(s.name); ok && kept.Position.Epoch == s.epoch && kept.Position.Seq <= g.pos.Seq {
		m = kept
	}
	if m.Index == 0 || m.ExpiredAt(c.logTime()) {
		return
	}
	c.scratch = nackproto.AppendMessageX(c.scratch, &m, true)
	c.marks = append(c.marks, mark{end: len(c.scratch), follow: g.follow, seq: g.pos.Seq + 1, index: m.Index, state: true})
}

// readChain reads the next messages of a gap, as far as the core has come. False:
// the session was closed.
func (c *Core) readChain(slot uint32, ch *chain) bool {
	g := ch.gap
	for range 3 { // a RESET moves the gap, and the cache may move meanwhile
		s := c.subjects.at(c.follows.at(g.follow).subject)
		msgs, err := c.source.ReadSubject(s.name, g.pos, g.hint, ch.buf[:0])
		c.steps -= 1 + len(msgs)
		if err == nil {
			n := len(msgs)
			for n > 0 && msgs[n-1].Index > c.head {
				n--
			}
			ch.msgs, ch.at, ch.more = msgs[:n], 0, n == chainPage
			g.ended = !ch.more
			return true
		}
		var lost *stream.LostError
		if !errors.As(err, &lost) {
			panic("session: ReadSubject gave an unknown error: " + err.Error())
		}
		ch.msgs, ch.at, ch.more = nil, 0, false
		switch goOn := c.lost(slot, g, lost); {
		case c.slab.at(slot).flags&closing != 0:
			return false
		case !goOn:
			g.ended = true
			return true
		}
	}
	return true
}

// lost tells a session that its gap cannot be read and where the stream goes on.
// False: there is nothing to read.
func (c *Core) lost(slot uint32, g *gap, lost *stream.LostError) bool {
	fi := g.follow
	f := c.follows.at(fi)
	kind, begun, keep := g.kind, g.begun, g.keep
	g.kind, g.hint, g.from, g.keep = missed, 0, 0, false
	if errors.Is(lost, stream.ErrAhead) {
		if kind == resume {
			c.closeBehind(slot, c.subjects.at(f.subject).name)
		}
		return false
	}
	if kind == resume {
		c.counts.Resets++
	}
	s := c.subjects.at(f.subject)
	if lost.Last.Epoch == 0 { // the log does not know the subject
		c.scratch = (&nackproto.Reset{Reason: nackproto.Other, Name: s.name}).AppendTo(c.scratch)
		c.marks = append(c.marks, mark{end: len(c.scratch)})
		return false
	}
	if top, ok := c.source.Top(s.name); ok {
		c.attach(f.subject, top)
	}
	reason, next := nackproto.Slow, lost.Last.Seq
	switch {
	case errors.Is(lost, stream.ErrOther):
		reason, next = nackproto.Other, lost.First.Seq
	case kind != missed && !begun:
		reason, next = nackproto.Trimmed, lost.First.Seq
	case keep && !begun:
		next = lost.First.Seq
	}
	next = max(next, lost.First.Seq)
	g.pos = stream.Position{Epoch: lost.Last.Epoch, Seq: next - 1}
	g.begun = false
	if kind == beginGap && !begun && lost.First.Seq <= g.spare+1 && !errors.Is(lost, stream.ErrOther) {
		g.kind = beginGap
		g.pos.Seq = lost.First.Seq - 1
		return true
	}
	if reason != nackproto.Other && next > lost.After.Seq+1 {
		c.counts.Lost += uint64(next - lost.After.Seq - 1)
	}
	c.scratchReset(fi, reason, lost.First.Seq, lost.Last.Seq, next)
	return true
}

// scratchReset appends RESET, and SUBJECT before it if the alias is not known.
func (c *Core) scratchReset(fi uint32, reason nackproto.ResetReason, first, last, next stream.Seq) {
	f := c.follows.at(fi)
	s := c.subjects.at(f.subject)
	if f.sub&announced == 0 {
		c.scratch = appendSubject(c.scratch, s, next-1, last)
		f.sub |= announced
	}
	f.sub |= moved
	r := nackproto.Reset{Alias: nackproto.AliasOf(s.id), Reason: reason, Epoch: s.epoch, First: first, Last: last, Next: next}
	c.scratch = r.AppendTo(c.scratch)
	c.marks = append(c.marks, mark{end: len(c.scratch)})
}

// closeGaps ends those of the first n gaps whose chains have been read to the
// end: what comes next reaches the session live. While the session scans, a gap
// stays open, since the scan is not where the gap is.
func (c *Core) closeGaps(slot uint32, cd *cold, n int) {
	scans := c.slab.at(slot).flags&scanning != 0
	keep := cd.gaps[:0]
	if n < len(cd.gaps) {
		keep = c.kept[:0]
	}
	for _, g := range cd.gaps[:n] {
		if !g.ended {
			keep = append(keep, g)
			continue
		}
		f := c.follows.at(g.follow)
		s := c.subjects.at(f.subject)
		if s.bound && g.pos.Seq > s.last && s.epoch == g.pos.Epoch && c.isComing(s, g.pos.Seq) {
			keep = append(keep, g) // a RESET moved it beyond the core's head
			continue
		}
		if g.kind == resume {
			c.counts.Continuous++
			c.send(slot, &nackproto.Continuous{Alias: nackproto.AliasOf(s.id), Seq: g.pos.Seq})
			g.kind = missed
		}
		if scans {
			keep = append(keep, g)
			continue
		}
		f.sub &^= gapped
	}
	if n < len(cd.gaps) {
		// Behind the others, so that every gap gets its turn.
		cd.gaps = append(cd.gaps[n:], keep...)
		c.kept = keep
		return
	}
	if cd.gaps = keep; len(keep) == 0 {
		cd.gaps = nil
	}
}

// isComing reports whether the message of seq is one that the loop has not come to.
func (c *Core) isComing(s *subjectState, seq stream.Seq) bool {
	top, ok := c.source.Top(s.name)
	return ok && top.Last.Epoch == s.epoch && top.First <= seq && top.Index > c.head
}
