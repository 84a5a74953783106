package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// Done is called once with what became of a publication.
type Done func(stream.Place, error)

// itemCost is what a waiting publication costs in memory beside its bytes.
const itemCost = 64

// A Queue packs publications into batches, in the order in which they come. It
// copies their bytes, so what was given to Add may be used again. It has no
// lock: its owner serializes, since publishers add to it and the engine's driver
// takes from it.
type Queue struct {
	limitBytes int64
	origin     stream.Origin // of the next batch
	open       *Batch        // the one being packed, nil if none is
	full       []*Batch      // closed ones, oldest first
	bytes      int64         // of all that was added and not yet released
	closed     bool          // refuse stays as it is
	refuse     error         // what Add answers, if not nil
	refused    []Refused     // to be told
	latched    error         // what Add answers until those were told
	hungry     bool          // the engine wants whatever comes next
}

// Refused is a publication that a queue did not take.
type Refused struct {
	Done Done
	Err  error
}

// A Batch is an entry to be proposed and those who wait for it.
type Batch struct {
	Origin stream.Origin
	Opened time.Duration // when its first publication came, Now.Mono
	Dones  []Done        // one for each item, in order

	batch    stream.Batch
	data     []byte // of the entry, once it is closed
	cost     int64
	proposed bool // raft has seen data, so it must not be changed any more
}

// NewQueue gives the queue of a member in one of its lives. limitBytes bounds
// what waits in it and in the engine.
func NewQueue(node stream.NodeID, life uint32, limitBytes int64) *Queue {
	return &Queue{limitBytes: limitBytes, origin: stream.Origin{Node: node, Life: life, Batch: 1}}
}

// Add takes a publication in, or refuses it: then the error is told by Refused,
// and Done is not called by anybody else. Once it has answered "try again" it does
// so for everything that comes before that was told: a publisher that has several
// under way must not see a later one placed before an earlier one, since its
// numbers only rise. wake tells that there is something to do: a batch was closed,
// there is something to tell, or the engine wants whatever comes next.
func (q *Queue) Add(it *stream.Item, done Done, now time.Duration) (wake bool) {
	wake = q.add(it, done, now) || q.hungry
	q.hungry = q.hungry && !wake
	return wake
}

func (q *Queue) add(it *stream.Item, done Done, now time.Duration) (wake bool) {
	if q.refuse != nil {
		return q.no(done, q.refuse)
	}
	if q.latched != nil {
		return q.no(done, q.latched)
	}
	if it.Op != nil {
		if err := it.Op.Check(); err != nil {
			return q.no(done, fmt.Errorf("%w: %v", broker.ErrTooLarge, err))
		}
	}
	n := it.EncodedLen()
	if n > stream.MaxItemBytes {
		return q.no(done, fmt.Errorf("%w: %d bytes with its properties, at most %d", broker.ErrTooLarge, n, stream.MaxItemBytes))
	}
	cost := int64(n + itemCost)
	if q.bytes > 0 && q.bytes+cost > q.limitBytes {
		return q.no(done, broker.ErrBusy)
	}
	if q.open != nil && !q.open.batch.Add(it) {
		q.close()
		wake = true
	}
	if q.open == nil {
		q.open = &Batch{Origin: q.origin, Opened: now}
		q.open.batch.Reset(q.origin)
		q.origin.Batch++
		q.open.batch.Add(it)
	}
	q.open.Dones = append(q.open.Dones, done)
	q.open.cost += cost
	q.bytes += cost
	if q.open.batch.Len() == stream.MaxEntryItems {
		q.close()
		wake = true
	}
	return wake
}

func (q *Queue) no(done Done, err error) bool {
	q.refused = append(q.refused, Refused{done, err})
	if errors.Is(err, broker.ErrBusy) || errors.Is(err, broker.ErrNoQuorum) {
		q.latched = err
	}
	return true
}

// Refused gives those who are to be told that they were refused. Call it again
// when they were told.
func (q *Queue) Refused() []Refused {
	r := q.refused
	q.refused = nil
	if len(r) == 0 {
		q.latched = nil
	}
	return r
}

func (q *Queue) close() {
	q.open.data = q.open.batch.Entry()
	q.full = append(q.full, q.open)
	q.open = nil
}

// take gives the oldest batch, or nil: also one that is not full, if partial.
func (q *Queue) take(partial bool) *Batch {
	if len(q.full) == 0 && partial && q.open != nil {
		q.close()
	}
	if len(q.full) == 0 {
		return nil
	}
	b := q.full[0]
	q.full[0] = nil
	q.full = q.full[1:]
	return b
}

// Close makes Add answer broker.ErrStopped for good.
func (q *Queue) Close() { q.closed, q.refuse = true, broker.ErrStopped }

// Bytes gives what Add has taken in and is not done with.
func (q *Queue) Bytes() int64 { return q.bytes }

// Empty reports whether there is nothing to take and nothing to tell.
func (q *Queue) Empty() bool { return q.open == nil && len(q.full) == 0 && len(q.refused) == 0 }
