package wal

import (
	"fmt"
)

// Entries appends the entries lo, lo+1, … hi-1 to buf, as many as have maxBytes of
// data together, but at least one if there is one. Their data is the caller's to keep. The
// error is ErrCompacted if the log no longer holds lo, ErrUnavailable if it does not
// yet hold hi-1, a CorruptError if the disk gave back something else than was written.
func (l *Log) Entries(lo, hi uint64, maxBytes int64, buf []Entry) ([]Entry, error) {
	if err := l.holds(lo, hi); err != nil || lo == hi {
		return buf, err
	}
	start, size := len(buf), int64(0)
	err := l.scan(lo, hi, min(max(maxBytes, pointGap), 256<<10), func(e Entry) (bool, error) {
		size += int64(len(e.Data))
		if size > maxBytes && len(buf) > start {
			return false, nil
		}
		buf = append(buf, e)
		return true, nil
	})
	if err != nil {
		return buf[:start], err
	}
	return buf, nil
}

// Replay calls fn with every entry from the given index on, in order. It reads
// large pieces ahead; an entry's data may be kept, but keeps a megabyte alive. It
// ends with the first error, fn's own as it is. The log must not be changed by fn.
func (l *Log) Replay(from uint64, fn func(Entry) error) error {
	if err := l.holds(from, l.x.last+1); err != nil || from == l.x.last+1 {
		return err
	}
	return l.scan(from, l.x.last+1, 1<<20, func(e Entry) (bool, error) { return true, fn(e) })
}

func (l *Log) holds(lo, hi uint64) error {
	switch {
	case l.err == ErrClosed:
		return l.err
	case lo > hi:
		return fmt.Errorf("wal: entries %d to %d are asked for backwards", lo, hi)
	case lo <= l.x.base:
		return fmt.Errorf("%w: %d, the first one is %d", ErrCompacted, lo, l.x.base+1)
	case hi > l.x.last+1:
		return fmt.Errorf("%w: %d, the last one is %d", ErrUnavailable, hi-1, l.x.last)
	}
	return nil
}

// scan calls fn with the entries lo … hi-1, which the log holds, until it says no.
func (l *Log) scan(lo, hi uint64, chunk int64, fn func(Entry) (bool, error)) error {
	s, p := l.x.find(lo)
	for {
		seg := l.x.segs[s]
		r := reader{file: seg.file, end: seg.end, salt: seg.salt, chunk: chunk, fresh: true}
		for ; p < len(seg.points); p++ {
			until, more := hi, false // this point leads up to the next one, which need not follow it in the file
			if n, ok := l.x.after(s, p); ok && n < hi {
				until, more = n, true
			}
			for off := seg.points[p].off; lo < until; {
				f, ok, err := r.frame(off)
				if err != nil {
					return fmt.Errorf("wal: %w", err)
				}
				if !ok {
					return corrupt(seg.path, "no longer holds at byte %d what was written there", off)
				}
				off += f.size
				for b := f.body; len(b) > 0 && lo < until; {
					rec, rest, ok := next(b)
					if !ok {
						return corrupt(seg.path, "holds a record at byte %d that this version does not know", off-f.size)
					}
					if b = rest; rec.tag != recordEntry || rec.entry.Index < lo {
						continue
					}
					if rec.entry.Index != lo {
						return corrupt(seg.path, "holds entry %d at byte %d where entry %d belongs", rec.entry.Index, off-f.size, lo)
					}
					lo++
					if again, err := fn(rec.entry); err != nil || !again {
						return err
					}
				}
			}
			if !more {
				return nil
			}
		}
		for s, p = s+1, 0; len(l.x.segs[s].points) == 0; s++ {
		}
	}
}

// after is the index of the point behind point p of segment s, if there is one.
func (x *index) after(s, p int) (uint64, bool) {
	if p+1 < len(x.segs[s].points) {
		return x.segs[s].points[p+1].index, true
	}
	for _, seg := range x.segs[s+1:] {
		if len(seg.points) > 0 {
			return seg.points[0].index, true
		}
	}
	return 0, false
}
