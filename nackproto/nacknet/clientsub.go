package nacknet

import (
	"context"
	"sync"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// A Subscription gives what happens to the subjects of a filter, in order.
type Subscription struct {
	client *Client
	filter stream.Filter
	id     uint64        // the loop's
	tells  bool          // it begins with Up and tells Activated
	active chan struct{} // closed when a server has agreed
	news   chan struct{} // one slot: ring is not empty
	ended  chan struct{} // closed when nothing will be added to ring
	err    error         // why; set before ended is closed

	mu   sync.Mutex
	ring []routed // a ring of fixed size, allocated as it fills
	head int
	size int
}

// routed is an event on its way to the application. order rises with each event
// of a client.
type routed struct {
	event nackproto.Event
	order uint64
}

func newSubscription(c *Client, f stream.Filter) *Subscription {
	return &Subscription{
		client: c, filter: f,
		active: make(chan struct{}), news: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// Filter gives the filter.
func (s *Subscription) Filter() stream.Filter { return s.filter }

// Next waits for the next event: a *nackproto.Delivery is a message,
// *nackproto.Lost tells of loss and *nackproto.Continued of a resume without
// one; *nackproto.Up, *nackproto.Down, *nackproto.Draining and
// *nackproto.Staleness tell of the connection, *Behind of all servers. Later versions may give others:
// pass over what you do not know.
//
// After the last event it gives why there are no more: an error that is or wraps
// ErrClosed or ErrSubscriptionClosed, or a *SubscribeError.
func (s *Subscription) Next(ctx context.Context) (nackproto.Event, error) {
	for {
		if e, ok := s.pop(); ok {
			return e, nil
		}
		select {
		case <-s.news:
		case <-s.ended:
			// It may have ended behind a last event.
			if e, ok := s.pop(); ok {
				return e, nil
			}
			return nil, s.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// NextMessage waits for the next message and passes over all else but loss: that
// is a *LostError, once, and the message behind it comes with the next call.
func (s *Subscription) NextMessage(ctx context.Context) (*nackproto.Delivery, error) {
	for {
		e, err := s.Next(ctx)
		if err != nil {
			return nil, err
		}
		switch e := e.(type) {
		case *nackproto.Delivery:
			return e, nil
		case *nackproto.Lost:
			return nil, &LostError{*e}
		}
	}
}

// A LostError says that messages of a subject are lost.
type LostError struct{ nackproto.Lost }

func (e *LostError) Error() string { return "nacknet: " + e.Lost.String() }

// Close ends the subscription; what it holds is dropped.
func (s *Subscription) Close() {
	if s.client.do(func(l *clientLoop) { l.unsubscribe(s) }) {
		select {
		case <-s.ended:
		case <-s.client.done:
		}
	}
	s.mu.Lock()
	s.ring, s.head, s.size = nil, 0, 0
	s.mu.Unlock()
}

func (s *Subscription) pop() (nackproto.Event, bool) {
	s.mu.Lock()
	if s.size == 0 {
		s.mu.Unlock()
		return nil, false
	}
	e := s.ring[s.head].event
	s.ring[s.head] = routed{}
	s.head = (s.head + 1) % len(s.ring)
	s.size--
	s.mu.Unlock()
	if s.client.stalled.Load() {
		s.client.wakeUp()
	}
	return e, true
}

// push adds r if there is room.
func (s *Subscription) push(r routed) bool {
	s.mu.Lock()
	if s.size == len(s.ring) && !s.grow() {
		s.mu.Unlock()
		return false
	}
	s.ring[(s.head+s.size)%len(s.ring)] = r
	s.size++
	first := s.size == 1
	s.mu.Unlock()
	if first {
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
	return true
}

// grow doubles the ring up to the configured size.
func (s *Subscription) grow() bool {
	n := min(max(2*len(s.ring), 16), s.client.config.Buffer)
	if n == len(s.ring) {
		return false
	}
	ring := make([]routed, n)
	k := copy(ring, s.ring[s.head:])
	copy(ring[k:], s.ring[:s.head])
	s.ring, s.head = ring, 0
	return true
}

// each calls f with what the application has not taken, oldest first.
func (s *Subscription) each(f func(routed)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.size {
		f(s.ring[(s.head+i)%len(s.ring)])
	}
}
