package engine

import (
	"fmt"

	"github.com/nackmq/nackmq/stream"
)

// keptSnapshots is how many there are at most: the base and two younger ones.
const keptSnapshots = 3

// snapshots plans when to take one, and which is the base. A snapshot holds the
// ledger without its cache, so it may become the base, and the log behind it the
// whole history, only when the cache needs nothing from before it: then base and
// log together rebuild both exactly.
type snapshots struct {
	every  int64 // log bytes between two
	logged int64 // log bytes since the last one, or since the youngest that a start found

	base    uint64
	younger []uint64 // rising
	taking  bool     // one was polled and is not handled yet
	due     bool
	moving  uint64 // the base that was polled by PollCompact, 0 if none
}

// A Snapshot is what a snapshot file is made of.
type Snapshot struct {
	Mark
	View *stream.View
}

func (s *snapshots) init(c *Config) {
	s.every = c.SnapshotBytes
	s.base = c.Base.Index
	s.younger = append(s.younger, c.Younger...)
}

// plan notes when the next one is due. While a start applies the log again, those
// that it found lie ahead: one taken before them could be passed by the base while
// it is being written.
func (s *snapshots) plan(e *Engine) {
	if n := len(s.younger); n > 0 && e.applied <= s.younger[n-1] {
		s.logged = 0
	}
	if s.logged >= s.every && !s.taking && e.applied > s.base && 1+len(s.younger) < keptSnapshots {
		s.due = true
	}
}

// PollSnapshot gives what the next snapshot file is to hold, if one is due. The
// view may be read by another goroutine.
func (e *Engine) PollSnapshot() (Snapshot, bool) {
	s := &e.snaps
	if e.err != nil || !s.due {
		return Snapshot{}, false
	}
	s.due, s.taking, s.logged = false, true, 0
	return Snapshot{Mark{e.applied, e.appliedAt, e.conf}, e.cfg.Machine.View()}, true
}

// HandleSnapshotWritten says that the snapshot is durable, or that there is none.
// An error is no reason to stop: the next one is taken after as much log again.
func (e *Engine) HandleSnapshotWritten(index uint64, err error) {
	e.snaps.taking = false
	if err == nil {
		e.snaps.younger = append(e.snaps.younger, index)
	}
}

// PollCompact gives the index of the snapshot that is to become the base, if one
// can. Then the log up to it and the snapshots before it are not needed any more.
func (e *Engine) PollCompact() (base uint64, ok bool) {
	s := &e.snaps
	if e.err != nil || s.moving != 0 || len(s.younger) == 0 {
		return 0, false
	}
	floor := e.cfg.Machine.Floor()
	for _, i := range s.younger {
		if i <= floor {
			s.moving = i
		}
	}
	if s.moving == 0 {
		return 0, false
	}
	term, err := e.store.Term(s.moving)
	if err != nil {
		e.fail(fmt.Errorf("engine: term of entry %d: %w", s.moving, err))
		return 0, false
	}
	// From now on raft reads nothing that is about to be deleted.
	e.store.compact(s.moving, term)
	return s.moving, true
}

// HandleCompacted says that the base has moved, or that it stays: then that
// snapshot is of no use, and a later one is tried.
func (e *Engine) HandleCompacted(err error) {
	s := &e.snaps
	base := s.moving
	s.moving = 0
	if err == nil {
		s.base = base
	}
	for len(s.younger) > 0 && s.younger[0] <= base {
		s.younger = s.younger[1:]
	}
}
