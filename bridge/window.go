package bridge

import "github.com/nackmq/nackmq/stream"

// A window holds what a session was sent with QoS 1 and 2 and has not
// acknowledged, in order. An entry names its message by the index; the log has the
// rest. It belongs to the loop.
//
// A message's packet id follows from its index (idOf). So a message that is sent
// again after a restart of the broker has the id that it had, though nobody wrote
// it down, and a client tells that it is the same one (MQTT 5, 4.3.3). A message
// whose id another one has waits for that one.
type window struct {
	ring    []sent // a power of two, or empty
	head    uint32
	tail    uint32
	unsent  uint32            // entries from here to tail were not sent on this connection
	places  map[uint16]uint32 // of the entries that are not done, by packet id
	held    map[uint16]bool   // ids of finished deliveries of QoS 2 that the log does not know to be finished
	holding map[uint16]bool   // … and that a save under way tells it
	open    int               // entries that were sent on this connection and are not done
	names   int               // bytes of what is rare in entries that are not done
	limit   int               // of open
}

type sentState uint8

const (
	sentDone     sentState = iota
	sentPublish            // PUBLISH sent; PUBACK or PUBREC is awaited
	sentReceived           // PUBREC came; before the PUBREL it has to be in the log
	sentReleased           // PUBREL sent, or to be sent; PUBCOMP is awaited
)

type sent struct {
	index  stream.Index
	rare   *rareSent // nil for most
	id     uint16
	qos    byte
	retain bool
	where  bool // it says the message's position
	state  sentState
}

// rareSent is what few deliveries have.
type rareSent struct {
	ids     []uint32       // MQTT 5's subscription identifiers
	group   string         // the key of a shared subscription
	subject stream.Subject // of a retained message: it is the subject's, not the log's
}

func (r *rareSent) size() int {
	if r == nil {
		return 0
	}
	return 5*len(r.ids) + len(r.group) + len(r.subject)
}

// of gives what e has of it.
func (e *sent) of() rareSent {
	if e.rare == nil {
		return rareSent{}
	}
	return *e.rare
}

// idOf gives the packet id of the message with an index.
func idOf(i stream.Index) uint16 { return uint16(i%65535) + 1 }

// maxSpan bounds the ring when the oldest entry is not acknowledged and later
// ones are.
const maxSpan = 1 << 14

// maxKept bounds what a session in the log has under way: each of its PUBRECs
// writes all of that down.
const maxKept = 1024

// maxNames bounds the bytes of what is rare in a window, which a client can make
// long by long topics and many subscription identifiers: all of it goes into the
// session's state in the log.
const maxNames = 64 << 10

// room reports whether the message with an index may be sent.
func (w *window) room(i stream.Index) bool {
	if w.open >= w.limit || w.unsent != w.tail || w.tail-w.head >= maxSpan || w.names > maxNames {
		return false
	}
	id := idOf(i)
	_, taken := w.places[id]
	return !taken && !w.isHeld(id)
}

// hold keeps a packet id from being used until the log knows that it is free: what
// it says of the id would be done to another message after a crash.
func (w *window) hold(id uint16) {
	if w.held == nil {
		w.held = make(map[uint16]bool)
	}
	w.held[id] = true
}

func (w *window) isHeld(id uint16) bool { return w.held[id] || w.holding[id] }

// add takes an entry in and gives its packet id.
func (w *window) add(s sent) uint16 {
	s.state = sentPublish
	w.push(s)
	w.unsent = w.tail
	w.open++
	return idOf(s.index)
}

// push puts an entry at the end, as one that was not sent on this connection.
func (w *window) push(s sent) {
	if n := uint32(len(w.ring)); w.tail-w.head == n {
		ring := make([]sent, max(4, 2*n))
		for i := w.head; i != w.tail; i++ {
			ring[i&uint32(len(ring)-1)] = w.ring[i&(n-1)]
		}
		w.ring = ring
	}
	if w.places == nil {
		w.places = make(map[uint16]uint32)
	}
	s.id = idOf(s.index)
	w.names += s.rare.size()
	w.places[s.id] = w.tail
	*w.at(w.tail) = s
	w.tail++
}

// drop takes back the newest entry, which was not sent after all.
func (w *window) drop() {
	w.tail--
	w.unsent = w.tail
	w.forget(w.tail)
	w.open--
	w.empty()
}

func (w *window) at(i uint32) *sent { return &w.ring[i&uint32(len(w.ring)-1)] }

// find gives the place of the entry with packet id; false if there is none that
// is not done.
func (w *window) find(id uint16) (i uint32, ok bool) {
	i, ok = w.places[id]
	return i, ok
}

// done ends entry i and lets the head move on.
func (w *window) done(i uint32) {
	if int32(i-w.unsent) < 0 {
		w.open--
	}
	w.forget(i)
	for w.head != w.tail && w.at(w.head).state == sentDone {
		if w.head == w.unsent {
			w.unsent++
		}
		w.head++
	}
	w.empty()
}

func (w *window) forget(i uint32) {
	e := w.at(i)
	delete(w.places, e.id)
	w.names -= e.rare.size()
	*e = sent{}
}

// empty gives the memory of a window back that holds nothing.
func (w *window) empty() {
	if w.head == w.tail {
		*w = window{limit: w.limit, open: w.open, held: w.held, holding: w.holding}
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
