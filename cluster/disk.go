package cluster

import (
	"sync"
	"time"

	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/cluster/wal"
)

// diskWork is a write, or a compaction if compact is not 0.
type diskWork struct {
	write   engine.Write
	compact uint64
}

type diskDone struct {
	compact bool
	err     error
}

// guardEvery is how often the log's guard is given to the disk.
const guardEvery = time.Second

// disk changes the log: everything that does happens here, one after the other.
func (m *Member) disk() {
	defer m.wg.Done()
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case w := <-m.toDisk:
			if w.compact != 0 {
				m.written <- diskDone{true, m.compact(w.compact)}
			} else {
				m.written <- diskDone{false, m.append(w.write)}
			}
		case <-tick.C:
			// An error is told by the next write, which cannot succeed after it.
			_ = m.log.flushGuard()
		case <-m.halt:
			return
		}
	}
}

func (m *Member) append(w engine.Write) error {
	start := time.Now()
	err := m.log.append(w.State, w.Entries)
	m.metrics.sync.Observe(time.Since(start).Seconds())
	if err != nil {
		return err
	}
	bytes := 0
	for i := range w.Entries {
		bytes += len(w.Entries[i].Data)
	}
	m.metrics.entries.Add(float64(len(w.Entries)))
	m.metrics.logBytes.Add(float64(bytes))
	return nil
}

func (m *Member) compact(base uint64) error {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	return m.store.Compact(base)
}

// sharedLog is the log with a lock: the loop reads old entries while the disk
// goroutine writes. The loop reads newer ones from memory, so at the end of a
// start it hardly ever comes here.
type sharedLog struct {
	mu  sync.Mutex
	log *wal.Log
}

func (s *sharedLog) First() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.First()
}

func (s *sharedLog) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Last()
}

func (s *sharedLog) Term(i uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Term(i)
}

func (s *sharedLog) Entries(lo, hi uint64, maxBytes int64, buf []wal.Entry) ([]wal.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Entries(lo, hi, maxBytes, buf)
}

func (s *sharedLog) append(st *wal.State, es []wal.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Append(st, es)
}

func (s *sharedLog) flushGuard() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.FlushGuard()
}
