package session

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// turnBytes is about what a session gets in one turn, and at most one frame
// more: it bounds what one that is behind takes from the others.
const turnBytes = 16 << 10

// A mark says what stands in a buffer up to end: a frame of the stream of a
// follow, or any other frame if follow is 0. With seq 0 it is the SUBJECT.
type mark struct {
	end    int
	follow uint32
	seq    stream.Seq
	index  stream.Index
	state  bool // a snapshot: seq is that of the message that comes after it
}

// write gives b to the driver and says how many bytes it took. Later counts as
// all of them, since the driver goes on with it.
func (c *Core) write(slot uint32, b []byte) int {
	r := c.slab.at(slot)
	n := c.driver.Write(c.slab.id(slot), b)
	r.wrote = c.now
	switch {
	case n == Later:
		r.flags |= inFlight
		c.chill(slot).flight = b
		c.wake(slot, c.now+inTicks(c.limits.StuckTimeout))
		return len(b)
	case n < len(b):
		r.flags |= full
		c.wake(slot, c.now+inTicks(c.limits.StuckTimeout))
	}
	return n
}

// writeOut hands over the rest of a frame that was cut and then the frames that
// wait. It reports whether there is room for more.
func (c *Core) writeOut(slot uint32, cd *cold) bool {
	if len(cd.tail) > 0 {
		b := cd.tail
		cd.tail = nil
		if n := c.write(slot, b); n < len(b) {
			cd.tail = b[n:]
			return false
		}
		if c.slab.at(slot).flags&inFlight != 0 {
			return false
		}
	}
	if len(cd.out) == 0 {
		return true
	}
	b := cd.out
	cd.out = nil
	n := c.write(slot, b)
	if n < len(b) {
		cd.out = b[n:len(b):len(b)]
		return false
	}
	if c.slab.at(slot).flags&inFlight != 0 {
		return false
	}
	if cap(b) <= 4<<10 {
		cd.out = b[:0]
	}
	return true
}

// writeScratch hands over c.scratch, of which c.marks says what it is. What does
// not go out is taken back: undo is called with the first message of each stream
// that was not handed over, in the order of the buffer. It reports whether all
// went.
func (c *Core) writeScratch(slot uint32, undo func(mark)) bool {
	b := c.scratch
	n := c.write(slot, b)
	if c.slab.at(slot).flags&inFlight != 0 {
		c.scratch = nil // the driver's now
	}
	if n == len(b) {
		return true
	}
	c.cut(slot, b, n, c.marks, undo)
	return false
}

// cut keeps the rest of the frame that was cut at n, and whole frames behind it
// that are not messages. Messages behind it are not kept: they are in the log.
func (c *Core) cut(slot uint32, b []byte, n int, marks []mark, undo func(mark)) {
	cd := c.chill(slot)
	i := sort.Search(len(marks), func(i int) bool { return marks[i].end > n })
	begin := 0
	if i > 0 {
		begin = marks[i-1].end
	}
	if n > begin {
		cd.tail = append([]byte(nil), b[n:marks[i].end]...)
		begin = marks[i].end
		i++
	}
	var undone []uint32
	for ; i < len(marks); i++ {
		m := marks[i]
		switch {
		case m.follow == 0 || m.seq == 0:
			cd.tail = append(cd.tail, b[begin:m.end]...)
		case !slices.Contains(undone, m.follow):
			undone = append(undone, m.follow)
			if _, w := binary.Uvarint(b[begin:m.end]); !m.state && nackproto.Type(b[begin+w]) == nackproto.TypeMessageX {
				c.follows.at(m.follow).sub |= moved // perhaps it had to say its whole seq
			}
			undo(m)
		}
		begin = m.end
	}
}

// appendMessage appends a message as its stream's next one.
func appendMessage(b []byte, m *stream.Message) []byte {
	if nackproto.Fits(m) {
		return nackproto.AppendMessage(b, nackproto.AliasOf(m.ID), m.Position.Seq, m.Payload)
	}
	return nackproto.AppendMessageX(b, m, false)
}

// appendSubject appends the SUBJECT of a subject whose next message is the one
// after seq after; those up to upto are recovered. PROTOCOL.md §5.9.
func appendSubject(b []byte, s *subjectState, after, upto stream.Seq) []byte {
	f := nackproto.Subject{Alias: nackproto.AliasOf(s.id), Epoch: s.epoch, After: after, Upto: max(after, upto), Name: s.name}
	return f.AppendTo(b)
}

// scratchMessage appends a message of a session's stream to the scratch, and
// before it what the session must know to read it.
func (c *Core) scratchMessage(fi uint32, m *stream.Message) {
	f := c.follows.at(fi)
	form := f.sub
	if form&announced == 0 {
		s := c.subjects.at(f.subject)
		c.scratch = appendSubject(c.scratch, s, m.Position.Seq-1, s.last)
		c.marks = append(c.marks, mark{end: len(c.scratch), follow: fi})
		f.sub = f.sub&^moved | announced
	}
	if form&(announced|moved) == announced|moved {
		c.scratch = nackproto.AppendMessageX(c.scratch, m, false)
		f.sub &^= moved
	} else {
		c.scratch = appendMessage(c.scratch, m)
	}
	c.marks = append(c.marks, mark{end: len(c.scratch), follow: fi, seq: m.Position.Seq, index: m.Index})
}

func (c *Core) resetScratch() {
	if cap(c.scratch) > 4*turnBytes {
		c.scratch = nil
	}
	c.scratch, c.marks = c.scratch[:0], c.marks[:0]
}
