package engine

import (
	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// The engine and the queue in front of it have different owners: the engine's
// driver, and a lock that publishers take. So they meet in three steps, of which
// only the second is taken under that lock:
//
//	for e.HandleFeed(q.Feed(e.PollWant())) {
//	}

// A Want is what an engine wants of its queue.
type Want struct {
	room    bool  // there is room for a further batch
	partial bool  // … also for one that is not full, since there is nothing to wait for
	freed   int64 // bytes of what was taken and is done with
	refuse  error // what is to be answered, if not nil
}

// A Feed is what a queue has for its engine.
type Feed struct {
	batch *Batch // nil: none
	told  []Refused
}

// PollWant gives what the engine wants of its queue.
func (e *Engine) PollWant() Want {
	w := Want{freed: e.own.freed}
	e.own.freed = 0
	w.room, w.partial = e.wants()
	switch {
	case e.err != nil:
		w.refuse = broker.ErrStopped
	case e.noQuorum:
		w.refuse = broker.ErrNoQuorum
	}
	return w
}

func (e *Engine) wants() (room, partial bool) {
	switch {
	case e.err != nil || e.noQuorum:
		return true, true // to be answered
	case !e.Ready() || e.own.bytes >= e.cfg.InflightBytes:
		return false, false
	case e.leading:
		return true, !e.write.out
	}
	return true, len(e.own.waiting) == 0
}

// Feed gives what w asks for. If there is nothing, then Add says when there is.
func (q *Queue) Feed(w Want) (f Feed) {
	q.bytes -= w.freed
	if !q.closed {
		q.refuse = w.refuse
	}
	f.told = q.Refused()
	if w.room {
		f.batch = q.take(w.partial)
	}
	q.hungry = f.batch == nil && w.room && w.partial
	return f
}

// HandleFeed proposes the batch, and tells those who were refused. It reports
// whether there may be more.
func (e *Engine) HandleFeed(f Feed) (more bool) {
	for _, r := range f.told {
		r.Done(stream.Place{}, r.Err)
	}
	if f.batch != nil {
		e.take(f.batch)
	}
	return f.batch != nil || len(f.told) > 0
}
