// Package brokertest has what tests of the doors need: a Publisher without a
// disk, and waiting for one. Nothing that serves uses it.
package brokertest

import (
	"sync"
	"testing"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// Local is a broker.Publisher that agrees with itself, in memory: one goroutine
// applies what was published, in order.
type Local struct {
	Broker *broker.Broker
	// Hold, if set before the first Publish, is called before each batch is
	// applied: a test makes a commit slow with it.
	Hold func()
	// Lag, if set before the first Publish, is how far the log's clock is behind the
	// wall clock.
	Lag time.Duration

	mu     sync.Mutex
	queue  []waiting
	wake   chan struct{}
	closed bool
	quit   chan struct{}
	ended  chan struct{}
	number uint64
}

type waiting struct {
	item stream.Item
	done func(stream.Place, error)
}

// NewLocal gives a Local over a fresh broker with the given limits, which ends
// with the test.
func NewLocal(t testing.TB, limits stream.Limits) *Local {
	l := &Local{
		Broker: broker.New(stream.NewLedger(1)),
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		ended:  make(chan struct{}),
	}
	if err := limits.Validate(); err != nil {
		t.Fatal(err)
	}
	l.apply(t, stream.AppendLimits(nil, limits))
	go l.run(t)
	t.Cleanup(l.Close)
	return l
}

// Publish implements broker.Publisher.
func (l *Local) Publish(it stream.Item, done func(stream.Place, error)) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		it.Payload = append([]byte(nil), it.Payload...)
		it.Props = append([]byte(nil), it.Props...)
		l.queue = append(l.queue, waiting{it, done})
	}
	l.mu.Unlock()
	if closed {
		go done(stream.Place{}, broker.ErrStopped) // there is nobody left who could call it
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close ends l once what was published is applied.
func (l *Local) Close() {
	l.mu.Lock()
	was := l.closed
	l.closed = true
	l.mu.Unlock()
	if !was {
		close(l.quit)
	}
	<-l.ended
}

func (l *Local) run(t testing.TB) {
	defer close(l.ended)
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for open := true; open; {
		if at := l.Broker.Due(); at != 0 {
			due.Reset(time.Until(time.UnixMilli(at).Add(l.Lag)))
		}
		select {
		case <-l.wake:
		case <-due.C:
			entry := stream.AppendTime(nil)
			stream.StampEntry(entry, time.Now().Add(-l.Lag).UnixMilli())
			l.apply(t, entry)
		case <-l.quit:
			open = false
		}
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.mu.Unlock()
		for len(queue) > 0 {
			if op := queue[0].item.Op; op != nil && op.Check() != nil {
				queue[0].done(stream.Place{}, broker.ErrTooLarge)
				queue = queue[1:]
				continue
			}
			if l.Hold != nil {
				l.Hold()
			}
			var b stream.Batch
			b.Reset(stream.Origin{})
			n := 0
			for n < len(queue) && (queue[n].item.Op == nil || queue[n].item.Op.Check() == nil) && b.Add(&queue[n].item) {
				n++
			}
			data := b.Entry()
			stream.StampEntry(data, time.Now().Add(-l.Lag).UnixMilli())
			places := l.apply(t, data)
			for i, w := range queue[:n] {
				w.done(places[i], broker.Refusal(places[i].Outcome))
			}
			queue = queue[n:]
		}
	}
}

func (l *Local) apply(t testing.TB, data []byte) []stream.Place {
	l.number++
	done, err := l.Broker.Apply(stream.Entry{Number: l.number, Data: data})
	if err != nil {
		t.Error(err)
	}
	return append([]stream.Place(nil), done.Places...)
}
