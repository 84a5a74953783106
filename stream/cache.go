package stream

import "sort"

// recBytes is what a message costs in the cache beside its item.
const recBytes = 32

// The cache is the newest part of the log in memory: the items of messages tail+1 to
// head, back to back in large segments, and a rec for each. Neither holds a
// pointer, so the garbage collector does not look into them.
//
// A segment's data is never written again once it is handed out, nor moved:
// messages are ranges of it, and they outlive eviction (S9).
type cache struct {
	segs  []*segment
	tail  Index // messages up to and including it are not held
	head  Index // the newest message, held or not
	bytes int64 // items and recs held

	// What was logged since the oldest message held and is no message: the log on
	// disk goes back as far as the cache does, so it counts.
	ballast int64
}

type segment struct {
	base    Index // of recs[0]
	recs    []rec
	data    []byte // its capacity is the segment's size
	entries []entryNote
}

// An entryNote is what a message takes from the entry that it came in.
type entryNote struct {
	number  uint64 // Raft's index of the entry
	time    int64
	ballast int64 // bytes logged behind its last message here and before the next note
}

// A rec is a message's place in its segment and in two chains. A distance of 0
// says that there is no neighbour in the cache.
type rec struct {
	seq   Seq
	id    SubjectID
	item  uint32 // offset in data; the item ends where the next one begins
	entry uint32 // in entries
	prev  uint32 // how many indexes back the subject's message before this one is
	next  uint32 // how many indexes on the subject's next message is
	byPub uint32 // how many indexes back its publisher's numbered message before this one is, or firstOfPublisher
}

// firstOfPublisher as rec.byPub says that its publisher was not known before.
const firstOfPublisher = 1<<32 - 1

// seg gives the segment that holds message i, tail < i <= head.
func (c *cache) seg(i Index) *segment {
	if last := c.segs[len(c.segs)-1]; i >= last.base {
		return last
	}
	n := sort.Search(len(c.segs), func(k int) bool { return c.segs[k].base > i })
	return c.segs[n-1]
}

func (c *cache) rec(i Index) *rec {
	s := c.seg(i)
	return &s.recs[i-s.base]
}

// holds reports whether message i is in the cache.
func (c *cache) holds(i Index) bool { return i > c.tail && i <= c.head }

// item gives the bytes of message i.
func (s *segment) item(i Index) []byte {
	k := int(i - s.base)
	lo, hi := s.recs[k].item, uint32(len(s.data))
	if k+1 < len(s.recs) {
		hi = s.recs[k+1].item
	}
	return s.data[lo:hi:hi]
}

func (s *segment) note(i Index) entryNote { return s.entries[s.recs[i-s.base].entry] }

// append holds item as message head+1. segmentBytes is the size of a segment
// that is begun.
func (c *cache) append(item []byte, n entryNote, r rec, segmentBytes int) Index {
	var s *segment
	if len(c.segs) > 0 {
		s = c.segs[len(c.segs)-1]
	}
	if s == nil || len(s.data)+len(item) > cap(s.data) {
		s = &segment{base: c.head + 1, data: make([]byte, 0, max(segmentBytes, len(item)))}
		c.segs = append(c.segs, s)
	}
	if k := len(s.entries); k == 0 || s.entries[k-1].number != n.number {
		s.entries = append(s.entries, n)
	}
	r.item, r.entry = uint32(len(s.data)), uint32(len(s.entries)-1)
	s.data = append(s.data, item...)
	s.recs = append(s.recs, r)
	c.head++
	c.bytes += int64(len(item)) + recBytes
	return c.head
}

// weigh counts n bytes that were logged and are no message. Before all that the
// cache holds they count for nothing.
func (c *cache) weigh(n int) {
	if c.tail == c.head {
		return
	}
	s := c.segs[len(c.segs)-1]
	s.entries[len(s.entries)-1].ballast += int64(n)
	c.ballast += int64(n)
}

// evict lets go of the oldest message and gives its rec and index.
func (c *cache) evict() (rec, Index) {
	s, i := c.segs[0], c.tail+1
	k := int(i - s.base)
	r := s.recs[k]
	c.bytes -= int64(len(s.item(i))) + recBytes
	if k+1 == len(s.recs) || s.recs[k+1].entry != r.entry {
		c.ballast -= s.entries[r.entry].ballast
	}
	c.tail = i
	if k+1 == len(s.recs) {
		c.segs[0] = nil
		c.segs = c.segs[1:]
	}
	return r, i
}
