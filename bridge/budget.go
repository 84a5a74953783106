package bridge

import (
	"sync"
	"sync/atomic"
)

// A budget bounds the bytes of all connections' publications that wait for their
// commit. A reader that finds it spent waits: publishers are slowed down before
// the log has to refuse them.
type budget struct {
	mu    sync.Mutex
	freed sync.Cond
	left  int
}

func newBudget(bytes int) *budget {
	b := &budget{left: bytes}
	b.freed.L = &b.mu
	return b
}

// take takes n bytes, after waiting for them. It fails when closing gets set and
// wake is called meanwhile. The last taker may overdraw, or a publication larger
// than the budget would wait for ever.
func (b *budget) take(n int, closing *atomic.Bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.left <= 0 && !closing.Load() {
		b.freed.Wait()
	}
	if closing.Load() {
		return false
	}
	b.left -= n
	return true
}

// give gives n bytes back.
func (b *budget) give(n int) {
	b.mu.Lock()
	was := b.left
	b.left += n
	b.mu.Unlock()
	if was <= 0 {
		b.freed.Broadcast()
	}
}

// wake makes those who wait look whether their connection is closing.
func (b *budget) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freed.Broadcast()
}
