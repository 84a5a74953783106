package wal

import "fmt"

// Compact makes base the base: entries up to it are no longer held, and segments
// with no others are deleted. It is durable when Compact returns. A base before the
// present one does nothing; one behind Last is ErrUnavailable.
func (l *Log) Compact(base uint64) error {
	if l.err != nil {
		return l.err
	}
	if base <= l.x.base {
		return nil
	}
	term, err := l.x.term(base)
	if err != nil {
		return fmt.Errorf("%w: compaction up to %d, the last one is %d", err, base, l.x.last)
	}
	l.begin()
	l.buf = appendBase(l.buf, base, term)
	if err := l.commit(); err != nil {
		return err
	}
	l.x.compact(base, term)
	if err := l.confirm(); err != nil {
		return err
	}
	return l.drop(l.x.dead())
}

// Reset throws all entries away and begins anew behind base, as a snapshot from
// another member demands. It happens as a whole or not at all.
func (l *Log) Reset(base, term uint64, st State) error {
	if l.err != nil {
		return l.err
	}
	if err := l.roll(headerSize, &header{next: base + 1, base: base, term: term, state: st, reset: true}); err != nil {
		return l.broken(err)
	}
	return l.drop(len(l.x.segs) - 1)
}

// drop deletes the first n segments, once a durable guard no longer asks for them.
func (l *Log) drop(n int) error {
	if n == 0 {
		return nil
	}
	g := l.guard()
	g.first = l.x.segs[n].number
	if err := l.writeGuard(g, true); err != nil {
		return l.broken(err)
	}
	gone := l.x.segs[:n:n]
	l.x.segs = append([]*segment(nil), l.x.segs[n:]...)
	for _, s := range gone {
		s.file.Close()
		if err := l.dir.Remove(segmentName(s.number)); err != nil {
			return l.broken(err)
		}
	}
	return nil
}
