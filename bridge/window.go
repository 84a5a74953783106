package bridge

import "github.com/nackmq/nackmq/stream"

// A window holds what a session was sent with QoS 1 and 2 and has not
// acknowledged, in order. Packet ids are given in order, too, so an id tells its
// place in the ring. An entry names its message by the index; the log has the
// rest. It belongs to the loop.
type window struct {
	ring   []sent // a power of two, or empty
	head   uint32
	tail   uint32
	unsent uint32 // entries from here to tail were not sent on this connection
	next   uint16 // the packet id given last
	open   int    // entries that were sent on this connection and are not done
	limit  int    // of open
}

type sentState uint8

const (
	sentDone     sentState = iota
	sentPublish            // PUBLISH sent; PUBACK or PUBREC is awaited
	sentReleased           // PUBREL sent; PUBCOMP is awaited
)

type sent struct {
	index    stream.Index
	retained *stream.Message // a retained message, which the cache may not hold any more
	ids      []uint32
	group    *group // of a shared subscription
	id       uint16
	qos      byte
	retain   bool
	state    sentState
}

// maxSpan bounds the ring when the oldest entry is not acknowledged and later
// ones are.
const maxSpan = 1 << 14

// room reports whether a new one may be sent.
func (w *window) room() bool {
	return w.open < w.limit && w.unsent == w.tail && w.tail-w.head < maxSpan
}

// add takes an entry in and gives it a packet id.
func (w *window) add(s sent) uint16 {
	if n := uint32(len(w.ring)); w.tail-w.head == n {
		ring := make([]sent, max(4, 2*n))
		for i := w.head; i != w.tail; i++ {
			ring[i&uint32(len(ring)-1)] = w.ring[i&(n-1)]
		}
		w.ring = ring
	}
	if w.next++; w.next == 0 {
		w.next = 1
	}
	s.id, s.state = w.next, sentPublish
	*w.at(w.tail) = s
	w.tail++
	w.unsent = w.tail
	w.open++
	return s.id
}

// drop takes back the newest entry, which was not sent after all.
func (w *window) drop() {
	w.tail--
	w.unsent = w.tail
	*w.at(w.tail) = sent{}
	w.open--
	if w.next--; w.next == 0 {
		w.next = 65535
	}
}

func (w *window) at(i uint32) *sent { return &w.ring[i&uint32(len(w.ring)-1)] }

// find gives the place of the entry with packet id; false if there is none that
// is not done.
func (w *window) find(id uint16) (i uint32, ok bool) {
	if w.head == w.tail || id == 0 {
		return 0, false
	}
	// Ids run from 1 to 65535 and begin anew.
	dist := (int(id) - int(w.at(w.head).id) + 65535) % 65535
	i = w.head + uint32(dist)
	if uint32(dist) >= w.tail-w.head || w.at(i).state == sentDone {
		return 0, false
	}
	return i, true
}

// done ends entry i and lets the head move on.
func (w *window) done(i uint32) {
	if int32(i-w.unsent) < 0 {
		w.open--
	}
	*w.at(i) = sent{id: w.at(i).id}
	for w.head != w.tail && w.at(w.head).state == sentDone {
		if w.head == w.unsent {
			w.unsent++
		}
		w.head++
	}
	if w.head == w.tail {
		w.ring, w.head, w.tail, w.unsent = nil, 0, 0, 0
	}
}

// rewind makes everything in the window be sent again, on a new connection.
func (w *window) rewind() { w.unsent, w.open = w.head, 0 }

// behind reports whether something has to be sent again first.
func (w *window) behind() bool { return w.unsent != w.tail }

// again gives the next entry that has to be sent again, if there is room for
// it; sentAgain says that it was.
func (w *window) again() (s *sent, ok bool) {
	for w.unsent != w.tail && w.at(w.unsent).state == sentDone {
		w.unsent++
	}
	if w.unsent == w.tail || w.open >= w.limit {
		return nil, false
	}
	return w.at(w.unsent), true
}

func (w *window) sentAgain() { w.unsent, w.open = w.unsent+1, w.open+1 }
