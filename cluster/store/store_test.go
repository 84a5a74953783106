package store

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/cluster/snap"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// newStore gives a store of 20 entries with snapshots of entries 5 and 15.
func newStore(t *testing.T) (*Store, Config, *wal.MemDir) {
	t.Helper()
	snaps := wal.NewMemDir(rand.NewPCG(1, 2))
	c := Config{Log: wal.NewMemDir(rand.NewPCG(1, 1)), Snap: snaps, Cluster: 7, Node: 1, SegmentBytes: 64 << 10}
	s, found, err := Create(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	if found.Base.Index != 0 || found.Ledger.Cluster() != 7 || cmp.Diff(found.Base.Conf.GetVoters(), []uint64{1}) != "" {
		t.Fatalf("a first start begins with %+v", found)
	}
	es := make([]wal.Entry, 20)
	for i := range es {
		es[i] = wal.Entry{Index: uint64(i + 1), Term: 3}
	}
	if err := s.Log.Append(&wal.State{Term: 3}, es); err != nil {
		t.Fatal(err)
	}
	l := stream.NewLedger(7)
	for i := range uint64(20) {
		if _, err := l.Apply(stream.Entry{Number: i + 1}); err != nil {
			t.Fatal(err)
		}
		if i+1 == 5 || i+1 == 15 {
			if _, err := s.Save(engine.Mark{Index: i + 1, Term: 3, Conf: &pb.ConfState{Voters: []uint64{1}}}, l.View()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, c, snaps
}

func TestStartGoesOnFromTheBase(t *testing.T) {
	s, c, _ := newStore(t)
	s.Log.Close()
	s, found, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if found.Base.Index != 0 || cmp.Diff(found.Younger, []uint64{5, 15}) != "" || len(found.Removed) > 0 {
		t.Errorf("found %+v, want the base 0 and two younger ones", found)
	}
	if err := s.Compact(5); err != nil {
		t.Fatal(err)
	}
	s.Log.Close()
	_, found, err = Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if found.Base.Index != 5 || found.Base.Term != 3 || found.Ledger.Applied() != 5 || cmp.Diff(found.Younger, []uint64{15}) != "" {
		t.Errorf("after the log was made shorter: %+v, want the base 5", found)
	}
}

// A snapshot that was being written when the process ended is removed, and one that
// cannot be is told of and stays.
func TestStartRemovesWhatIsOfNoUse(t *testing.T) {
	s, c, snaps := newStore(t)
	s.Log.Close()
	whole := snaps.Bytes(snap.Name(15))
	f, err := snaps.Create(snap.Name(18), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(whole[:len(whole)-1], 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	full := errors.New("not now")
	snaps.OnMake = func(string) error { return full }
	for _, want := range []error{full, nil} {
		s, found, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if r := found.Removed; len(r) != 1 || r[0].Path != snaps.Path(snap.Name(18)) || r[0].Err != want {
			t.Errorf("removed %+v, want the torn one, %v", r, want)
		}
		s.Log.Close()
		snaps.OnMake = nil
	}
	if all, err := snap.List(snaps); err != nil || cmp.Diff(all, []uint64{0, 5, 15}) != "" {
		t.Errorf("left are %v, %v", all, err)
	}
}

func TestErrorNamesWhatCannotBeUsed(t *testing.T) {
	s, c, snaps := newStore(t)
	s.Log.Close()
	f, err := snaps.Open(snap.Name(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xff}, 40); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, _, err = Open(c)
	var e *Error
	if !errors.As(err, &e) || e.Path != snaps.Path(snap.Name(0)) || !errors.Is(err, snap.ErrDamaged) {
		t.Errorf("a damaged base: %v", err)
	}
	c.Log = wal.NewMemDir(rand.NewPCG(1, 1))
	if _, _, err := Open(c); !errors.As(err, &e) || e.Path != c.Log.Path("") || !errors.Is(err, wal.ErrNoLog) {
		t.Errorf("no log: %v", err)
	}
}
