// Package store is what a member has on its disk: the log, and the snapshots that
// it goes on from. Each is a room of its own (wal, snap); this one knows how they
// belong together: what a start finds and what it makes of it, and in which order
// they change, so that a crash between two changes leaves a pair that fits.
//
// It is pure over two wal.Dir: package cluster gives it directories, internal/sim
// ones that fail. It has no lock. Compact changes the log and belongs to whoever
// writes it; Save does not touch the log, and may run beside that.
package store

import (
	"fmt"
	"io"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/cluster/snap"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// Config says where a store is, and whose.
type Config struct {
	Log, Snap    wal.Dir
	Cluster      stream.ClusterID
	Node         stream.NodeID
	SegmentBytes int64 // of a file of the log; 0: wal's default
}

// A Store is an open log and the snapshots beside it.
type Store struct {
	Log *wal.Log
	cfg Config
}

// Found is what a start begins with.
type Found struct {
	Base    engine.Mark    // of the snapshot that the log goes on from
	Younger []uint64       // indexes of the snapshots after it, rising
	Ledger  *stream.Ledger // as of Base; the caller's from now on
	Log     wal.Report
	Removed []Removed // snapshots that were of no use
}

// Removed is a snapshot that was removed, or could not be: then Err says why, and
// the next start tries again.
type Removed struct {
	Path, Why string
	Err       error
}

// An Error says which file or directory cannot be used.
type Error struct {
	Path string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("store: %s: %v", e.Path, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Create makes what a member's first start needs: an empty log, and a snapshot of a
// cluster of these voters that has agreed on nothing yet. Directories in which a
// first start was cut short must be emptied before. The error is an *Error.
func Create(c Config, voters ...stream.NodeID) (*Store, Found, error) {
	log, err := wal.Create(c.Log, c.wal())
	if err != nil {
		return nil, Found{}, &Error{c.Log.Path(""), err}
	}
	s := &Store{log, c}
	conf := new(pb.ConfState)
	for _, v := range voters {
		conf.Voters = append(conf.Voters, uint64(v))
	}
	if _, err := s.Save(engine.Mark{Conf: conf}, stream.NewLedger(c.Cluster).View()); err != nil {
		log.Close()
		return nil, Found{}, &Error{c.Snap.Path(""), err}
	}
	return s.load(Found{})
}

// Open opens the store that an earlier start has made, and refuses one from which
// something is missing. The error is an *Error.
func Open(c Config) (*Store, Found, error) {
	log, report, err := wal.Open(c.Log, c.wal())
	if err != nil {
		return nil, Found{}, &Error{c.Log.Path(""), err}
	}
	return (&Store{log, c}).load(Found{Log: report})
}

func (c *Config) wal() wal.Config {
	return wal.Config{SegmentBytes: c.SegmentBytes, ClusterID: uint64(c.Cluster), NodeID: uint64(c.Node)}
}

// load loads the snapshot that the log goes on from. It removes those of no use
// once it has one that is.
func (s *Store) load(f Found) (*Store, Found, error) {
	dir, cluster := s.cfg.Snap, uint64(s.cfg.Cluster)
	fail := func(path string, err error) (*Store, Found, error) {
		s.Log.Close()
		return nil, Found{}, &Error{path, err}
	}
	set, err := snap.Survey(dir, cluster, s.Log.First(), s.Log.Last())
	if err != nil {
		return fail(dir.Path(""), err)
	}
	h, err := snap.Load(dir, set.Base, cluster, func(r io.Reader) (err error) {
		f.Ledger, err = stream.ReadSnapshot(r)
		return err
	})
	if err != nil {
		return fail(dir.Path(snap.Name(set.Base)), err)
	}
	remove := func(indexes []uint64, why string) {
		for _, i := range indexes {
			f.Removed = append(f.Removed, Removed{dir.Path(snap.Name(i)), why, dir.Remove(snap.Name(i))})
		}
	}
	remove(set.Stale, "it is older than the log")
	remove(set.Torn, "it was being written when the node stopped")
	f.Base, f.Younger = engine.Mark{Index: h.Index, Term: h.Term, Conf: h.Conf}, set.Younger
	return s, f, nil
}

// Save makes a snapshot of body durable and gives its size: see snap.Write.
func (s *Store) Save(at engine.Mark, body io.WriterTo) (size int64, err error) {
	h := snap.Header{Cluster: uint64(s.cfg.Cluster), Index: at.Index, Term: at.Term, Conf: at.Conf}
	return snap.Write(s.cfg.Snap, h, body)
}

// Compact makes the snapshot at base the one that a start begins with. Snapshots
// go first: a crash between the two leaves a log that is longer than it need be.
func (s *Store) Compact(base uint64) error {
	if err := snap.RemoveBefore(s.cfg.Snap, base); err != nil {
		return err
	}
	return s.Log.Compact(base)
}
