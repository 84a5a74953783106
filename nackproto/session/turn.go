package session

import (
	"time"

	"github.com/nackmq/nackmq/nackproto"
)

// A closing session has so long to take its CLOSE.
const closeWithin = 2 * time.Second

// serve gives a session its turn: first what waits for it, then about turnBytes
// of what it is behind with.
func (c *Core) serve(slot uint32) {
	r := c.slab.at(slot)
	if r.flags&blocked != 0 {
		return // its turn comes when there is room
	}
	if r.flags&hasCold == 0 {
		r.flags &^= owes
		if r.flags&scanning == 0 {
			return
		}
	}
	cd := c.chill(slot)
	if r.flags&owes != 0 {
		c.confirms(slot, cd)
	}
	if r.flags&paused != 0 && c.mayGoOn(cd) {
		c.unpause(slot)
	}
	if !c.writeOut(slot, cd) {
		c.guardOut(slot, cd)
		return
	}
	if r.flags&closing != 0 {
		c.end(slot)
		return
	}
	switch {
	case cd.walk.kind != noWalk:
		c.turnOfWalk(slot, cd)
	case r.flags&lapsed != 0:
		r.flags &^= lapsed
		c.startWalk(slot, walk{kind: walkLapsed, from: r.cursor, upto: c.head, loop: true})
	case len(cd.starts) > 0:
		c.turnOfStarts(slot, cd)
	}
	if r.flags&(blocked|closing|lapsed) == 0 && len(cd.out) == 0 && cd.walk.kind == noWalk {
		c.catchUp(slot, cd)
	}
	if r.flags&inUse != 0 && r.flags&blocked == 0 {
		c.ready(slot)
	}
}

// catchUp gives a turn to the gaps and to the scan, one after the other if there
// are both.
func (c *Core) catchUp(slot uint32, cd *cold) {
	r := c.slab.at(slot)
	c.steps = max(c.steps, c.pace.turn/4) // also if subscriptions that begin took all
	scans := r.flags&scanning != 0
	if len(cd.gaps) > 0 && (!scans || r.flags&turnGaps != 0) {
		r.flags &^= turnGaps
		c.turnOfGaps(slot, cd)
		return
	}
	if scans {
		r.flags |= turnGaps
		c.turnOfScan(slot, cd)
	}
}

// mayGoOn reports whether the frames of a paused session may be taken again.
func (c *Core) mayGoOn(cd *cold) bool {
	return cd.aheadUntil == 0 && !cd.crowded && cd.walk.kind == noWalk && c.waiting <= c.limits.WaitingBytes && c.mayRead(cd.pub)
}

// hasWork reports whether a session wants another turn.
func (c *Core) hasWork(slot uint32) bool {
	r := c.slab.at(slot)
	if r.flags&(scanning|owes|closing) != 0 {
		return true
	}
	if r.flags&hasCold == 0 {
		return false
	}
	cd := c.cold[slot]
	return len(cd.tail) > 0 || len(cd.out) > 0 || len(cd.gaps) > 0 || len(cd.starts) > 0 || cd.walk.kind != noWalk ||
		r.flags&paused != 0 && len(cd.in) > 0 && c.mayGoOn(cd)
}

// guardOut closes a session that asks and does not read the answers. Whether it
// takes a large message fast enough is not judged here, but by the stuck timer.
func (c *Core) guardOut(slot uint32, cd *cold) {
	if len(cd.out) > c.limits.ControlBytes && (c.slab.at(slot).flags&blocked != 0 || !c.writeOut(slot, cd) && len(cd.out) > c.limits.ControlBytes) {
		c.close(slot, nackproto.CloseSlow, "the answers were not read")
	}
}

// close ends a session with a CLOSE. Nothing of it is forgotten before its next
// turn, so this may be called anywhere.
func (c *Core) close(slot uint32, code nackproto.CloseCode, reason string) {
	r := c.slab.at(slot)
	if r.flags&closing != 0 {
		return
	}
	cd := c.chill(slot)
	cd.out = (&nackproto.Close{Code: code, Reason: reason}).AppendTo(cd.out)
	c.closeSoon(slot, cd)
}

// hangUp ends a session whose peer sent CLOSE. It is answered nothing.
func (c *Core) hangUp(slot uint32) {
	cd := c.chill(slot)
	cd.tail, cd.out = nil, nil
	c.closeSoon(slot, cd)
}

func (c *Core) closeSoon(slot uint32, cd *cold) {
	c.slab.at(slot).flags |= closing
	cd.closeAt = c.now + inTicks(closeWithin)
	c.wake(slot, cd.closeAt)
	c.enqueue(slot)
}

// end forgets a session and has the driver close the connection.
func (c *Core) end(slot uint32) {
	c.driver.Close(c.slab.id(slot))
	c.forget(slot)
}
