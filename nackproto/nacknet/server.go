package nacknet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// ServerConfig is what a Server is made of. Broker and Publisher are needed.
type ServerConfig struct {
	Broker     *broker.Broker
	Publisher  broker.Publisher
	Authorizer session.Authorizer // nil: everybody may do everything
	Limits     session.Limits     // of each loop
	Loops      int                // default GOMAXPROCS
	Seats      *socket.Seats      // for connections; default as many as the limit of open files allows
	Node       string             // this member's name
	Servers    []string           // URLs of the cluster's servers, told to clients
	Origins    []string           // patterns of hosts whose pages may connect by WebSocket, besides our own
	Log        zerolog.Logger
	Metrics    *metrics.Set // nil: nothing is counted
}

// Validate says in one sentence which field is missing or out of its range.
func (c *ServerConfig) Validate() error {
	switch {
	case c.Broker == nil || c.Publisher == nil:
		return errors.New("nacknet: Broker and Publisher must be set")
	case c.Loops < 0 || c.Loops > maxLoops:
		return fmt.Errorf("nacknet: Loops must be 1 to %d, or 0 for GOMAXPROCS", maxLoops)
	}
	if err := c.Limits.Validate(); err != nil {
		return fmt.Errorf("nacknet: %w", err)
	}
	return nil
}

// maxLoops bounds Loops: each is woken by every commit.
const maxLoops = 1024

// ErrServerClosed is what Serve gives after Close.
var ErrServerClosed = errors.New("nacknet: the server is closed")

// A Server is the native protocol's door. Its loops share nothing but the broker:
// each has a session.Core, a broker.Reader and an inbox, and every connection
// belongs to one of them.
type Server struct {
	cf    ServerConfig
	loops []*loop
	next  atomic.Uint64 // counts the connections that were taken
	live  atomic.Int64  // connections, also those that are being closed
	wg    sync.WaitGroup
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	once  sync.Once
	stats *counters

	behindAt atomic.Int64 // when a client was last sent away as BEHIND; Unix milliseconds

	mu     sync.Mutex
	closed bool
	claims map[stream.PublisherID]claim
}

// A claim is the session that publishes as some incarnation. serial is its
// connection's.
type claim struct {
	loop   *loop
	id     session.ID
	serial uint64
}

// NewServer starts the loops of a server. Close ends them.
func NewServer(cf ServerConfig) (*Server, error) {
	if err := cf.Validate(); err != nil {
		return nil, err
	}
	if cf.Loops == 0 {
		cf.Loops = runtime.GOMAXPROCS(0)
	}
	if cf.Seats == nil {
		cf.Seats = socket.NewSeats(0)
	}
	s := &Server{
		cf: cf, stats: newCounters(cf.Metrics), claims: map[stream.PublisherID]claim{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	for range cf.Loops {
		l, err := newLoop(s)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.loops = append(s.loops, l)
		s.wg.Add(1)
		go l.run() // at once: it is what ends l if the next one cannot be made
	}
	return s, nil
}

// Serve takes connections from l until ctx ends or the server is closed, and
// closes l. Connections that were taken live on.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, func(nc net.Conn) { s.adopt(nc) })
}

// Connections gives the number of connections.
func (s *Server) Connections() int { return int(s.live.Load()) }

// Drain asks all clients to be gone within some time, and waits until they are
// or the time is over. Close comes next.
func (s *Server) Drain(ctx context.Context, within time.Duration) {
	s.tellAll(event{kind: evDrain, within: within})
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.live.Load() > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// SetStale says whether this member is cut off from the majority; clients are
// told by heartbeats.
func (s *Server) SetStale(stale bool) { s.tellAll(event{kind: evStale, stale: stale}) }

// Close tells all clients that the server goes away, ends every connection and
// waits for every goroutine.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.stop()
	})
	s.wg.Wait()
	return nil
}

// behindQuiet is how long no client may be sent away as BEHIND for the next one to
// be told to the operator again.
const behindQuiet = time.Minute

// warnBehind tells the operator, once a burst, that clients know more than this
// member does. now is Unix milliseconds.
func (s *Server) warnBehind(now int64) {
	if last := s.behindAt.Swap(now); now-last >= behindQuiet.Milliseconds() {
		s.cf.Log.Warn().Msg("clients ask for what comes after messages that this node does not have; it is behind its cluster, its log is an old one, or they ask for what never was")
	}
}

func (s *Server) tellAll(e event) {
	for _, l := range s.loops {
		l.inbox.post(e)
	}
}

// claim notes that a session publishes as p, and has an older one closed. Older is
// whose connection was taken first: a client that was not answered in time and
// came again may have left a HELLO that is read after its next one, and to close
// the next one would send it away for good. PROTOCOL.md §6.1.
func (s *Server) claim(n claim, p stream.PublisherID) {
	s.mu.Lock()
	old, ok := s.claims[p]
	if ok && old.serial > n.serial {
		old = n
	} else {
		s.claims[p] = n
	}
	s.mu.Unlock()
	if ok {
		old.loop.inbox.post(event{kind: evReplaced, id: old.id})
	}
}

func (s *Server) unclaim(l *loop, id session.ID, p stream.PublisherID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[p]; c.loop == l && c.id == id {
		delete(s.claims, p)
	}
}

// codes are what the wire says of what a publisher answers.
var codes = [broker.Results]nackproto.PublishCode{
	broker.Placed:   nackproto.Placed,
	broker.NoQuorum: nackproto.NoQuorum,
	broker.Busy:     nackproto.Busy,
	broker.TooLarge: nackproto.TooLarge,
	broker.Refused:  nackproto.Quota,
	broker.Stopped:  nackproto.Unknown,
	broker.Failed:   nackproto.Unknown,
}
