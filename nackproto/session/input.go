package session

import (
	"errors"
	"fmt"

	"github.com/nackmq/nackmq/nackproto"
)

// Input takes bytes that came from the peer. b is borrowed for the call.
func (c *Core) Input(id ID, b []byte, now int64) {
	c.setNow(now)
	slot, r := c.slab.find(id)
	if r == nil || r.flags&closing != 0 || len(b) == 0 {
		return
	}
	if r.flags&hasCold == 0 || len(c.cold[slot].in) == 0 && r.flags&paused == 0 {
		c.keep(slot, nil, c.take(slot, b))
		return
	}
	cd := c.cold[slot]
	c.partial += len(b)
	cd.in = append(cd.in, b...)
	c.takeKept(slot)
}

// takeKept goes on with the bytes that were kept of a session.
func (c *Core) takeKept(slot uint32) {
	r := c.slab.at(slot)
	if r.flags&(paused|closing) != 0 {
		c.checkPartial(slot)
		return
	}
	cd := c.cold[slot]
	in := cd.in
	rest := c.take(slot, in)
	c.partial -= len(in)
	cd.in = nil
	c.keep(slot, in, rest)
}

// keep keeps the bytes of a frame that did not come whole. in is where they
// were kept before.
func (c *Core) keep(slot uint32, in, rest []byte) {
	r := c.slab.at(slot)
	if len(rest) == 0 || r.flags&closing != 0 {
		if r.flags&hasCold != 0 {
			c.cold[slot].inSince = 0
			if r.flags&closing == 0 && !c.hasWork(slot) {
				c.thaw(slot)
			}
		}
		return
	}
	cd := c.chill(slot)
	if len(rest) < len(in) || cd.inSince == 0 {
		cd.inSince = c.now // another frame begins
		c.wake(slot, c.frameDue(cd, len(rest)))
	}
	if cap(in) > 4*len(rest)+4<<10 {
		in = nil // what was large is gone
	}
	cd.in = append(in[:0], rest...)
	c.partial += len(rest)
	c.checkPartial(slot)
}

// frameDue gives when a frame of which n bytes came must be whole: a slow link
// has a second more for every 4 KiB.
func (c *Core) frameDue(cd *cold, n int) ticks {
	return cd.inSince + inTicks(c.limits.FrameTimeout) + ticks(n>>12)*1000/perTick
}

func (c *Core) checkPartial(slot uint32) {
	if c.partial > c.limits.PartialBytes && len(c.cold[slot].in) > 0 {
		c.close(slot, nackproto.CloseBusy, "too many frames are on their way")
	}
}

// take handles the whole frames at the front of b and gives what is left.
func (c *Core) take(slot uint32, b []byte) []byte {
	r := c.slab.at(slot)
	for len(b) > 0 && r.flags&(closing|paused) == 0 {
		if c.steps <= 0 { // its frames ask for much: each waits for a turn
			c.pause(slot)
			c.enqueue(slot)
			return b
		}
		limit := c.limits.MaxFrame
		if r.flags&greeted == 0 {
			limit = nackproto.HelloLimit
		}
		f, n, err := c.decoder.Decode(b, limit)
		if err == nackproto.ErrIncomplete {
			return b
		}
		if err != nil {
			c.refuse(slot, err)
			return nil
		}
		if !c.handle(slot, f, n) {
			return b // not yet
		}
		b = b[n:]
		if r.flags&hasCold != 0 {
			c.guardOut(slot, c.cold[slot])
		}
	}
	if r.flags&closing != 0 {
		return nil
	}
	return b
}

// refuse closes a session whose peer sent what the protocol forbids.
func (c *Core) refuse(slot uint32, err error) {
	var bad *nackproto.DecodeError
	if errors.As(err, &bad) {
		c.close(slot, bad.Code, bad.Sentence())
		return
	}
	c.close(slot, nackproto.CloseProtocol, err.Error())
}

// handle takes one frame of n bytes. False: it is to come again later, and
// nothing behind it before.
func (c *Core) handle(slot uint32, f nackproto.ClientFrame, n int) bool {
	r := c.slab.at(slot)
	if _, ok := f.(*nackproto.Hello); ok == (r.flags&greeted != 0) {
		if _, ok := f.(*nackproto.Close); ok {
			c.hangUp(slot)
			return true
		}
		c.close(slot, nackproto.CloseProtocol, fmt.Sprintf("%v is not expected now", f.Type()))
		return true
	}
	if c.walking(slot) {
		c.pause(slot)
		return false
	}
	switch f := f.(type) {
	case *nackproto.Hello:
		c.hello(slot, f)
	case *nackproto.Subscribe:
		return c.subscribe(slot, f)
	case *nackproto.Unsubscribe:
		c.unsubscribe(slot, f)
	case *nackproto.Publish:
		c.publish(slot, f)
	case *nackproto.Nack:
		c.nack(slot, f, n)
	case *nackproto.Close:
		c.hangUp(slot)
	default:
		panic(fmt.Sprintf("session: no word on %v from a client", f.Type()))
	}
	return true
}

// hello greets a client. PROTOCOL.md §6.1.
func (c *Core) hello(slot uint32, h *nackproto.Hello) {
	r := c.slab.at(slot)
	version := min(h.Highest, nackproto.MaxVersion)
	if version < max(h.Lowest, nackproto.MinVersion) {
		c.close(slot, nackproto.CloseVersion, fmt.Sprintf("this server speaks versions %d to %d", nackproto.MinVersion, nackproto.MaxVersion))
		return
	}
	var rights Rights
	if c.auth != nil {
		var ok bool
		if rights, ok = c.auth.Connect(h); !ok {
			c.close(slot, nackproto.CloseUnauthorized, "the token is missing, refused or expired")
			return
		}
	}
	r.flags |= greeted
	c.met++
	r.beat = c.now
	c.slab.due[slot] = 0
	c.wake(slot, c.now+inTicks(c.limits.Heartbeat))
	if rights != nil {
		c.chill(slot).rights = rights
	}
	if h.Incarnation != 0 {
		c.chill(slot).pub = &publisher{id: h.Incarnation}
		c.driver.Claim(c.slab.id(slot), h.Incarnation)
	}
	c.send(slot, &nackproto.Welcome{
		Version: version, Cluster: c.cluster, Index: c.head, Heartbeat: c.limits.Heartbeat,
		MaxFrame: c.limits.MaxFrame, MaxUnconfirmed: c.limits.MaxUnconfirmed, MaxSubscriptions: c.limits.MaxSubscriptions,
		MaxAliases: c.limits.MaxAliases, Node: c.node, Servers: c.servers,
	})
	if c.drainUntil != 0 {
		c.send(slot, c.drainFrame())
	}
}

// pause has the driver read no more from a session, unpause has it go on.
func (c *Core) pause(slot uint32) {
	if r := c.slab.at(slot); r.flags&paused == 0 {
		c.chill(slot)
		r.flags |= paused
		c.driver.PauseRead(c.slab.id(slot))
	}
}

func (c *Core) unpause(slot uint32) {
	r := c.slab.at(slot)
	if r.flags&paused == 0 || r.flags&closing != 0 {
		return
	}
	r.flags &^= paused
	if len(c.cold[slot].in) > 0 {
		c.takeKept(slot)
	}
	if r.flags&paused == 0 {
		c.driver.ResumeRead(c.slab.id(slot))
	}
}
