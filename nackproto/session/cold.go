package session

import (
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// A cold is what only some sessions need, and most of them for a short time: a
// session that is caught up and silent has none.
type cold struct {
	in      []byte // the beginning of a frame, or frames of a session that is paused
	inSince ticks  // when the first byte of the frame in in came
	tail    []byte // of a write that was cut, what the log does not hold: it goes before out, and is never more than one write's
	out     []byte // answers and what else goes before messages
	flight  []byte // what the driver has while it is Later

	gaps      []gap
	starts    []start      // subscriptions whose beginning is not over
	exactDone stream.Index // while scanning: exact subscriptions were served up to here
	fresh     stream.Index // while scanning: above it every subscription wants everything
	names     []otherName
	walk      walk
	anew      bool      // there are follows that began while the session scans
	ghosts    []uint32  // follows whose exact subscription ended while the session scans
	nacks     [4]nacked // the latest that were answered
	nackCount int       // since nackReset
	nackReset ticks

	crowded    bool  // a SUBSCRIBE waits until the scan is over
	aheadUntil ticks // while the client is ahead of this member: when that is over
	// aheadOf is the subject that shows it; empty: none does, or its name is too
	// long for a reason.
	aheadOf stream.Subject

	rights  Rights
	pub     *publisher
	closeAt ticks // when a closing session is ended at the latest
}

// nacked is a NACK that was answered.
type nacked struct {
	subject uint32
	pos     stream.Position
	at      ticks
}

// chill gives the cold part of a session, making it if need be.
func (c *Core) chill(slot uint32) *cold {
	r := c.slab.at(slot)
	if r.flags&hasCold == 0 {
		r.flags |= hasCold
		c.cold[slot] = &cold{}
	}
	return c.cold[slot]
}

// thaw drops the cold part of a session if nothing is in it.
func (c *Core) thaw(slot uint32) {
	r := c.slab.at(slot)
	if r.flags&hasCold == 0 || r.flags&(scanning|paused|inFlight|closing) != 0 {
		return
	}
	cd := c.cold[slot]
	if len(cd.in) > 0 || len(cd.tail) > 0 || len(cd.out) > 0 || len(cd.gaps) > 0 || len(cd.starts) > 0 || len(cd.names) > 0 || cd.walk.kind != noWalk || cd.aheadUntil != 0 || cd.rights != nil || cd.pub != nil {
		return
	}
	for _, n := range cd.nacks {
		if n.subject != 0 && c.now-n.at < inTicks(c.limits.NackLinger) {
			return
		}
	}
	r.flags &^= hasCold
	delete(c.cold, slot)
}

// send puts a frame behind the others that wait; the session's next turn hands
// them to the driver.
func (c *Core) send(slot uint32, f nackproto.Frame) {
	cd := c.chill(slot)
	cd.out = f.AppendTo(cd.out)
	c.enqueue(slot)
}
