package session

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// A startKind says how the streams of a new subscription begin.
type startKind uint8

const (
	startLive    startKind = iota
	startLast              // with the newest message
	startHistory           // with the newest count
	startIndex             // after an index
	startOther             // the index was of another cluster
	startLapped            // the cache lapped the session at index
)

// A start is a subscription that is still to begin on subjects that the log
// knows already. A subject whose message comes before the start reaches it
// begins at that moment, by the same rule: see Core.begin.
type start struct {
	kind   startKind
	filter stream.Filter
	sub    uint64
	count  uint64
	index  stream.Index
	keep   bool             // startLapped: it was the loop that was lapped
	from   stream.SubjectID // where the search goes on
}

// subscribe handles SUBSCRIBE. False: this member is behind the client, and the
// frame is to come again. PROTOCOL.md §6.2, §6.6.
func (c *Core) subscribe(slot uint32, f *nackproto.Subscribe) bool {
	r := c.slab.at(slot)
	filter, err := stream.ParseFilter(f.Filter)
	code := nackproto.SubscribeOK
	rights := Rights(nil)
	if r.flags&hasCold != 0 {
		rights = c.cold[slot].rights
	}
	switch {
	case err != nil, !filter.IsExact() && strings.Count(f.Filter, "/") > nackproto.MaxLevels:
		code = nackproto.SubscribeBadFilter
	case rights != nil && !rights.MaySubscribe(filter):
		code = nackproto.SubscribeDenied
	case c.hasSub(slot, f.Sub):
		c.close(slot, nackproto.CloseProtocol, fmt.Sprintf("subscription %d exists", f.Sub))
		return true
	case r.flags&scanning != 0 && c.manyEnded(slot, filter):
		c.chill(slot).crowded = true
		c.pause(slot)
		return false
	case int(r.subs) >= c.limits.MaxSubscriptions, int(r.filters)+filterCost(filter) > c.limits.FilterBytes:
		code = nackproto.SubscribeTooMany
	}
	if code != nackproto.SubscribeOK {
		c.send(slot, &nackproto.Subscribed{Sub: f.Sub, Code: code})
		return true
	}
	for _, m := range f.Start.Marks {
		if !filter.Match(m.Subject) {
			c.close(slot, nackproto.CloseProtocol, "a mark is not of its filter")
			return true
		}
	}
	if c.isAhead(slot, &f.Start) {
		return false
	}
	st := start{filter: filter, sub: f.Sub, count: f.Start.Count, index: f.Start.Index}
	begins := c.head
	switch f.Start.Kind {
	case nackproto.StartLast:
		st.kind = startLast
	case nackproto.StartHistory:
		st.kind = startHistory
	case nackproto.StartIndex:
		st.kind, begins = startIndex, f.Start.Index
		if f.Start.Cluster != c.cluster {
			st.kind, begins = startOther, 0
		}
	}
	c.send(slot, &nackproto.Subscribed{Sub: f.Sub, Index: begins})
	r.subs++
	if filter.IsExact() {
		r.filters += uint32(filterCost(filter))
		c.subscribeExact(slot, &st, f.Start.Marks)
	} else {
		c.subscribeWild(slot, &st, f.Start.Marks)
	}
	return true
}

// manyEnded reports whether a session keeps as much of subscriptions that ended
// while it scans as it may have in all. A new one then waits for the scan's end.
func (c *Core) manyEnded(slot uint32, next stream.Filter) bool {
	r := c.slab.at(slot)
	count, bytes := 0, 0
	if r.flags&hasCold != 0 {
		count = len(c.cold[slot].ghosts)
	}
	for i := r.wilds; i != 0; i = c.wilds.at(i).more {
		if w := c.wilds.at(i); w.gone {
			count++
			bytes += filterCost(c.filters.at(w.filter).text)
		}
	}
	return count >= c.limits.MaxSubscriptions || bytes > 0 && int(r.filters)+filterCost(next) > c.limits.FilterBytes
}

// isAhead reports whether a start asks for what this member does not have yet.
// The session is then not read until it has, or the wait is over.
func (c *Core) isAhead(slot uint32, s *nackproto.Start) bool {
	ahead := s.Kind == nackproto.StartIndex && s.Cluster == c.cluster && s.Index > c.head
	var of stream.Subject
	for i := 0; i < len(s.Marks) && !ahead; i++ {
		m := &s.Marks[i]
		c.steps--
		top, ok := c.source.Top(m.Subject)
		ahead = ok && top.Last.Epoch == m.Position.Epoch && m.Position.Seq > top.Last.Seq
		if ahead && len(m.Subject) <= maxNamed {
			of = m.Subject
		}
	}
	cd := (*cold)(nil)
	if c.slab.at(slot).flags&hasCold != 0 {
		cd = c.cold[slot]
	}
	if !ahead {
		if cd != nil {
			cd.aheadUntil, cd.aheadOf = 0, ""
		}
		return false
	}
	cd = c.chill(slot)
	cd.aheadOf = of
	if cd.aheadUntil == 0 {
		cd.aheadUntil = c.now + inTicks(c.limits.BehindTimeout)
		c.ahead = append(c.ahead, c.slab.id(slot))
		c.wake(slot, cd.aheadUntil)
	}
	c.pause(slot)
	return true
}

// maxNamed bounds the name of a subject in the reason of a CLOSE, so that what
// stands behind it is not cut off.
const maxNamed = 160

// closeBehind sends a client away that is ahead of this member. The reason says
// up to where this member has the subject that shows it, if one does.
// PROTOCOL.md §6.6.
func (c *Core) closeBehind(slot uint32, of stream.Subject) {
	c.counts.Behind++
	reason := "the server's log is behind the index that the client reached"
	if top, ok := c.source.Top(of); ok && of != "" && len(of) <= maxNamed {
		reason = fmt.Sprintf("the server has %s only up to %v", of, top.Last)
	}
	c.close(slot, nackproto.CloseBehind, reason)
}

// retryAhead has those who are ahead ask again.
func (c *Core) retryAhead() {
	ids := c.ahead
	c.ahead = nil
	for i, id := range ids {
		if c.steps <= 0 { // a frame may hold many marks
			c.ahead = append(ids[i:], c.ahead...)
			return
		}
		slot, r := c.slab.find(id)
		if r == nil || r.flags&closing != 0 {
			continue
		}
		cd := c.cold[slot]
		until := cd.aheadUntil
		cd.aheadUntil = 0
		c.unpause(slot)
		if cd.aheadUntil != 0 {
			cd.aheadUntil = until
		}
	}
}

// subscribeExact begins a subscription by name.
func (c *Core) subscribeExact(slot uint32, st *start, marks []nackproto.Mark) {
	r := c.slab.at(slot)
	si := c.makeSubject(stream.Subject(st.filter))
	fi := uint32(0)
	if r.count > 0 {
		fi = c.findFollow(slot, si)
	}
	followed := fi != 0
	if !followed {
		fi = c.addFollow(slot, si)
	}
	f := c.follows.at(fi)
	if ghost := c.dropGhost(slot, fi); f.sub&exact != 0 && !ghost {
		c.nameTwin(slot, fi, st.sub)
	} else {
		f.sub |= exact
		c.nameFollow(slot, fi, st.sub)
		if followed && !ghost {
			f.sub |= late
		}
	}
	if len(marks) > 0 {
		c.resume(slot, fi, marks[0].Position)
		return
	}
	if followed {
		return
	}
	top, ok := c.source.Top(stream.Subject(st.filter))
	if !ok {
		return
	}
	c.begin(slot, fi, st, &top)
	if r.flags&scanning != 0 && f.sub&gapped == 0 {
		// The scan is at older messages, which this subscription does not want.
		at := top.Last
		if top.Index > c.head {
			at.Seq = top.First - 1
		}
		c.openGap(slot, fi, missed, at, 0).from = c.head
	}
}

// dropGhost has a follow whose exact subscription ended be one that anybody may
// name again. It reports whether it was one.
func (c *Core) dropGhost(slot, fi uint32) bool {
	if c.slab.at(slot).flags&hasCold == 0 {
		return false
	}
	cd := c.cold[slot]
	i := slices.Index(cd.ghosts, fi)
	if i < 0 {
		return false
	}
	cd.ghosts = slices.Delete(cd.ghosts, i, i+1)
	c.follows.at(fi).sub &^= subMask
	return true
}

// subscribeWild begins a subscription with a wildcard filter.
func (c *Core) subscribeWild(slot uint32, st *start, marks []nackproto.Mark) {
	wi := c.addWild(slot, st.filter, st.sub)
	r := c.slab.at(slot)
	for i := range marks {
		m := &marks[i]
		c.steps--
		top, ok := c.source.Top(m.Subject)
		if !ok {
			c.send(slot, &nackproto.Reset{Reason: nackproto.Other, Name: m.Subject})
			c.counts.Resets++
			continue
		}
		si := c.stateOf(m.Subject, top.ID, top.Last.Epoch)
		if r.flags&closing != 0 || si == 0 {
			return // over the limit of subjects
		}
		c.learn(si, top)
		if fi := c.findFollow(slot, si); fi != 0 {
			c.resume(slot, fi, m.Position)
		}
	}
	switch {
	case st.kind == startIndex && st.index >= c.source.Tail():
		c.goBack(slot, wi, st.index)
	case st.kind != startLive:
		cd := c.chill(slot)
		cd.starts = append(cd.starts, *st)
		c.enqueue(slot)
	}
	if r.flags&scanning != 0 {
		cd := c.chill(slot)
		cd.fresh = max(cd.fresh, c.wilds.at(wi).done)
	}
}

// addWildFollow has a session follow a subject by a wildcard subscription.
func (c *Core) addWildFollow(slot, si uint32) {
	r := c.slab.at(slot)
	if r.flags&closing != 0 {
		return
	}
	if int(r.count) >= c.limits.MaxSubjects {
		c.close(slot, nackproto.CloseFlood, fmt.Sprintf("more than %d subjects", c.limits.MaxSubjects))
		return
	}
	fi := c.addFollow(slot, si)
	if r.flags&hasCold == 0 {
		return
	}
	cd := c.cold[slot]
	if len(cd.starts) == 0 {
		return
	}
	name := c.subjects.at(si).name
	sub := uint64(0)
	for i := r.wilds; i != 0; i = c.wilds.at(i).more {
		if w := c.wilds.at(i); !w.gone && c.filters.at(w.filter).text.Match(name) {
			sub = w.sub // the oldest one decides
		}
	}
	top, ok := c.source.Top(name)
	var by *start
	for i := range cd.starts {
		st := &cd.starts[i]
		switch {
		case !st.filter.Match(name):
		case st.kind == startLapped && top.Index > st.index:
			by = st // a loss is told, whatever the subscription was to begin with
		case st.sub == sub && by == nil:
			by = st
		}
	}
	if ok && by != nil {
		c.begin(slot, fi, by, &top)
	}
}

// begin sets a new stream back to where its subscription begins.
func (c *Core) begin(slot, fi uint32, st *start, top *stream.Top) {
	c.learn(c.follows.at(fi).subject, *top)
	at := stream.Position{Epoch: top.Last.Epoch, Seq: top.First - 1}
	cached := stream.Seq(0)
	if top.First <= top.Last.Seq {
		cached = top.Last.Seq - at.Seq
	}
	switch st.kind {
	case startLast:
		if top.Index <= c.head { // else it comes live
			c.openGap(slot, fi, missed, top.Last, top.Index).state = true
		}
	case startHistory:
		if cached > 0 && st.count > 0 {
			at.Seq = top.Last.Seq - stream.Seq(min(uint64(cached), st.count))
			g := c.openGap(slot, fi, beginGap, at, 0)
			if top.Index <= c.head {
				g.spare = top.Last.Seq
			}
		}
	case startIndex:
		if top.Index <= st.index {
			return
		}
		if st.index < c.source.Tail() {
			at.Seq = 0 // fails unless nothing was lost, and so tells
		}
		c.openGap(slot, fi, indexGap, at, 0).from = st.index
	case startOther:
		at.Epoch = ^at.Epoch // whatever it was, it is another
		c.openGap(slot, fi, indexGap, at, 0)
	case startLapped:
		if top.Index > st.index {
			at.Seq = 0
			g := c.openGap(slot, fi, missed, at, 0)
			g.from, g.keep = st.index, st.keep
		}
	}
}

// resume takes up a mark. PROTOCOL.md §6.6.
func (c *Core) resume(slot, fi uint32, mark stream.Position) {
	f := c.follows.at(fi)
	s := c.subjects.at(f.subject)
	if f.sub&announced == 0 && s.bound && s.epoch == mark.Epoch {
		cd := c.chill(slot)
		cd.out = appendSubject(cd.out, s, mark.Seq, max(s.last, mark.Seq))
		f.sub |= announced
	} else {
		f.sub |= moved
	}
	g := c.openGap(slot, fi, resume, mark, 0)
	if !g.begun {
		g.pos, g.hint, g.from, g.state = mark, 0, 0, false // whatever another subscription was to begin with
	}
}

// turnOfStarts goes on with the beginnings of subscriptions: it looks for the
// subjects that they match, until the turn's steps are used up.
func (c *Core) turnOfStarts(slot uint32, cd *cold) {
	const openAtOnce = 1024
	for len(cd.starts) > 0 && len(cd.gaps) < openAtOnce && c.steps > 0 {
		st := &cd.starts[0]
		c.steps--
		next, more := c.source.Subjects(st.filter, st.from, func(name stream.Subject, top stream.Top) bool {
			needs := true
			if st.kind == startIndex || st.kind == startLapped {
				needs = top.Index > st.index
			}
			if needs {
				c.stateOf(name, top.ID, top.Last.Epoch)
				if si := c.names[name]; si != 0 {
					c.learn(si, top)
				}
			}
			return c.slab.at(slot).flags&closing == 0 && c.steps > 0
		})
		if next > st.from {
			c.steps -= int(next - st.from)
		}
		if c.slab.at(slot).flags&closing != 0 {
			return
		}
		if st.from = next; more {
			continue
		}
		if cd.starts = cd.starts[1:]; len(cd.starts) == 0 {
			cd.starts = nil
		}
	}
}

// inherit has a stream that began while the session scans stay where it is, if it
// was a wildcard subscription that ended just now that decided where that is: no
// earlier one that ended has a say.
func (c *Core) inherit(slot, fi, ended uint32) {
	f := c.follows.at(fi)
	s := c.subjects.at(f.subject)
	owner, others := uint32(0), false
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		w := c.wilds.at(i)
		switch {
		case !c.filters.at(w.filter).text.Match(s.name):
		case w.gone && i != ended:
			others = true
		default:
			owner = i
		}
	}
	if owner != ended {
		return
	}
	if !others {
		f.sub &^= anew
		return
	}
	// Two that ended match, and only one has a say: the stream's own chain tells
	// them apart.
	top, ok := c.source.Top(s.name)
	if !ok || f.sub&gapped != 0 || f.sub&(exact|late) == exact {
		return
	}
	from := max(c.slab.at(slot).cursor, c.wilds.at(ended).done)
	at := stream.Position{Epoch: top.Last.Epoch}
	if c.source.Tail() <= from {
		at.Seq = top.First - 1 // nothing behind from was lost
	}
	c.openGap(slot, fi, missed, at, 0).from = from
}

// unsubscribe handles UNSUBSCRIBE. PROTOCOL.md §6.2.
func (c *Core) unsubscribe(slot uint32, u *nackproto.Unsubscribe) {
	if !c.hasSub(slot, u.Sub) {
		return
	}
	r := c.slab.at(slot)
	r.flags |= survey
	r.subs--
	scans := r.flags&scanning != 0
	fi := c.findName(slot, u.Sub)
	if fi != 0 {
		r.filters -= uint32(len(c.subjects.at(c.follows.at(fi).subject).name))
	}
	if fi != 0 && c.dropName(slot, fi, u.Sub) {
		f := c.follows.at(fi)
		f.sub &^= subMask
		if scans && c.matchesWild(slot, c.subjects.at(f.subject).name) {
			f.sub |= hasName // of nobody: see endScan
			cd := c.chill(slot)
			cd.ghosts = append(cd.ghosts, fi)
		} else {
			f.sub &^= exact | late
		}
	}
	ended := uint32(0) // the wildcard subscription, if it keeps streams where they are
	for i := r.wilds; i != 0; i = c.wilds.at(i).more {
		if w := c.wilds.at(i); !w.gone && w.sub == u.Sub {
			ended = i
		}
	}
	c.dropWilds(slot, func(w *wild) bool {
		if w.gone || w.sub != u.Sub {
			return false
		}
		w.gone = scans
		return !w.gone
	})
	if r.flags&hasCold != 0 {
		cd := c.cold[slot]
		cd.ghosts = slices.DeleteFunc(cd.ghosts, func(fi uint32) bool {
			f := c.follows.at(fi)
			if c.matchesWild(slot, c.subjects.at(f.subject).name) {
				return false
			}
			f.sub &^= exact | late | subMask
			return true
		})
		cd.starts = slices.DeleteFunc(cd.starts, func(st start) bool { return st.kind != startLapped && st.sub == u.Sub })
	}
	c.startWalk(slot, walk{kind: walkEnded, wild: ended})
}
