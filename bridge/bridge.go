package bridge

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/stream"
)

// Config says what a Bridge serves and within which limits. The zero value of a
// limit means its default.
type Config struct {
	Broker     *broker.Broker
	Publisher  broker.Publisher
	Node       stream.NodeID // this member, not 0: it holds the sessions of the clients that are connected here
	Log        zerolog.Logger
	Metrics    *metrics.Set
	Authorizer Authorizer // nil: everybody may do everything
	Version    string     // that $SYS tells

	Seats            *socket.Seats // for connections, as many as the limit of open files allows; one without is closed as it comes
	MaxSubscriptions int           // 10,000 of one session
	MaxPacket        int           // 1 MiB, of a packet that a client sends
	ReceiveMaximum   int           // 1,024 publications of an MQTT 5 client without acknowledgement
	Window           int           // 256 deliveries to a client that does not say how many it takes
	Buffer           int           // 256 KiB of deliveries that a connection has not taken
	Uncommitted      int           // 32 MiB of all connections' publications that wait for their commit
	TopicAliasMax    int           // 32, of an MQTT 5 publisher
	MaxKeepAlive     time.Duration // no limit; else an MQTT 5 client is told so
	ConnectTimeout   time.Duration // 10 s from accepting a connection to its CONNECT
	StuckTimeout     time.Duration // 30 s in which a peer takes no byte
	SysInterval      time.Duration // 10 s between the values of $SYS
	SessionExpiry    time.Duration // 7 days, the longest that a session outlives its connection
	Origins          []string      // hosts whose pages may open a WebSocket, beside our own
}

func (c *Config) setDefaults() {
	if c.Seats == nil {
		c.Seats = socket.NewSeats(0)
	}
	c.MaxSubscriptions = cmp.Or(c.MaxSubscriptions, 10_000)
	c.MaxPacket = cmp.Or(c.MaxPacket, 1<<20)
	c.ReceiveMaximum = cmp.Or(c.ReceiveMaximum, 1024)
	c.Window = cmp.Or(c.Window, 256)
	c.Buffer = cmp.Or(c.Buffer, 256<<10)
	c.Uncommitted = cmp.Or(c.Uncommitted, 32<<20)
	c.TopicAliasMax = cmp.Or(c.TopicAliasMax, 32)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 10*time.Second)
	c.StuckTimeout = cmp.Or(c.StuckTimeout, 30*time.Second)
	c.SysInterval = cmp.Or(c.SysInterval, 10*time.Second)
	c.SessionExpiry = cmp.Or(c.SessionExpiry, 7*24*time.Hour)
	if c.Authorizer == nil {
		c.Authorizer = allowAll{}
	}
}

// Validate says in one sentence which field is missing or out of its range.
func (c *Config) Validate() error {
	switch {
	case c.Broker == nil || c.Publisher == nil || c.Metrics == nil:
		return errors.New("bridge: Broker, Publisher and Metrics must be set")
	case c.Node == 0:
		return errors.New("bridge: Node must be set")
	case c.ReceiveMaximum < 0 || c.ReceiveMaximum > 65535:
		return errors.New("bridge: ReceiveMaximum must be 1 to 65535")
	case c.Window < 0 || c.Window > maxSpan:
		return errors.New("bridge: Window must be 1 to 16384")
	case c.TopicAliasMax < 0 || c.TopicAliasMax > 65535:
		return errors.New("bridge: TopicAliasMax must be 1 to 65535")
	case c.Buffer < 0 || c.Uncommitted < 0:
		return errors.New("bridge: Buffer and Uncommitted must not be negative")
	case c.MaxSubscriptions < 0:
		return errors.New("bridge: MaxSubscriptions must not be negative")
	case c.ConnectTimeout < 0 || c.StuckTimeout < 0 || c.SessionExpiry < 0 || c.SysInterval < 0:
		return errors.New("bridge: ConnectTimeout, StuckTimeout, SessionExpiry and SysInterval must not be negative")
	case c.MaxKeepAlive < 0 || c.MaxKeepAlive > 65535*time.Second || c.MaxKeepAlive%time.Second != 0:
		return errors.New("bridge: MaxKeepAlive must be whole seconds, at most 65535")
	case c.MaxPacket != 0 && c.MaxPacket < 1024 || c.MaxPacket > stream.MaxItemBytes:
		return errors.New("bridge: MaxPacket must be 1 KiB to 16 MiB")
	}
	return nil
}

// An Identity is a client as an Authorizer sees it.
type Identity struct {
	ClientID string
	Username string
	Remote   net.Addr
}

// An Authorizer decides what a client may do. It is called on the connections'
// goroutines, several at a time.
type Authorizer interface {
	Connect(id Identity, password []byte) bool
	Publish(id Identity, s stream.Subject) bool
	Subscribe(id Identity, f stream.Filter) bool
}

type allowAll struct{}

func (allowAll) Connect(Identity, []byte) bool          { return true }
func (allowAll) Publish(Identity, stream.Subject) bool  { return true }
func (allowAll) Subscribe(Identity, stream.Filter) bool { return true }

// A Bridge serves MQTT clients. Its methods may be called from any goroutine.
type Bridge struct {
	cfg     Config
	meters  meters
	counts  counts
	loop    *loop
	acker   *acker
	budget  *budget
	waiting sync.Once      // whoever drains first begins to wait for wg
	gone    chan struct{}  // closed when nobody is left
	wg      sync.WaitGroup // of connections and accept loops

	toldTooLarge atomic.Int64    // when, Unix nanoseconds
	serving      context.Context // ends when Drain begins
	stop         context.CancelFunc

	mu      sync.Mutex
	closing bool // Drain has begun
	closed  bool // Close has begun
	full    bool // the last connection was turned away
	clients map[*client]bool
	byID    map[string]*client // the connection that has a client id
}

// New starts a Bridge, which serves nobody until Serve or WebSocket is used.
func New(cfg Config) (*Bridge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	b := &Bridge{
		cfg:     cfg,
		meters:  newMeters(cfg.Metrics),
		acker:   newAcker(),
		budget:  newBudget(cfg.Uncommitted),
		clients: map[*client]bool{},
		gone:    make(chan struct{}),
		byID:    map[string]*client{},
	}
	b.serving, b.stop = context.WithCancel(context.Background())
	b.loop = newLoop(b)
	return b, nil
}

// Drain takes no more connections, tells the clients that the server is shutting
// down, and waits until they are gone or ctx ends. Close comes after it.
func (b *Bridge) Drain(ctx context.Context) error {
	b.mu.Lock()
	b.closing = true
	b.stop()
	for c := range b.clients {
		c.shut(c.disconnectPacket(packets.ErrServerShuttingDown), nil)
	}
	b.mu.Unlock()
	b.waiting.Do(func() {
		go func() { b.wg.Wait(); close(b.gone) }()
	})
	select {
	case <-b.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close drains and stops. It waits for every goroutine of b; Publisher must
// still answer meanwhile. Closing twice is a no-op.
func (b *Bridge) Close() error {
	b.mu.Lock()
	was := b.closed
	b.closed = true
	b.mu.Unlock()
	_ = b.Drain(context.Background())
	if was {
		<-b.loop.stopped
		return nil
	}
	b.loop.close()
	b.acker.close()
	return nil
}

// WebSocket gives the handler for MQTT over WebSocket, to be mounted at /mqtt.
func (b *Bridge) WebSocket() http.Handler { return http.HandlerFunc(b.serveWebSocket) }
