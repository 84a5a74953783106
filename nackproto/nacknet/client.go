package nacknet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// A Client publishes and subscribes. It keeps one connection, to one of its
// servers at a time, and goes to the next when that is lost; what was published
// and not confirmed goes along, and subscriptions go on where they were.
//
// One goroutine, the loop, owns the session and the connection; two more read
// and write. The methods may be called from any goroutine.
type Client struct {
	config Config
	wake   chan struct{} // one slot: the loop has something to do
	slots  chan struct{} // one per publish without an answer
	up     chan struct{} // closed at the first Up
	done   chan struct{} // closed when the loop has ended
	err    error         // ErrClosed and why; set before done is closed
	why    error         // the reason alone
	// stalled says that a subscription is full: who makes room wakes the loop.
	stalled atomic.Bool
	count   clientCounters

	mu      sync.Mutex
	closed  bool           // no more commands are taken
	publish []*publishCall // in order
	command []func(*clientLoop)
}

// A publishCall is a publish on its way to its answer.
type publishCall struct {
	pub  stream.Publication
	done func(stream.Position, error)
}

// Dial makes a client and connects it. It tries each server once, and fails with
// a *DialError if none takes it, or with a *ServerError if one does not want it
// back; ctx bounds that. From then on the client stays, whatever
// becomes of the connection, until Close.
func Dial(ctx context.Context, config Config) (*Client, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	c := config.withDefaults()
	if c.Incarnation == 0 {
		c.Incarnation = stream.PublisherID(rand.Uint64() | 1)
	}
	session, err := nackproto.NewClientSession(nackproto.ClientConfig{
		Name: c.Name, Token: c.Token, Incarnation: c.Incarnation, MaxSubjects: c.MaxSubjects, Positions: c.Positions,
	})
	if err != nil {
		return nil, err
	}
	cl := &Client{
		config: c,
		wake:   make(chan struct{}, 1),
		slots:  make(chan struct{}, c.MaxUnanswered),
		up:     make(chan struct{}),
		done:   make(chan struct{}),
	}
	go newClientLoop(cl, session).run()
	select {
	case <-cl.up:
		return cl, nil
	case <-cl.done:
		return nil, cl.why
	case <-ctx.Done():
		cl.Close()
		return nil, fmt.Errorf("nacknet: no server took the client in time: %w", ctx.Err())
	}
}

// Close ends the client. Publishes without an answer end with ErrOutcomeUnknown,
// or with ErrClosed if they were not sent; Flush first to have them answered. It
// returns when all goroutines have ended, and does no harm the second time.
func (c *Client) Close() {
	c.do(func(l *clientLoop) { l.end(ErrClosed) })
	<-c.done
}

// Done is closed when the client has ended: by Close, or because a server does
// not want it back.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the client has ended, once Done is closed. It wraps ErrClosed.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Publish publishes p and waits for its place. The error is a *RefusedError, or
// wraps ErrClosed, nackproto.ErrTooLarge or ErrOutcomeUnknown: the latter also
// when ctx ends before the answer comes, since p may be on its way. The position
// is zero if p was placed before and the place is no longer known.
func (c *Client) Publish(ctx context.Context, p stream.Publication) (stream.Position, error) {
	type answer struct {
		at  stream.Position
		err error
	}
	ch := make(chan answer, 1)
	if err := c.PublishAsync(ctx, p, func(at stream.Position, err error) { ch <- answer{at, err} }); err != nil {
		return stream.Position{}, err
	}
	select {
	case a := <-ch:
		return a.at, a.err
	case <-ctx.Done():
		return stream.Position{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ctx.Err())
	}
}

// PublishAsync publishes p and calls done with the outcome, as Publish gives it:
// once, from another goroutine, in which it must not block and not call the
// client. Publications that one goroutine hands in one after the other get their
// places in that order. It blocks while Config.MaxUnanswered are without an
// answer; if ctx ends then, or p cannot be a publication, done is not called.
// p's bytes are copied.
func (c *Client) PublishAsync(ctx context.Context, p stream.Publication, done func(stream.Position, error)) error {
	if _, err := stream.ParseSubject(string(p.Subject)); err != nil {
		return fmt.Errorf("nacknet: %w", err)
	}
	select {
	case c.slots <- struct{}{}:
	default:
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.done:
			return c.err
		}
	}
	p.Payload = append(make([]byte, 0, len(p.Payload)+len(p.Props)), p.Payload...)
	if len(p.Props) > 0 {
		n := len(p.Payload)
		all := append(p.Payload, p.Props...)
		p.Payload, p.Props = all[:n:n], all[n:]
	}
	call := &publishCall{p, done}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.slots
		return ErrClosed
	}
	c.publish = append(c.publish, call)
	first := len(c.publish) == 1
	c.mu.Unlock()
	if first {
		c.wakeUp()
	}
	return nil
}

// Flush waits until all that was published before has its answer.
func (c *Client) Flush(ctx context.Context) error {
	ch := make(chan struct{})
	if !c.do(func(l *clientLoop) { l.flushes = append(l.flushes, ch) }) {
		return ErrClosed
	}
	select {
	case <-ch:
		return nil
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Subscribe follows the subjects that filter matches, from start on: the zero
// Start is the next message. What Config.Positions knows goes before start. It
// waits until a server has agreed; the error is a *SubscribeError, or wraps
// ErrClosed or stream.ErrFilter.
//
// The client's subscriptions share one connection: one that is not read stalls
// the others when its buffer is full, and the confirmations of publishes too.
func (c *Client) Subscribe(ctx context.Context, filter stream.Filter, start nackproto.Start) (*Subscription, error) {
	if _, err := stream.ParseFilter(string(filter)); err != nil {
		return nil, fmt.Errorf("nacknet: %w", err)
	}
	s := newSubscription(c, filter)
	if !c.do(func(l *clientLoop) { l.subscribe(s, start) }) {
		return nil, ErrClosed
	}
	select {
	case <-s.active:
		return s, nil
	case <-s.ended:
		return nil, s.err
	case <-c.done:
		return nil, c.err
	case <-ctx.Done():
		s.Close()
		return nil, ctx.Err()
	}
}

// Follow is Subscribe that does not wait. Next gives the Up of the connection that
// stands first, and *nackproto.Activated once a server has agreed; until then
// *nackproto.Down and *Behind say what keeps it. A *SubscribeError ends the
// subscription.
func (c *Client) Follow(filter stream.Filter, start nackproto.Start) (*Subscription, error) {
	if _, err := stream.ParseFilter(string(filter)); err != nil {
		return nil, fmt.Errorf("nacknet: %w", err)
	}
	s := newSubscription(c, filter)
	s.tells = true
	if !c.do(func(l *clientLoop) { l.subscribe(s, start) }) {
		return nil, ErrClosed
	}
	return s, nil
}

// Positions gives what Config.Positions takes after a restart: how far the
// application is. An event counts as taken when Next has returned it; so call it
// when you have dealt with what Next gave, and keep the bytes in one write. The
// format is PROTOCOL.md §12.
func (c *Client) Positions() ([]byte, error) {
	ch := make(chan []byte, 1)
	if !c.do(func(l *clientLoop) { ch <- l.positions() }) {
		return nil, ErrClosed
	}
	select {
	case b := <-ch:
		return b, nil
	case <-c.done:
		return nil, c.err
	}
}

// Stats is what a client handed to its transports and received: the protocol's
// own bytes and frames, without TLS, WebSocket and TCP.
type Stats struct {
	BytesSent, BytesReceived   uint64
	FramesSent, FramesReceived uint64
	Connections                uint64
}

// Stats gives the counts since Dial.
func (c *Client) Stats() Stats {
	return Stats{
		BytesSent: c.count.bytesOut.Load(), BytesReceived: c.count.bytesIn.Load(),
		FramesSent: c.count.framesOut.Load(), FramesReceived: c.count.framesIn.Load(),
		Connections: c.count.connections.Load(),
	}
}

// do has the loop call f; it reports false if the loop takes no more.
func (c *Client) do(f func(*clientLoop)) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.command = append(c.command, f)
	c.mu.Unlock()
	c.wakeUp()
	return true
}

func (c *Client) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take gives the loop what is to be done.
func (c *Client) take() (publish []*publishCall, command []func(*clientLoop)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	publish, c.publish = c.publish, nil
	command, c.command = c.command, nil
	return publish, command
}

// finish lets nobody in any more and gives what was still waiting.
func (c *Client) finish(err error) (publish []*publishCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	publish, c.publish, c.command = c.publish, nil, nil
	c.why = err
	if !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.err = err
	return publish
}
