package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/cluster/wal"
)

// What raft reads is what is durable, whether it comes from memory or from disk:
// appended, replaced, compacted, in any order.
func TestStorage(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		log, err := wal.Create(wal.NewMemDir(rand.NewPCG(seed, 1)), wal.Config{SegmentBytes: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		s := newStorage(&Config{Log: log, Base: Mark{Conf: &pb.ConfState{}}, TailBytes: 2000})
		model := []*pb.Entry{{Index: new(uint64(0)), Term: new(uint64(0))}} // model[0] is the base
		term := uint64(1)
		for step := range 300 {
			base, last := model[0].GetIndex(), model[len(model)-1].GetIndex()
			switch n := rnd.IntN(10); {
			case n < 6:
				from := last + 1
				if rnd.IntN(6) == 0 && last > base {
					term++
					from = base + 1 + rnd.Uint64N(last-base)
				}
				model = model[:from-base]
				var es []*pb.Entry
				var raw []wal.Entry
				for i := range rnd.Uint64N(5) + 1 {
					e := &pb.Entry{Index: new(from + i), Term: new(term), Type: pb.EntryNormal.Enum(), Data: fmt.Appendf(nil, "%d/%d %0*d", from+i, term, rnd.IntN(300), 0)}
					es, raw = append(es, e), append(raw, toLog(e))
				}
				if err := log.Append(nil, raw); err != nil {
					t.Fatal(err)
				}
				s.append(es)
				model = append(model, es...)
			case n == 6 && last > base:
				to := base + 1 + rnd.Uint64N(last-base)
				tt, _ := s.Term(to)
				s.compact(to, tt)
				if rnd.IntN(2) == 0 { // the disk follows later
					if err := log.Compact(to); err != nil {
						t.Fatal(err)
					}
				}
				model = model[to-base:]
			}
			check(t, s, model, rnd)
			if s.tailBytes > 2000+400 && len(s.tail) > 1 {
				t.Fatalf("seed %d, step %d: %d bytes in memory, at most 2,000", seed, step, s.tailBytes)
			}
		}
	}
}

func check(t *testing.T, s *storage, model []*pb.Entry, rnd *rand.Rand) {
	t.Helper()
	base, last := model[0].GetIndex(), model[len(model)-1].GetIndex()
	if f, _ := s.FirstIndex(); f != base+1 {
		t.Fatalf("first is %d, want %d", f, base+1)
	}
	if l, _ := s.LastIndex(); l != last {
		t.Fatalf("last is %d, want %d", l, last)
	}
	for i := base; i <= last; i++ {
		if got, err := s.Term(i); err != nil || got != model[i-base].GetTerm() {
			t.Fatalf("term of %d is %d, %v; want %d", i, got, err, model[i-base].GetTerm())
		}
	}
	if _, err := s.Term(last + 1); !errors.Is(err, raft.ErrUnavailable) {
		t.Fatalf("term behind the end: %v", err)
	}
	if base > 0 {
		if _, err := s.Term(base - 1); !errors.Is(err, raft.ErrCompacted) {
			t.Fatalf("term before the base: %v", err)
		}
		if _, err := s.Entries(base, last+1, 100); !errors.Is(err, raft.ErrCompacted) {
			t.Fatalf("entries before the base: %v", err)
		}
	}
	if last == base {
		return
	}
	lo := base + 1 + rnd.Uint64N(last-base)
	hi := lo + 1 + rnd.Uint64N(last+1-lo)
	size := rnd.Uint64N(2000)
	es, err := s.Entries(lo, hi, size)
	if err != nil || len(es) == 0 || len(es) > int(hi-lo) {
		t.Fatalf("entries %d to %d: %d of them, %v", lo, hi, len(es), err)
	}
	for i, e := range es {
		if want := model[lo-base+uint64(i)]; e.GetIndex() != want.GetIndex() || e.GetTerm() != want.GetTerm() || string(e.GetData()) != string(want.GetData()) {
			t.Fatalf("entry %d is %d/%d, want %d/%d", lo+uint64(i), e.GetIndex(), e.GetTerm(), want.GetIndex(), want.GetTerm())
		}
	}
}
