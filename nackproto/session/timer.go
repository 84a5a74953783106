package session

import (
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// wake asks that the record of slot be looked at at a time, or earlier. There is
// no timer for a session: one number each, and Tick reads them all.
func (c *Core) wake(slot uint32, at ticks) {
	if due := &c.slab.due[slot]; *due == 0 || at < *due {
		*due = at
	}
}

// Tick lets time pass. The loop calls it some times a second; each call looks at
// a share of the sessions, so that each is looked at once a second.
func (c *Core) Tick(now int64) {
	c.setNow(now)
	c.logTime()
	const second = 1000 / perTick
	elapsed := c.now - c.scanned
	if elapsed == 0 {
		return
	}
	c.scanned = c.now
	used := c.slab.used
	share := used
	if elapsed < second {
		share = (used*uint32(elapsed) + second - 1) / second
	}
	for range min(share, max(used, 1)-1) {
		if c.scanAt++; c.scanAt >= used {
			c.scanAt = 1
		}
		if due := c.slab.due[c.scanAt]; due != 0 && due <= c.now {
			c.slab.due[c.scanAt] = 0
			c.look(c.scanAt)
		}
	}
}

// look does what is due of one session and asks to be called when the next thing
// is.
func (c *Core) look(slot uint32) {
	r := c.slab.at(slot)
	if r.flags&inUse == 0 {
		return
	}
	cd := (*cold)(nil)
	if r.flags&hasCold != 0 {
		cd = c.cold[slot]
	}
	switch {
	case r.flags&closing != 0:
		if c.now >= cd.closeAt {
			c.end(slot)
			return
		}
		c.wake(slot, cd.closeAt)
		return
	case r.flags&greeted == 0:
		if due := r.wrote + inTicks(c.limits.HelloTimeout); c.now < due {
			c.wake(slot, due)
			return
		}
		c.close(slot, nackproto.CloseHelloTimeout, "no HELLO came")
		return
	}
	if r.flags&blocked != 0 {
		if due := r.wrote + inTicks(c.limits.StuckTimeout); c.now < due {
			c.wake(slot, due)
		} else {
			c.close(slot, nackproto.CloseSlow, "the connection took no bytes for too long")
			return
		}
	}
	if cd != nil && cd.inSince != 0 && r.flags&paused == 0 {
		if due := c.frameDue(cd, len(cd.in)); c.now < due {
			c.wake(slot, due)
		} else {
			c.close(slot, nackproto.CloseFlood, "a frame was begun and did not come whole")
			return
		}
	}
	if cd != nil && cd.aheadUntil != 0 {
		if c.now < cd.aheadUntil {
			c.wake(slot, cd.aheadUntil)
		} else {
			c.closeBehind(slot, cd.aheadOf)
			return
		}
	}
	if cd != nil && cd.pub != nil {
		if due := c.expirePublishes(slot, cd.pub); due != 0 {
			c.wake(slot, due)
		}
	}
	c.beat(slot)
}

// beat sends the heartbeat if it is due. PROTOCOL.md §6.7.
func (c *Core) beat(slot uint32) {
	r := c.slab.at(slot)
	if due := r.beat + inTicks(c.limits.Heartbeat); c.now < due {
		c.wake(slot, due)
		return
	}
	if r.flags&blocked != 0 || c.walking(slot) || !c.honest(slot) {
		c.wake(slot, c.now+1000/perTick)
		return
	}
	r.beat = c.now
	c.wake(slot, c.now+inTicks(c.limits.Heartbeat))
	upto := c.reached(slot)
	c.startWalk(slot, walk{kind: walkBeat, upto: upto, all: r.flags&survey != 0 && upto == c.head, beat: &nackproto.Heartbeat{}})
}

// beatOf puts the top of one subject into the heartbeat, if it is news.
func (c *Core) beatOf(slot uint32, cd *cold, f *follow) {
	r, w := c.slab.at(slot), &cd.walk
	s := c.subjects.at(f.subject)
	if c.unsure(s) {
		if top, ok := c.source.Top(s.name); ok && s.bound && top.Last.Epoch == s.epoch {
			c.learn(f.subject, top)
		}
	}
	if f.sub&gapped != 0 || s.index > w.upto || s.last == 0 {
		return // what comes next tells
	}
	if s.index <= r.beatIndex && (!w.all || f.sub&announced != 0) {
		return
	}
	if f.sub&announced == 0 {
		cd.out = appendSubject(cd.out, s, s.last, s.last)
		f.sub |= announced
	}
	h := w.beat
	h.Tops = append(h.Tops, nackproto.Top{Alias: nackproto.AliasOf(s.id), Seq: s.last})
	if len(h.Tops) == nackproto.MaxHeartbeatTops {
		h.Stale, h.Index = c.stale, r.beatIndex
		c.send(slot, h)
		h.Tops = h.Tops[:0]
	}
}

// endBeat sends a heartbeat whose tops are there.
func (c *Core) endBeat(slot uint32, w *walk) {
	r := c.slab.at(slot)
	w.beat.Stale, w.beat.Index = c.stale, w.upto
	c.send(slot, w.beat)
	r.beatIndex = w.upto
	if w.all {
		r.flags &^= survey
	}
}

// reached gives the index up to which a session has everything, or was told that
// it is lost. It never falls.
func (c *Core) reached(slot uint32) stream.Index {
	r := c.slab.at(slot)
	at := c.head
	if r.flags&scanning != 0 {
		at = min(at, r.cursor)
	}
	if r.flags&hasCold != 0 {
		if cd := c.cold[slot]; len(cd.gaps) > 0 || len(cd.starts) > 0 {
			at = r.beatIndex
		}
	}
	return max(at, r.beatIndex)
}

// honest reports whether all up to the index that the last heartbeat told was
// written. A subscription that began behind it may still be on its way; its
// messages are signs of life meanwhile.
func (c *Core) honest(slot uint32) bool {
	r := c.slab.at(slot)
	if r.flags&scanning != 0 && r.cursor < r.beatIndex {
		return false
	}
	if r.flags&hasCold == 0 {
		return true
	}
	cd := c.cold[slot]
	for i := range cd.starts {
		if k := cd.starts[i].kind; k == startIndex || k == startOther {
			return false
		}
	}
	for i := range cd.gaps {
		if k := cd.gaps[i].kind; k == indexGap || k == resume {
			return false
		}
	}
	return true
}

// SetStale says whether this member is cut off from the majority; heartbeats
// tell it. PROTOCOL.md §6.7; the node does not say so yet, §6.12.
func (c *Core) SetStale(stale bool) { c.stale = stale }

// Drain asks all clients to be gone within some time; whoever is still there
// then is closed. PROTOCOL.md §6.10. It sends nothing to those who come later
// but the same.
func (c *Core) Drain(within time.Duration, now int64) {
	c.setNow(now)
	c.drainUntil = c.now + inTicks(within)
	for slot := uint32(1); slot < c.slab.used; slot++ {
		if r := c.slab.at(slot); r.flags&(inUse|greeted|closing) == inUse|greeted {
			c.send(slot, c.drainFrame())
		}
	}
}

func (c *Core) drainFrame() *nackproto.Drain {
	left := time.Duration(0)
	if c.drainUntil > c.now {
		left = time.Duration(c.drainUntil-c.now) * perTick * time.Millisecond
	}
	return &nackproto.Drain{Within: left, Servers: c.servers}
}

// CloseAll closes every session.
func (c *Core) CloseAll(code nackproto.CloseCode, reason string, now int64) {
	c.setNow(now)
	for slot := uint32(1); slot < c.slab.used; slot++ {
		if c.slab.at(slot).flags&inUse != 0 {
			c.close(slot, code, reason)
		}
	}
}
