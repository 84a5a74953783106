package broker

import "github.com/nackmq/nackmq/stream"

// A Reader is the cursor of a loop that hands messages out; there are few of
// them, and never one for each client. It belongs to one goroutine.
type Reader struct {
	broker *Broker
	wake   chan struct{}
	cursor stream.Index
}

// Wake is ready when there may be something to read. It holds one wake-up: read
// until Next gives nothing, then wait.
func (r *Reader) Wake() <-chan struct{} { return r.wake }

// Cursor gives the index up to which r has read.
func (r *Reader) Cursor() stream.Index { return r.cursor }

// Seek makes r go on behind index at.
func (r *Reader) Seek(at stream.Index) { r.cursor = at }

// Next fills buf, up to its capacity, with the messages behind the cursor, in
// the order of the log, and moves the cursor. It gives nothing only when there
// is nothing new. When the cache no longer holds what comes next it fails with
// ErrLapped, once: the cursor then stands before the oldest message held.
func (r *Reader) Next(buf []stream.Message) ([]stream.Message, error) {
	r.broker.mu.RLock()
	defer r.broker.mu.RUnlock()
	l := r.broker.ledger
	if tail := l.Tail(); r.cursor < tail || r.cursor > l.Head() {
		r.cursor = tail
		return buf[:0], ErrLapped
	}
	buf = l.ReadLog(r.cursor, buf)
	r.cursor += stream.Index(len(buf))
	return buf, nil
}

// Close ends r.
func (r *Reader) Close() { r.broker.remove(r) }
