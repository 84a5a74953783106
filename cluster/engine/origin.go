package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// origin keeps the batches of this member until they are applied here, in the
// order of their numbers.
type origin struct {
	waiting []*Batch // proposed or to be proposed, oldest first
	next    int      // index into waiting of the first that the leader was not given
	bytes   int      // of their entries
	moved   time.Duration
	freed   int64 // of what is done with, since PollWant told it
}

func (o *origin) add(b *Batch) {
	o.waiting = append(o.waiting, b)
	o.bytes += len(b.data)
}

// proposal gives the next entry for the leader, or nil. Raft keeps what it is
// given, and the leader writes its time into it, so what is proposed again is a
// copy.
func (o *origin) proposal() (b *Batch, data []byte) {
	if o.next == len(o.waiting) {
		return nil, nil
	}
	b = o.waiting[o.next]
	if b.proposed {
		return b, slices.Clone(b.data)
	}
	return b, b.data
}

func (o *origin) wasProposed() {
	o.waiting[o.next].proposed = true
	o.next++
}

// restart begins to propose again from the oldest.
func (o *origin) restart(now time.Duration) {
	o.next, o.moved = 0, now
}

// settle answers those who wait for the batch that was applied. One that was not
// accepted had been applied before, or comes again in its turn. But the oldest is
// the next by all that was applied here, and nothing else of this life can be: if
// it is otherwise then this life was lived before, and its numbers are used up.
func (o *origin) settle(a *stream.Applied, now time.Duration) (*Batch, error) {
	oldest := len(o.waiting) > 0 && o.waiting[0].Origin == a.Origin
	if oldest != a.Accepted {
		return nil, fmt.Errorf("engine: the log has batches of life %d of this member already: node.json is older than the log: put back the one that belongs to it", a.Origin.Life)
	}
	if !oldest {
		return nil, nil
	}
	b := o.waiting[0]
	o.waiting[0] = nil
	o.waiting = o.waiting[1:]
	o.next = max(o.next-1, 0)
	o.bytes -= len(b.data)
	o.freed += b.cost
	o.moved = now
	for i, done := range b.Dones {
		done(a.Places[i], broker.Refusal(a.Places[i].Outcome))
	}
	return b, nil
}

// abandon answers all who wait with err. Their batches are still proposed, unless
// the engine has stopped: numbers must not be left out.
func (o *origin) abandon(err error) {
	for _, b := range o.waiting {
		b.fail(err)
	}
	if errors.Is(err, broker.ErrStopped) {
		o.waiting, o.next = nil, 0
	}
}

// fail answers all who wait for b.
func (b *Batch) fail(err error) {
	for i, done := range b.Dones {
		done(stream.Place{}, err)
		b.Dones[i] = nil
	}
	b.Dones = nil
}
