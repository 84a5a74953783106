package nacknet

import (
	"sync"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// An event is what happened outside a loop and concerns it.
type event struct {
	kind   eventKind
	code   nackproto.PublishCode // evPlaced
	stale  bool                  // evStale
	id     session.ID
	conn   *conn   // evOpened, evInput, evGone; evPlaced: whose refusal it is, nil if none
	buf    *[]byte // evInput: goes back to its pool
	n      int     // evInput: bytes in buf; evWrote: bytes written
	tag    uint64  // evPlaced
	at     stream.Position
	within time.Duration // evDrain
}

type eventKind uint8

const (
	evOpened   eventKind = iota // a connection was taken
	evInput                     // bytes came
	evWrote                     // a write was completed
	evWritable                  // there is room again
	evGone                      // the connection's reader has ended
	evPlaced                    // a publish was answered
	evReplaced                  // another connection came with the same publisher
	evDrain
	evStale
)

// An inbox is a loop's queue of events. What can be in it is bounded by what the
// loop has given leave for: reads by credits, writes by one a connection,
// publishes by the window.
type inbox struct {
	wake chan struct{} // of one

	mu     sync.Mutex
	events []event
}

func (b *inbox) post(e event) {
	b.mu.Lock()
	b.events = append(b.events, e)
	first := len(b.events) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// take gives what came, and takes the slice that was given before to fill it
// again.
func (b *inbox) take(used []event) []event {
	clear(used)
	if cap(used) > 1<<14 {
		used = nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.events
	b.events = used[:0]
	return out
}
