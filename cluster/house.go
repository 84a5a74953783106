package cluster

import (
	"errors"
	"io"
	"time"

	"github.com/nackmq/nackmq/cluster/engine"
)

// saved is what became of a snapshot.
type saved struct {
	index uint64
	err   error
}

// house does what takes long and nobody waits for.
func (m *Member) house() {
	defer m.wg.Done()
	for {
		select {
		case s := <-m.toHouse:
			m.saved <- saved{s.Index, m.save(s)}
		case <-m.halt:
			return
		}
	}
}

// errHalted ends a snapshot that nobody wants any more.
var errHalted = errors.New("the member is being closed")

func (m *Member) save(s engine.Snapshot) error {
	start := time.Now()
	size, err := m.store.Save(s.Mark, haltable{m, s.View})
	took := time.Since(start)
	if errors.Is(err, errHalted) {
		return err
	}
	if err != nil {
		m.cfg.Log.Warn().Err(err).Msg("could not take a snapshot; the log stays longer")
		return err
	}
	m.metrics.snapshots.Observe(took.Seconds())
	m.cfg.Log.Debug().Uint64("entry", s.Index).Int64("bytes", size).Dur("took", took).Msg("snapshot taken")
	return nil
}

// haltable ends the writing of a snapshot when the member is closed.
type haltable struct {
	m *Member
	w io.WriterTo
}

func (h haltable) WriteTo(w io.Writer) (int64, error) { return h.w.WriteTo(haltWriter{h.m, w}) }

type haltWriter struct {
	m *Member
	w io.Writer
}

func (h haltWriter) Write(p []byte) (int, error) {
	select {
	case <-h.m.halt:
		return 0, errHalted
	default:
		return h.w.Write(p)
	}
}
