package broker

import (
	"slices"
	"sync"

	"github.com/nackmq/nackmq/stream"
)

// scanSteps is how many subjects a page of Subjects looks at under the lock.
const scanSteps = 1024

// A Broker holds the ledger of this member.
type Broker struct {
	mu      sync.RWMutex
	ledger  *stream.Ledger
	readers []*Reader
}

// New gives a broker that owns l from now on.
func New(l *stream.Ledger) *Broker { return &Broker{ledger: l} }

// Apply applies the next entry of the log and wakes the readers. It is the only
// way in; only the engine's loop calls it. Places in the answer are valid until
// the next Apply. The error wraps stream.ErrEntry: the member must stop.
func (b *Broker) Apply(e stream.Entry) (stream.Applied, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.ledger.Head()
	done, err := b.ledger.Apply(e)
	if b.ledger.Head() != before {
		b.wake()
	}
	return done, err
}

// Restore replaces the ledger by one that came as a snapshot, and wakes the
// readers, whose cursors may have fallen off.
func (b *Broker) Restore(l *stream.Ledger) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger = l
	b.wake()
}

// wake wakes every reader; the caller holds mu.
func (b *Broker) wake() {
	for _, r := range b.readers {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// View takes a view of the ledger for a snapshot; Apply goes on meanwhile. Only
// the engine's loop calls it, and one view is in use at a time.
func (b *Broker) View() *stream.View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.View()
}

// Applied gives the number of the last entry applied.
func (b *Broker) Applied() uint64 { return read(b, (*stream.Ledger).Applied) }

// Floor gives the number of the newest entry up to which the cache holds
// nothing: see stream.Ledger.Floor.
func (b *Broker) Floor() uint64 { return read(b, (*stream.Ledger).Floor) }

// Head gives the index of the newest message, Tail the index before the oldest
// one that the cache holds.
func (b *Broker) Head() stream.Index { return read(b, (*stream.Ledger).Head) }
func (b *Broker) Tail() stream.Index { return read(b, (*stream.Ledger).Tail) }

// Time gives the newest entry's time, Unix milliseconds.
func (b *Broker) Time() int64 { return read(b, (*stream.Ledger).Time) }

// Due gives when a session ends or its will is due: see stream.Ledger.Due.
func (b *Broker) Due() int64 { return read(b, (*stream.Ledger).Due) }

// Session gives the session of that name.
func (b *Broker) Session(id string) (stream.Session, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ledger.Session(id)
}

// Sessions gives one page of the sessions: it looks at some from slot from on,
// under the lock, then calls yield for them, without it, until yield returns false.
// Call it again with next as long as there is more.
func (b *Broker) Sessions(from uint32, yield func(stream.Session) bool) (next uint32, more bool) {
	var page []stream.Session
	b.mu.RLock()
	next, more = b.ledger.Sessions(from, scanSteps, func(s stream.Session) bool {
		page = append(page, s)
		return true
	})
	b.mu.RUnlock()
	for _, s := range page {
		if !yield(s) {
			return next, more
		}
	}
	return next, more
}

// Limits gives the limits in force.
func (b *Broker) Limits() stream.Limits { return read(b, (*stream.Ledger).Limits) }

// Cluster gives the cluster's identity.
func (b *Broker) Cluster() stream.ClusterID { return read(b, (*stream.Ledger).Cluster) }

// Stats gives what an operator asks of the log.
func (b *Broker) Stats() stream.Stats { return read(b, (*stream.Ledger).Stats) }

func read[T any](b *Broker, get func(*stream.Ledger) T) T {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return get(b.ledger)
}

// ReadLog fills buf, up to its capacity, with the messages after index after, in
// the order of the log. It fails with ErrLapped when the cache no longer holds
// the first of them.
func (b *Broker) ReadLog(after stream.Index, buf []stream.Message) ([]stream.Message, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if after < b.ledger.Tail() {
		return buf[:0], ErrLapped
	}
	return b.ledger.ReadLog(after, buf), nil
}

// ReadSubject fills buf, up to its capacity, with the messages of s after a
// position. The error is a *stream.LostError: see stream.Ledger.ReadSubject.
func (b *Broker) ReadSubject(s stream.Subject, after stream.Position, hint stream.Index, buf []stream.Message) ([]stream.Message, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ledger.ReadSubject(s, after, hint, buf)
}

// Top gives what is known of s; false if nothing is.
func (b *Broker) Top(s stream.Subject) (stream.Top, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ledger.Top(s)
}

// Last gives the newest message of s if the cache holds it, else the retained
// one.
func (b *Broker) Last(s stream.Subject) (stream.Message, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ledger.Last(s)
}

// Retained gives the retained message of s.
func (b *Broker) Retained(s stream.Subject) (stream.Message, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ledger.Retained(s)
}

// History fills buf, up to its capacity and at most n, with the newest messages
// of s that the cache holds, oldest first.
func (b *Broker) History(s stream.Subject, n int, buf []stream.Message) []stream.Message {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ledger.History(s, n, buf)
}

// Subjects gives one page of the subjects that f matches: it looks at some
// subjects from slot from on, under the lock, then calls yield for those that
// match, without it, until yield returns false. Call it again with next as long
// as there is more.
func (b *Broker) Subjects(f stream.Filter, from stream.SubjectID, yield func(stream.Subject, stream.Top) bool) (next stream.SubjectID, more bool) {
	type hit struct {
		s stream.Subject
		t stream.Top
	}
	var hits []hit
	b.mu.RLock()
	next, more = b.ledger.Subjects(f, from, scanSteps, func(s stream.Subject, t stream.Top) bool {
		hits = append(hits, hit{s, t})
		return true
	})
	b.mu.RUnlock()
	for _, h := range hits {
		if !yield(h.s, h.t) {
			return h.t.ID + 1, true
		}
	}
	return next, more
}

// NewReader gives a cursor that stands at the newest message.
func (b *Broker) NewReader() *Reader {
	r := &Reader{broker: b, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.cursor = b.ledger.Head()
	b.readers = append(b.readers, r)
	return r
}

func (b *Broker) remove(r *Reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers = slices.DeleteFunc(b.readers, func(o *Reader) bool { return o == r })
}
