package bridge

import (
	"container/heap"
	"sync"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// A session is what the broker keeps for a client id. It belongs to the loop,
// but for in, which has its own lock.
//
// A connected session is live or late. A live one was given everything up to the
// loop's cursor. A late one was given everything up to its own cursor; it is
// ready when it can take more. An offline session is late without being ready,
// and its subscriptions are not in the index.
type session struct {
	id     string
	origin stream.PublisherID
	client *client // nil: offline
	in     inbound

	subs   map[string]*subscription // by name
	groups []*group                 // of the shared ones among them, while connected

	late     bool
	ready    bool
	listed   bool         // in the loop's list of those that are ready
	resuming bool         // the outcome of its resume is not known yet
	cursor   stream.Index // while late
	online   stream.Index // the log's head when it connected: what is older and of QoS 0 is not replayed
	jobs     []*retainedJob
	out      window
	lost     losses // what is to be told to an MQTT 5 client: see lostKey

	expiry uint32 // seconds that it outlives its connection
	ends   time.Time
	will   *will // while offline, with a delay
	willAt time.Time

	due   time.Time // the first of ends and willAt
	place int       // in the heap of deadlines; -1: not in it
}

func newSession(id string) *session {
	return &session{
		id:     id,
		origin: originOf(id),
		subs:   map[string]*subscription{},
		in:     inbound{ids: map[uint16]*received{}},
		place:  -1,
	}
}

// An inbound holds the packet ids of QoS 2 publications that a client may send
// again: from PUBLISH until PUBREL (MQTT 5, 4.3.3).
type inbound struct {
	mu   sync.Mutex
	ids  map[uint16]*received
	open int // of ids, those that came on this connection
}

// received is one of them. While it waits for its commit it remembers where the
// PUBREC has its place, which is on another connection after a reconnect.
type received struct {
	committed bool
	conn      *conn
	slot      uint32
}

// deadlines is a heap of sessions by due.
type deadlines []*session

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}
func (d *deadlines) Push(x any) {
	s := x.(*session)
	s.place = len(*d)
	*d = append(*d, s)
}
func (d *deadlines) Pop() any {
	old := *d
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	s.place = -1
	return s
}

// set gives s a deadline from its ends and willAt.
func (d *deadlines) set(s *session) {
	s.due = s.ends
	if s.will != nil && (s.due.IsZero() || s.willAt.Before(s.due)) {
		s.due = s.willAt
	}
	switch {
	case s.due.IsZero():
		d.clear(s)
	case s.place < 0:
		heap.Push(d, s)
	default:
		heap.Fix(d, s.place)
	}
}

func (d *deadlines) clear(s *session) {
	if s.place >= 0 {
		heap.Remove(d, s.place)
	}
}
