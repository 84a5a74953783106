package cluster

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/stream"
)

// loop owns the engine. A round gives the disk what there is to write, then
// applies, then takes in one thing that happened; it waits for one only when
// there is nothing more to apply.
func (m *Member) loop() {
	defer m.wg.Done()
	defer m.end()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	always := make(chan struct{})
	close(always)
	closing, deadline := m.closing, (<-chan time.Time)(nil)
	ready, stopped := m.ready, false
	for {
		m.engine.HandleTime(m.now())
		m.feed()
		m.poll()
		var more chan struct{} // nil: nothing
		if m.engine.Step() {
			more = always
		}
		m.publishStatus()
		if ready != nil && m.engine.Ready() {
			close(ready)
			ready = nil
		}
		err := m.engine.Err()
		if closing == nil && (err != nil || m.drained()) {
			return
		}
		if err != nil && !stopped {
			stopped = true
			m.stop(err)
		}
		timer.Reset(m.untilDeadline())
		select {
		case <-more:
		case <-m.wake:
		case d := <-m.written:
			m.handleWritten(d)
		case s := <-m.saved:
			m.engine.HandleSnapshotWritten(s.index, s.err)
		case <-timer.C:
		case <-closing:
			closing = nil
			deadline = time.After(m.cfg.CloseTimeout)
		case <-deadline:
			return
		}
	}
}

// feed hands the engine what publishers have brought, and tells those whose
// publications were not taken in.
func (m *Member) feed() {
	for more := true; more; {
		want := m.engine.PollWant()
		m.mu.Lock()
		feed := m.queue.Feed(want)
		m.mu.Unlock()
		more = m.engine.HandleFeed(feed)
	}
}

// poll hands out what the engine wants done. Neither channel can be full: there
// is at most one of each kind under way.
func (m *Member) poll() {
	if w, ok := m.engine.PollWrite(); ok {
		m.toDisk <- diskWork{write: w}
	}
	if base, ok := m.engine.PollCompact(); ok {
		m.toDisk <- diskWork{compact: base}
	}
	if s, ok := m.engine.PollSnapshot(); ok {
		m.toHouse <- s
	}
	m.engine.PollMessages() // a member of one has nobody to send them to
}

func (m *Member) handleWritten(d diskDone) {
	m.engine.HandleTime(m.now())
	if d.compact {
		if d.err != nil {
			m.cfg.Log.Warn().Err(d.err).Msg("could not make the log shorter")
		}
		m.engine.HandleCompacted(d.err)
		return
	}
	m.engine.HandleWritten(d.err)
}

func (m *Member) observe(b *engine.Batch) {
	m.metrics.commit.Observe((m.mono() - b.Opened).Seconds())
}

func (m *Member) untilDeadline() time.Duration {
	if at, ok := m.engine.Deadline(); ok {
		return max(at-m.mono(), 0)
	}
	return time.Hour
}

func (m *Member) publishStatus() {
	s := m.engine.Status()
	m.mu.Lock()
	m.status.Status = s
	m.mu.Unlock()
}

// drained reports whether everything that was taken in was answered.
func (m *Member) drained() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.queue.Empty() && m.status.Waiting == 0
}

// stop notes why the member stopped by itself, and what to do.
func (m *Member) stop(err error) {
	what := "check its disk, then start the node again"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		what = "make room on its disk, then start the node again"
	case errors.Is(err, stream.ErrEntry), errors.Is(err, engine.ErrNewer):
		what = "start the version that wrote it, or a newer one"
	}
	err = fmt.Errorf("cluster: %s: %w; %s", m.dir.path, err, what)
	m.mu.Lock()
	m.err = err
	m.mu.Unlock()
	m.cfg.Log.Error().Err(err).Msg("member stopped: it confirms nothing more")
	close(m.stopped)
}

// end answers everybody who still waits, and ends the other goroutines.
func (m *Member) end() {
	m.engine.Stop()
	m.feed()
	m.mu.Lock()
	m.ended = true
	told := m.queue.Refused()
	m.mu.Unlock()
	for _, r := range told {
		r.Done(stream.Place{}, r.Err)
	}
	close(m.halt)
}
