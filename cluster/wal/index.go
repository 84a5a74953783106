package wal

import "sort"

// index says in memory what the log holds and where: a point for every pointGap
// bytes, and where each term begins. It is changed by what is written, in order of
// writing, and in the same way when the log is opened.
type index struct {
	base, baseTerm uint64
	last           uint64 // base if there is no entry
	terms          []termRun
	state          State
	segs           []*segment // in order of their numbers, without a hole
}

// termRun: the entries from here on, to the next run, are of this term.
type termRun struct{ from, term uint64 }

// point: the frame at off begins with the entry at index. From there the entries
// follow each other in the file up to the next point's index, though perhaps
// beyond it: what lies there was replaced.
type point struct {
	index uint64
	off   int64
}

// segment is one file. Its points and end are the index's.
type segment struct {
	number uint64
	file   File
	path   string
	salt   uint32 // crc of its header
	end    int64  // behind the last batch
	points []point
}

// A reader decodes pointGap bytes and a frame to find an entry; a point is 16
// bytes, so the index costs at most a thousandth of the log.
const pointGap = 16 << 10

// frame takes in that the last segment has a frame at off whose entries begin at first.
func (x *index) frame(off int64, first uint64) {
	seg := x.segs[len(x.segs)-1]
	replaces := first <= x.last
	if replaces {
		x.truncate(first)
	}
	if n := len(seg.points); replaces || n == 0 || off-seg.points[n-1].off >= pointGap {
		seg.points = append(seg.points, point{first, off})
	}
}

// entry takes in an entry of the frame told last.
func (x *index) entry(i, term uint64) {
	if n := len(x.terms); n == 0 || x.terms[n-1].term != term {
		x.terms = append(x.terms, termRun{i, term})
	}
	x.last = i
}

// truncate forgets the entries from i on.
func (x *index) truncate(i uint64) {
	for s := len(x.segs) - 1; s >= 0; s-- {
		p := x.segs[s].points
		n := sort.Search(len(p), func(k int) bool { return p[k].index >= i })
		x.segs[s].points = p[:n]
		if n > 0 {
			break
		}
	}
	n := sort.Search(len(x.terms), func(k int) bool { return x.terms[k].from >= i })
	x.terms = x.terms[:n]
	x.last = i - 1
}

// compact forgets the entries up to base; the base's term is known.
func (x *index) compact(base, term uint64) {
	x.base, x.baseTerm = base, term
	n := sort.Search(len(x.terms), func(k int) bool { return x.terms[k].from > base+1 })
	if n > 0 {
		x.terms = x.terms[n-1:]
		x.terms[0].from = base + 1
	}
	if x.last == base {
		x.terms = nil
	}
}

// reset forgets every entry.
func (x *index) reset(base, term uint64, st State) {
	for _, s := range x.segs {
		s.points = nil
	}
	x.base, x.baseTerm, x.last, x.terms, x.state = base, term, base, nil, st
}

func (x *index) term(i uint64) (uint64, error) {
	switch {
	case i == x.base:
		return x.baseTerm, nil
	case i < x.base:
		return 0, ErrCompacted
	case i > x.last:
		return 0, ErrUnavailable
	}
	n := sort.Search(len(x.terms), func(k int) bool { return x.terms[k].from > i })
	return x.terms[n-1].term, nil
}

// find returns the segment and the position in its points from which entry i is read.
func (x *index) find(i uint64) (seg, pt int) {
	for seg = len(x.segs) - 1; seg >= 0; seg-- {
		p := x.segs[seg].points
		if n := sort.Search(len(p), func(k int) bool { return p[k].index > i }); n > 0 {
			return seg, n - 1
		}
	}
	panic("wal: no point leads to an entry that the log holds")
}

// first is the index of the oldest entry that a point leads to, at most last+1.
func (x *index) first() uint64 {
	for _, s := range x.segs {
		if len(s.points) > 0 {
			return s.points[0].index
		}
	}
	return x.last + 1
}

// dead says how many segments at the old end hold nothing behind the base. The
// last one is never dead.
func (x *index) dead() int {
	n := 0
	for k, s := range x.segs[:len(x.segs)-1] {
		next := x.last + 1
		for _, t := range x.segs[k+1:] {
			if len(t.points) > 0 {
				next = t.points[0].index
				break
			}
		}
		if len(s.points) > 0 && next > x.base+1 {
			break
		}
		n = k + 1
	}
	return n
}
