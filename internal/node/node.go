package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/bridge"
	"github.com/nackmq/nackmq/cluster"
	"github.com/nackmq/nackmq/internal/config"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto/nacknet"
)

// Options are what a node is given beside its configuration.
type Options struct {
	Log   zerolog.Logger // the zero Logger says nothing
	Build Build
}

// A door serves clients of one language. A Node owns its doors.
type door interface {
	Serve(context.Context, net.Listener) error // until the door or the listener is closed
	WebSocket() http.Handler
	Drain(context.Context) error // sends the clients away
	Close() error                // waits for all that the door began
}

// leaveWithin is how long native clients have to go elsewhere when a node stops.
const leaveWithin = time.Second

// nativeDoor gives the native server the shape of a door.
type nativeDoor struct{ *nacknet.Server }

func (d nativeDoor) Drain(ctx context.Context) error {
	d.Server.Drain(ctx, leaveWithin)
	return nil
}

// A Node is one running node.
type Node struct {
	cfg      config.Config
	build    Build
	log      zerolog.Logger
	registry *prometheus.Registry
	started  time.Time
	addrs    Addresses
	web      *http.Server
	seats    *socket.Seats // for connections of all three ports

	state    atomic.Int32  // a State
	failed   chan struct{} // closed by fail
	stopping chan struct{} // closed by Stop
	running  sync.WaitGroup

	mu  sync.Mutex
	why error // why the node cannot go on; set once

	// Set before the state becomes Ready, and not written after that.
	member       *cluster.Member
	mqtt, native door
}

// Start starts a node and returns when it takes clients. Its error is one
// sentence; nothing runs then. When ctx ends while the log is read, the node is
// closed again as soon as it has been.
func Start(ctx context.Context, cfg config.Config, o Options) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l, err := listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, build: o.Build, log: o.Log,
		registry: newRegistry(o.Build),
		started:  time.Now(),
		addrs:    l.addresses(),
		seats:    socket.NewSeats(0),
		failed:   make(chan struct{}),
		stopping: make(chan struct{}),
	}
	n.web = n.newHTTPServer()
	n.running.Go(func() {
		if err := n.web.Serve(n.seats.Listener(l.http)); !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("http: %w", err))
		}
	})
	if err := n.open(ctx, l); err != nil {
		n.web.Close()
		l.close()
		n.running.Wait()
		return nil, err
	}
	n.log.Info().Str("name", cfg.Name()).Str("version", o.Build.Version).
		Str("mqtt", n.addrs.MQTT).Str("native", n.addrs.Native).Str("http", n.addrs.HTTP).Msg("node ready")
	return n, nil
}

// open reads the log and opens the doors.
func (n *Node) open(ctx context.Context, l listeners) error {
	member, err := cluster.Open(cluster.Config{
		DataDir:    n.cfg.DataDir,
		Limits:     n.cfg.Limits,
		Log:        n.log.With().Str("room", "cluster").Logger(),
		Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	n.member = member
	if ctx.Err() != nil {
		return errors.Join(errors.New("interrupted while the log was read"), member.Close())
	}
	set := metrics.New(n.registry)
	origins := append(slices.Clone(loopbackOrigins), n.cfg.HTTPOrigins...)
	if n.mqtt, err = bridge.New(bridge.Config{
		Broker:    member.Broker(),
		Publisher: member,
		Node:      member.Status().Node,
		Version:   n.build.Version,
		Seats:     n.seats,
		Origins:   origins,
		Metrics:   set,
		Log:       n.log.With().Str("room", "mqtt").Logger(),
	}); err != nil {
		return errors.Join(err, member.Close())
	}
	native, err := nacknet.NewServer(nacknet.ServerConfig{
		Broker:    member.Broker(),
		Publisher: member,
		Metrics:   set,
		Node:      n.cfg.Name(),
		Seats:     n.seats,
		Origins:   origins,
		Log:       n.log.With().Str("room", "native").Logger(),
	})
	if err != nil {
		return errors.Join(err, n.mqtt.Close(), member.Close())
	}
	n.native = nativeDoor{native}
	n.serve("mqtt", n.mqtt, l.mqtt)
	n.serve("native", n.native, l.native)
	n.running.Go(func() {
		select {
		case <-member.Stopped():
			n.fail(member.Err())
		case <-n.stopping:
		}
	})
	n.state.Store(int32(Ready))
	return nil
}

// serve serves a door's clients until it is closed.
func (n *Node) serve(name string, d door, ln net.Listener) {
	n.running.Go(func() {
		err := d.Serve(context.Background(), ln)
		if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, nacknet.ErrServerClosed) {
			n.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// State tells how far the node is.
func (n *Node) State() State { return State(n.state.Load()) }

// Addresses tells what the node listens on.
func (n *Node) Addresses() Addresses { return n.addrs }

// Failed is closed when the node cannot go on by itself. It is to be stopped
// then, and Stop tells why.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// fail notes why the node cannot go on. The first reason counts.
func (n *Node) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.why == nil && n.State() != Stopping {
		n.why = err
		close(n.failed)
	}
}

// Stop sends the clients away, until ctx ends, commits what was taken in and
// gives everything back. It is called once. The error is why the node could not
// go on, if it could not, or else what went wrong in stopping.
func (n *Node) Stop(ctx context.Context) error {
	n.log.Info().Msg("node stopping")
	n.state.Store(int32(Stopping))
	close(n.stopping)
	var drained sync.WaitGroup
	for _, d := range []door{n.mqtt, n.native} {
		drained.Go(func() {
			_ = d.Drain(ctx) // late clients are cut off
			_ = d.Close()
		})
	}
	drained.Wait()
	err := n.member.Close()
	if n.web.Shutdown(ctx) != nil {
		n.web.Close()
	}
	n.running.Wait()
	n.log.Info().Msg("node stopped")
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.why != nil {
		return n.why
	}
	return err
}
