package bridge

import "sync"

// An inbox is how other goroutines ask the loop for something.
type inbox struct {
	wake chan struct{}

	mu    sync.Mutex
	calls []func()
	woken []*client // have acknowledgements or room for the loop
}

func (in *inbox) call(f func()) {
	in.mu.Lock()
	in.calls = append(in.calls, f)
	in.mu.Unlock()
	in.poke()
}

func (in *inbox) stir(c *client) {
	in.mu.Lock()
	in.woken = append(in.woken, c)
	in.mu.Unlock()
	in.poke()
}

func (in *inbox) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take gives what came in, using the slices of the last time.
func (in *inbox) take(calls []func(), woken []*client) ([]func(), []*client) {
	clear(calls)
	clear(woken)
	in.mu.Lock()
	defer in.mu.Unlock()
	calls, in.calls = in.calls, calls[:0]
	woken, in.woken = in.woken, woken[:0]
	return calls, woken
}

// An inAck is what a client sends because of a delivery.
type inAck struct {
	id   uint16
	typ  byte
	code byte
}

// eagerAcks is how many acknowledgements may gather before the loop is woken
// though it does not wait for them.
const eagerAcks = 64

// acknowledged notes what the client sent. The loop is not woken for every one:
// it looks when it needs room in the window. Only answer asks for it at once.
func (c *client) acknowledged(a inAck, answer bool) {
	c.mu.Lock()
	c.inAcks = append(c.inAcks, a)
	tell := answer || c.wantAcks || len(c.inAcks) == eagerAcks
	c.wantAcks = c.wantAcks && !tell
	c.mu.Unlock()
	if tell {
		c.b.loop.in.stir(c)
	}
}

// takeAcks gives what the client acknowledged; if that is nothing and wait is
// set, the next one wakes the loop.
func (c *client) takeAcks(buf []inAck, wait bool) []inAck {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inAcks) == 0 {
		c.wantAcks = c.wantAcks || wait
		return buf[:0]
	}
	buf, c.inAcks = append(buf[:0], c.inAcks...), c.inAcks[:0]
	return buf
}
