package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/cluster/store"
	"github.com/nackmq/nackmq/stream"
)

// A Member is this node's part of the cluster: it takes publications in, and its
// broker has what was agreed on. It is a broker.Publisher.
type Member struct {
	cfg     Config
	dir     *dataDir
	store   *store.Store
	log     *sharedLog // the store's, for several goroutines
	broker  *broker.Broker
	engine  *engine.Engine // the loop's
	metrics *metrics
	born    time.Time

	wake    chan struct{} // one slot: there is something in the queue
	toDisk  chan diskWork
	written chan diskDone
	toHouse chan engine.Snapshot
	saved   chan saved
	closing chan struct{}
	ready   chan struct{}
	stopped chan struct{}
	wg      sync.WaitGroup
	halt    chan struct{} // ends disk and house

	mu     sync.Mutex
	queue  *engine.Queue
	ended  bool // the loop is gone
	closed bool
	err    error // why the member stopped
	status Status
}

// Status tells how a member stands.
type Status struct {
	Cluster stream.ClusterID
	Node    stream.NodeID
	Life    uint32
	engine.Status
}

var _ broker.Publisher = (*Member)(nil)

// Publish implements broker.Publisher. It copies it.
func (m *Member) Publish(it stream.Item, done func(stream.Place, error)) {
	m.mu.Lock()
	if m.ended {
		m.mu.Unlock()
		go done(stream.Place{}, broker.ErrStopped) // there is nobody left who could call it
		return
	}
	wake := m.queue.Add(&it, done, m.mono())
	m.mu.Unlock()
	if wake {
		m.poke()
	}
}

func (m *Member) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Broker gives the member's log to read.
func (m *Member) Broker() *broker.Broker { return m.broker }

// Status gives the state as of the loop's last round.
func (m *Member) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

// Stopped is closed when the member has stopped by itself: Err says why. It
// confirms nothing from then on, and is to be closed.
func (m *Member) Stopped() <-chan struct{} { return m.stopped }

// Err tells why the member stopped by itself; nil while it has not.
func (m *Member) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Close takes no more in, waits until what was taken in is committed, at most
// Config.CloseTimeout, and gives everything back. What is not committed by then
// is answered with broker.ErrStopped. It returns why the member had stopped by
// itself, if it had.
func (m *Member) Close() error {
	m.mu.Lock()
	was := m.closed
	m.closed = true
	m.queue.Close()
	m.mu.Unlock()
	if was {
		m.wg.Wait()
		return m.Err()
	}
	close(m.closing)
	m.wg.Wait()
	err := m.store.Log.Close()
	err = errors.Join(err, m.dir.close())
	if stop := m.Err(); stop != nil {
		return stop
	}
	if err != nil {
		return fmt.Errorf("cluster: close: %w", err)
	}
	m.cfg.Log.Info().Msg("member stopped")
	return nil
}

func (m *Member) mono() time.Duration { return time.Since(m.born) }

func (m *Member) now() engine.Now {
	t := time.Now()
	return engine.Now{Mono: t.Sub(m.born), Wall: t.UnixMilli()}
}
