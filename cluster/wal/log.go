package wal

import "fmt"

// Entry is one entry of the log.
type Entry struct {
	Index, Term uint64
	Kind        uint8 // the engine's
	Data        []byte
}

// State is Raft's hard state.
type State struct{ Term, Vote, Commit uint64 }

// Config is fixed for the life of a log, but for SegmentBytes.
type Config struct {
	SegmentBytes      int64  // of a segment file; 0: 64 MiB. A larger batch gets a larger segment
	ClusterID, NodeID uint64 // stand in every file and are checked
}

func (c Config) segmentBytes() int64 {
	switch {
	case c.SegmentBytes <= 0:
		return 64 << 20
	case c.SegmentBytes < 4096:
		return 4096
	}
	return c.SegmentBytes
}

// Report tells what Open found, for the operator.
type Report struct {
	// Repaired: the file ended in a batch that was written but never confirmed,
	// as a crash leaves it. Its bytes were replaced by zeros.
	Repaired      bool
	RepairedFile  string
	RepairedBytes int64

	Entries     int    // that the log holds
	Segments    int    // files
	Bytes       int64  // of entries and frames in these files
	Unconfirmed int    // whole batches behind the guard: kept, and synced by Open
	Guard       string // not empty: what was wrong with the guard, and was put right
}

// Log is a log on disk. It belongs to one goroutine.
type Log struct {
	dir Dir
	cfg Config
	x   index

	buf    []byte
	frames []frameAt // of the batch being written
	number uint64    // of the last batch
	chain  uint32    // crc of the last frame or header
	err    error     // why no further call can succeed

	guardFile File
	unflushed int // slots written since the guard was synced or flushed
}

type frameAt struct {
	off    int64
	first  uint64 // index of its first entry, 0 if it has none
	from   int    // place of that entry in the batch
	length int    // without padding
}

// First is the index of the first entry that the log holds, or Last()+1.
func (l *Log) First() uint64 { return l.x.base + 1 }

// Last is the index of the last entry, or of the base if there is none.
func (l *Log) Last() uint64 { return l.x.last }

// State is the hard state appended last.
func (l *Log) State() State { return l.x.state }

// Term is the term of an entry or of the base, First()-1. Otherwise the error is
// ErrCompacted or ErrUnavailable.
func (l *Log) Term(i uint64) (uint64, error) { return l.x.term(i) }

// Close syncs the guard and closes the files. It returns why the log was broken,
// if it was.
func (l *Log) Close() error {
	if l.err == ErrClosed {
		return nil
	}
	if l.err == nil {
		if err := l.guardFile.Sync(); err != nil {
			l.broken(err)
		}
	}
	err := l.err
	l.err = ErrClosed
	for _, s := range l.x.segs {
		s.file.Close()
	}
	l.guardFile.Close()
	return err
}

// broken makes err the answer to every later call.
func (l *Log) broken(err error) error {
	l.err = fmt.Errorf("wal: the log stopped and must be opened again: %w", err)
	return l.err
}

// FlushGuard lets the disk begin to write the guard, without waiting. See the
// package comment for what that is good for.
func (l *Log) FlushGuard() error {
	if l.err != nil || l.unflushed == 0 {
		return l.err
	}
	l.unflushed = 0
	if err := l.guardFile.Flush(); err != nil {
		return l.broken(err)
	}
	return nil
}

// writeGuard tells the guard where the log ends, and makes that durable if it must.
func (l *Log) writeGuard(g guard, durable bool) error {
	_, err := l.guardFile.WriteAt(g.encode(l.cfg), int64(g.number%2)*guardSlot)
	l.unflushed++
	if err == nil && durable {
		l.unflushed = 0
		err = l.guardFile.Sync()
	}
	return err
}

// guard is what the guard is to say.
func (l *Log) guard() guard {
	first, last := l.x.segs[0], l.x.segs[len(l.x.segs)-1]
	term, _ := l.x.term(l.x.last)
	return guard{number: l.number, first: first.number, last: last.number, offset: last.end, chain: l.chain,
		index: l.x.last, term: term, base: l.x.base, bterm: l.x.baseTerm}
}
