package bridge

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/stream"
)

// A span is a range of the log, both ends inclusive.
type span struct{ first, last stream.Index }

func (r span) String() string { return fmt.Sprintf("%d-%d", r.first, r.last) }

// losses are what a session lost and was not told yet: rising, and never next to
// each other.
type losses []span

// maxLosses bounds them. Beyond it the two oldest are told as one, with what was
// between them: to be told of more than was lost is better than of less.
const maxLosses = 8

func (l *losses) add(r span) {
	i, _ := slices.BinarySearchFunc(*l, r.first, func(o span, first stream.Index) int {
		if o.last+1 < first {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(*l) && (*l)[j].first <= r.last+1; j++ {
		r.first, r.last = min(r.first, (*l)[j].first), max(r.last, (*l)[j].last)
	}
	*l = slices.Replace(*l, i, j, r)
	if len(*l) > maxLosses {
		*l = slices.Replace(*l, 0, 2, span{(*l)[0].first, (*l)[1].last})
	}
}

// lose notes that the session will not get the messages from index first to
// last, which the cache no longer holds. The log is told at the end of the turn.
func (l *loop) lose(s *session, first, last stream.Index) {
	n := uint64(last - first + 1)
	l.b.meters.droppedTrimmed.Add(n)
	if s.client != nil && s.client.version == 5 {
		s.lost.add(span{first, last})
	}
	if l.lossy == nil {
		l.lossy = map[*session]loss{}
	}
	o, known := l.lossy[s]
	if !known {
		o.first = first
	}
	l.lossy[s] = loss{span{min(o.first, first), max(o.last, last)}, o.messages + n}
	l.resumed(s, l.b.meters.resumesReset)
}

// skip moves a session's cursor up to index to, behind which the cache begins. One
// that has no filter has lost nothing.
func (l *loop) skip(s *session, to stream.Index) {
	if s.cursor >= to {
		return
	}
	if len(s.subs) > 0 {
		l.lose(s, s.cursor+1, to)
	}
	s.cursor = to
}

// A loss is what a session lost in one turn, for the log.
type loss struct {
	span            // from the first to the last of them
	messages uint64 // which may be fewer
}

// tellLosses writes one line for each session that lost something in this turn.
func (l *loop) tellLosses() {
	for s, o := range l.lossy {
		l.b.cfg.Log.Warn().Str("client", s.id).Uint64("messages", o.messages).Uint64("first", uint64(o.first)).
			Uint64("last", uint64(o.last)).Msg("session lost messages that the cache no longer holds")
	}
	l.lossy = nil
}

// resumed ends a resume of the session, if there is one, with an outcome. A
// resume begins when a kept session gets a connection. It ends with the first
// loss, or when the session has caught up or its connection is gone before that:
// then it was continuous.
func (l *loop) resumed(s *session, outcome prometheus.Counter) {
	if s.resuming {
		s.resuming = false
		outcome.Inc()
	}
}
