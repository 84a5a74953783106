package engine

import (
	"errors"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/cluster/wal"
)

// storage is raft's view of what is durable: the newest entries from memory,
// older ones from the log on disk.
type storage struct {
	log       Log
	hard      *pb.HardState
	conf      *pb.ConfState
	first     uint64 // index of the first entry that may be read
	firstTerm uint64 // term of the one before it
	last      uint64 // index of the last durable entry

	tail       []*pb.Entry // the newest durable entries, contiguous, up to last
	tailBytes  int
	limitBytes int
}

// newStorage refuses nothing: New has checked that base and log fit.
func newStorage(c *Config) *storage {
	return &storage{
		log: c.Log,
		hard: &pb.HardState{
			Term: new(c.State.Term),
			Vote: new(c.State.Vote),
			// A snapshot is taken of what is committed, and the commit index is not
			// synced on its own.
			Commit: new(max(c.State.Commit, c.Base.Index)),
		},
		conf:       c.Base.Conf,
		first:      c.Base.Index + 1,
		firstTerm:  c.Base.Term,
		last:       max(c.Log.Last(), c.Base.Index),
		limitBytes: c.TailBytes,
	}
}

// append takes in entries that are durable; they replace what they overlap.
func (s *storage) append(es []*pb.Entry) {
	if len(es) == 0 {
		return
	}
	at := es[0].GetIndex()
	if n := len(s.tail); n > 0 {
		keep := int64(at) - int64(s.tail[0].GetIndex())
		keep = min(max(keep, 0), int64(n))
		for _, e := range s.tail[keep:] {
			s.tailBytes -= entryCost(e)
		}
		// What raft was given before must not be overwritten, so cut and copy.
		if keep < int64(n) {
			s.tail = append([]*pb.Entry(nil), s.tail[:keep]...)
		}
	}
	for _, e := range es {
		s.tailBytes += entryCost(e)
	}
	s.tail = append(s.tail, es...)
	drop := 0
	for s.tailBytes > s.limitBytes && drop < len(s.tail)-1 {
		s.tailBytes -= entryCost(s.tail[drop])
		s.tail[drop] = nil
		drop++
	}
	s.tail = s.tail[drop:]
	s.last = es[len(es)-1].GetIndex()
}

// compact forgets the entries up to index.
func (s *storage) compact(index, term uint64) {
	s.first, s.firstTerm = index+1, term
	drop := 0
	for drop < len(s.tail) && s.tail[drop].GetIndex() <= index {
		s.tailBytes -= entryCost(s.tail[drop])
		s.tail[drop] = nil
		drop++
	}
	s.tail = s.tail[drop:]
}

func (s *storage) InitialState() (*pb.HardState, *pb.ConfState, error) { return s.hard, s.conf, nil }
func (s *storage) FirstIndex() (uint64, error)                         { return s.first, nil }
func (s *storage) LastIndex() (uint64, error)                          { return s.last, nil }

func (s *storage) Term(i uint64) (uint64, error) {
	switch {
	case i == s.first-1:
		return s.firstTerm, nil
	case i < s.first:
		return 0, raft.ErrCompacted
	case i > s.last:
		return 0, raft.ErrUnavailable
	}
	if len(s.tail) > 0 && i >= s.tail[0].GetIndex() {
		return s.tail[i-s.tail[0].GetIndex()].GetTerm(), nil
	}
	t, err := s.log.Term(i)
	return t, raftError(err)
}

func (s *storage) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	switch {
	case lo < s.first:
		return nil, raft.ErrCompacted
	case hi > s.last+1:
		return nil, raft.ErrUnavailable
	}
	if len(s.tail) > 0 && lo >= s.tail[0].GetIndex() {
		from := lo - s.tail[0].GetIndex()
		n, size := 0, uint64(0)
		for _, e := range s.tail[from : from+hi-lo] {
			if size += uint64(entryCost(e)); n > 0 && size > maxSize {
				break
			}
			n++
		}
		es := s.tail[from : from+uint64(n)]
		return es[:n:n], nil
	}
	raw, err := s.log.Entries(lo, hi, int64(min(maxSize, 1<<30)), nil)
	if err != nil {
		return nil, raftError(err)
	}
	es := make([]*pb.Entry, len(raw))
	for i := range raw {
		es[i] = fromLog(&raw[i])
	}
	return es, nil
}

// Snapshot is asked for when a member needs entries that were compacted.
func (s *storage) Snapshot() (*pb.Snapshot, error) {
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

func raftError(err error) error {
	switch {
	case errors.Is(err, wal.ErrCompacted):
		return raft.ErrCompacted
	case errors.Is(err, wal.ErrUnavailable):
		return raft.ErrUnavailable
	}
	return err
}

// entryCost is what an entry costs on disk and in memory, about.
func entryCost(e *pb.Entry) int { return len(e.GetData()) + 32 }

// fromLog makes raft's entry of the log's, in one allocation.
func fromLog(e *wal.Entry) *pb.Entry {
	cell := &struct {
		pb.Entry
		index, term uint64
		kind        pb.EntryType
	}{index: e.Index, term: e.Term, kind: pb.EntryType(e.Kind)}
	cell.Index, cell.Term, cell.Type, cell.Data = &cell.index, &cell.term, &cell.kind, e.Data
	return &cell.Entry
}

func toLog(e *pb.Entry) wal.Entry {
	return wal.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Kind: uint8(e.GetType()), Data: e.GetData()}
}
