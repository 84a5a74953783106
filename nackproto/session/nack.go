package session

import (
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// nackWindow is over how long NACKs are counted against the limit.
const nackWindow = 10000 / perTick

// nack sets the session back on one subject. PROTOCOL.md §6.5.
func (c *Core) nack(slot uint32, f *nackproto.Nack, n int) {
	c.counts.Nacks++
	c.counts.NackBytes += uint64(n)
	cd := c.chill(slot)
	if c.now-cd.nackReset > nackWindow {
		cd.nackReset, cd.nackCount = c.now, 0
	}
	if cd.nackCount++; cd.nackCount > c.limits.NackRate*nackWindow*perTick/1000 {
		c.close(slot, nackproto.CloseFlood, "too many NACKs")
		return
	}
	fi := c.followOf(slot, f.Alias)
	if fi == 0 {
		return // what an UNSUBSCRIBE ended, or the log forgot, may still be asked for
	}
	si := c.follows.at(fi).subject
	at := stream.Position{Epoch: f.Epoch, Seq: f.After}
	for i := range cd.nacks {
		if o := &cd.nacks[i]; o.subject == si && o.pos == at && c.now-o.at < inTicks(c.limits.NackLinger) {
			return
		}
	}
	s := c.subjects.at(si)
	if s.epoch == f.Epoch && f.After > s.last && s.last != 0 {
		return // ahead
	}
	copy(cd.nacks[1:], cd.nacks[:])
	cd.nacks[0] = nacked{subject: si, pos: at, at: c.now}
	c.openGap(slot, fi, nackGap, at, 0)
	c.follows.at(fi).sub |= moved
}

// followOf gives the follow of a session on the subject that has an alias now.
func (c *Core) followOf(slot uint32, a nackproto.Alias) uint32 {
	id := uint64(a - 1)
	if p := id / boundPage; p >= uint64(len(c.bound)) || c.bound[p] == nil {
		return 0
	}
	si := c.bound[id/boundPage][id%boundPage].subject
	if si == 0 {
		return 0
	}
	return c.findFollow(slot, si)
}
