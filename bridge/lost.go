package bridge

import (
	"fmt"
	"slices"

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
// last, which the cache no longer holds.
func (l *loop) lose(s *session, first, last stream.Index) {
	l.b.meters.droppedTrimmed.Add(float64(last - first + 1))
	l.b.meters.resumesReset.Inc()
	if s.client != nil && s.client.version == 5 {
		s.lost.add(span{first, last})
	}
	l.b.cfg.Log.Warn().Str("client", s.id).Uint64("first", uint64(first)).Uint64("last", uint64(last)).
		Msg("session lost messages that the cache no longer holds")
}
