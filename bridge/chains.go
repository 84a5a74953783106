package bridge

import (
	"cmp"
	"slices"

	"github.com/nackmq/nackmq/stream"
)

// A session with few subjects is served from their chains rather than from a
// scan of the log: what others said meanwhile costs it nothing.
const (
	maxChains  = 16
	maxBacklog = 512 // messages of all its subjects; beyond it the log is read
)

// readChains gives the session all that it missed, if that is few messages of
// few subjects. Then it has reached the loop's cursor. If it is more, nothing
// happens and the log has to be read. It reports false when there is no room.
func (l *loop) readChains(s *session) bool {
	if s.cursor >= l.cursor || len(s.jobs) > 0 || len(s.subs) > maxChains || s.cursor < l.b.cfg.Broker.Tail() {
		return true
	}
	l.backlog = l.backlog[:0]
	defer func() { clear(l.backlog) }()
	for _, sub := range s.subs {
		if !sub.filter.IsExact() || sub.group != "" {
			return true
		}
		if !l.gather(stream.Subject(sub.filter), s.cursor) {
			return true
		}
	}
	if s.cursor < l.b.cfg.Broker.Tail() { // something left the cache meanwhile
		return true
	}
	slices.SortFunc(l.backlog, func(a, b stream.Message) int { return cmp.Compare(a.Index, b.Index) })
	for i := range l.backlog {
		m := &l.backlog[i]
		sub := s.subs[topicOf(m.Subject)]
		t := target{session: s}
		t.merge(sub)
		t.subs = []*subscription{sub}
		if !s.replays(&t, m) {
			continue
		}
		if l.msg.reset(*m, l.now); !l.offerLate(&t, &l.msg) {
			s.cursor = m.Index - 1
			return false
		}
	}
	s.cursor = l.cursor
	return true
}

// gather appends the messages of name after index after, up to the loop's
// cursor, to the backlog. It reports false if they are too many.
func (l *loop) gather(name stream.Subject, after stream.Index) bool {
	b := l.b.cfg.Broker
	top, ok := b.Top(name)
	if !ok || top.Index <= after {
		return true
	}
	room := maxBacklog - len(l.backlog)
	have := int(min(top.Last.Seq+1-top.First, maxBacklog+1))
	if cap(l.lateBuf) < maxBacklog || room <= 0 {
		return false
	}
	got := b.History(name, min(have, room), l.lateBuf[:0])
	defer clear(got)
	// The oldest of them must be the subject's oldest, or not wanted.
	if len(got) > 0 && got[0].Index > after && got[0].Position.Seq > top.First {
		return false
	}
	for i := range got {
		if got[i].Index > after && got[i].Index <= l.cursor {
			l.backlog = append(l.backlog, got[i])
		}
	}
	return true
}
