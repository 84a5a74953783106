package bridge

import (
	"sync"

	"github.com/nackmq/nackmq/stream"
)

// A session is what the broker keeps for a client id while it is connected. It
// belongs to the loop, but for in, which has its own lock. One that outlives its
// connection, or has a will, has a record in the log, from which it is made and
// into which it goes (state.go); an offline one is that record and nothing else.
//
// A session is live or late. A live one was given everything up to the loop's
// cursor. A late one was given everything up to its own cursor; it is ready when
// it can take more.
type session struct {
	id     string
	origin stream.PublisherID
	fence  stream.Fence // of its record in the log; 0: it has none
	kept   bool         // it outlives its connection, by the word of its CONNECT
	client *client      // nil: it is leaving
	in     inbound

	subs     map[string]*subscription // by name
	subBytes int                      // of the names
	groups   []*group                 // of the shared ones among them

	late     bool
	ready    bool
	listed   bool         // in the loop's list of those that are ready
	resuming bool         // the outcome of its resume is not counted yet
	cursor   stream.Index // while late
	online   stream.Index // the log's head when it connected: what is older and of QoS 0 is not replayed
	unsure   stream.Index // up to here it may have been sent messages of QoS 2 that nobody wrote down
	jobs     []*job
	begins   map[string]stream.Index // of filters that are asked for and will read the log from there
	out      window
	lost     losses // what is to be told to an MQTT 5 client: see lostKey

	changed bool         // since it was saved
	saved   stream.Index // the cursor that was saved last
	saving  bool         // a save is under way
	urgent  bool         // PUBRELs wait for a save
	waiting []func()     // who wants the client id when the session has left
}

func newSession(id string) *session {
	return &session{
		id:     id,
		origin: originOf(id),
		subs:   map[string]*subscription{},
		in:     inbound{ids: map[uint16]*received{}},
	}
}

// at gives the index up to which the session was served.
func (s *session) at(l *loop) stream.Index {
	if s.late {
		return s.cursor
	}
	return l.cursor
}

// An inbound holds the packet ids of QoS 2 publications that a client may send
// again: from PUBLISH until PUBREL (MQTT 5, 4.3.3).
type inbound struct {
	mu   sync.Mutex
	ids  map[uint16]*received
	open int // of ids, those that came on this connection
}

// received is one of them. It is the one of an earlier connection until the client
// sends it again.
type received struct {
	committed bool
	releasing bool // PUBREL came, and waits for its commit
	here      bool // it came on this connection
}
