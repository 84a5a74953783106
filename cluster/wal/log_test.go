package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var small = Config{SegmentBytes: 8 << 10, ClusterID: 0xc1, NodeID: 1}

// ents makes the entries lo … hi-1, whose data tells index and term.
func ents(lo, hi, term uint64) []Entry {
	var es []Entry
	for i := lo; i < hi; i++ {
		data := fmt.Appendf(nil, "%d/%d ", i, term)
		es = append(es, Entry{Index: i, Term: term, Kind: uint8(i % 3), Data: bytes.Repeat(data, int(i%40)+1)})
	}
	return es
}

func openDir(t *testing.T, path string) *OSDir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func create(t *testing.T, d Dir, c Config) *Log {
	t.Helper()
	l, err := Create(d, c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func reopen(t *testing.T, d Dir, c Config) (*Log, Report) {
	t.Helper()
	l, r, err := Open(d, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, r
}

func add(t *testing.T, l *Log, st *State, es []Entry) {
	t.Helper()
	if err := l.Append(st, es); err != nil {
		t.Fatal(err)
	}
}

// holds checks that the log holds exactly these entries, by every way to read them.
func holds(t *testing.T, l *Log, base uint64, want []Entry) {
	t.Helper()
	if got := l.First(); got != base+1 {
		t.Errorf("First() = %d, want %d", got, base+1)
	}
	if got := l.Last(); got != base+uint64(len(want)) {
		t.Fatalf("Last() = %d, want %d", got, base+uint64(len(want)))
	}
	got, err := l.Entries(base+1, l.Last()+1, 1<<40, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(want, got, same) {
		t.Errorf("Entries (-want +got):\n%s", cmp.Diff(want, got))
	}
	got = nil
	if err := l.Replay(base+1, func(e Entry) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(want, got, same) {
		t.Errorf("Replay (-want +got):\n%s", cmp.Diff(want, got))
	}
	for _, e := range want {
		if term, err := l.Term(e.Index); term != e.Term || err != nil {
			t.Errorf("Term(%d) = %d, %v, want %d", e.Index, term, err, e.Term)
		}
	}
}

func TestAppendedIsThereAfterReopen(t *testing.T) {
	d := openDir(t, t.TempDir())
	l := create(t, d, small)
	add(t, l, &State{Term: 1, Vote: 2}, nil)
	for i := uint64(1); i < 407; i += 7 {
		add(t, l, nil, ents(i, i+7, 1))
	}
	add(t, l, &State{Term: 3, Vote: 1, Commit: 300}, ents(407, 420, 3))
	want := append(ents(1, 407, 1), ents(407, 420, 3)...)
	holds(t, l, 0, want)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, r := reopen(t, d, small)
	holds(t, l, 0, want)
	if got, want := l.State(), (State{Term: 3, Vote: 1, Commit: 300}); got != want {
		t.Errorf("State() = %v, want %v", got, want)
	}
	if r.Repaired || r.Entries != 419 || r.Segments < 5 {
		t.Errorf("report = %+v, want 419 entries in several segments, nothing repaired", r)
	}
	add(t, l, nil, ents(420, 430, 3))
	holds(t, l, 0, append(want, ents(420, 430, 3)...))
}

func TestConflictReplacesAlsoAfterReopen(t *testing.T) {
	d := openDir(t, t.TempDir())
	l := create(t, d, small)
	add(t, l, nil, ents(1, 200, 1))
	add(t, l, nil, ents(200, 300, 2))
	add(t, l, nil, ents(150, 160, 3)) // in the middle
	add(t, l, nil, ents(160, 400, 3))
	add(t, l, nil, ents(390, 391, 5))
	want := append(ents(1, 150, 1), ents(150, 390, 3)...)
	want = append(want, ents(390, 391, 5)...)
	holds(t, l, 0, want)
	l.Close()
	l, _ = reopen(t, d, small)
	holds(t, l, 0, want)
	add(t, l, nil, ents(1, 2, 6)) // everything
	holds(t, l, 0, ents(1, 2, 6))
}

func TestCompactForgetsWholeSegments(t *testing.T) {
	d := openDir(t, t.TempDir())
	l := create(t, d, small)
	for i := uint64(1); i < 1000; i += 3 {
		add(t, l, nil, ents(i, i+3, 1+i/300))
	}
	before, _ := survey(d)
	if err := l.Compact(700); err != nil {
		t.Fatal(err)
	}
	after, _ := survey(d)
	if len(after.segments) >= len(before.segments)/2 {
		t.Errorf("%d of %d segments are left", len(after.segments), len(before.segments))
	}
	var want []Entry
	for i := uint64(1); i < 1000; i += 3 {
		want = append(want, ents(i, i+3, 1+i/300)...)
	}
	want = want[700:]
	check := func() {
		t.Helper()
		holds(t, l, 700, want)
		if term, err := l.Term(700); term != 3 || err != nil {
			t.Errorf("Term(base) = %d, %v, want 3", term, err)
		}
		if _, err := l.Term(699); !errors.Is(err, ErrCompacted) {
			t.Errorf("Term before the base: %v", err)
		}
		if _, err := l.Entries(700, 710, 100, nil); !errors.Is(err, ErrCompacted) {
			t.Errorf("Entries from the base: %v", err)
		}
		if err := l.Compact(1000); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Compact behind the end: %v", err)
		}
		if err := l.Append(nil, ents(700, 701, 9)); !errors.Is(err, ErrCompacted) {
			t.Errorf("Append at the base: %v", err)
		}
		if err := l.Append(nil, ents(1002, 1003, 9)); !errors.Is(err, ErrGap) {
			t.Errorf("Append with a gap: %v", err)
		}
	}
	check()
	l.Close()
	l, _ = reopen(t, d, small)
	check()
	if err := l.Compact(999); err != nil { // all of it: the log goes on behind
		t.Fatal(err)
	}
	holds(t, l, 999, nil)
	l.Close()
	l, _ = reopen(t, d, small)
	holds(t, l, 999, nil)
	add(t, l, nil, ents(1000, 1010, 4))
	holds(t, l, 999, ents(1000, 1010, 4))
}

func TestResetBeginsAnew(t *testing.T) {
	d := openDir(t, t.TempDir())
	l := create(t, d, small)
	add(t, l, nil, ents(1, 500, 1))
	if err := l.Reset(10_000, 7, State{Term: 8, Commit: 10_000}); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 10_000, nil)
	l.Close()
	l, r := reopen(t, d, small)
	holds(t, l, 10_000, nil)
	if term, err := l.Term(10_000); term != 7 || err != nil {
		t.Errorf("Term(base) = %d, %v, want 7", term, err)
	}
	if got := l.State(); got != (State{Term: 8, Commit: 10_000}) || r.Segments != 1 {
		t.Errorf("State() = %v in %d segments", got, r.Segments)
	}
	add(t, l, nil, ents(10_001, 10_400, 8))
	holds(t, l, 10_000, ents(10_001, 10_400, 8))
}

func TestEntriesStopsAtMaxBytes(t *testing.T) {
	l := create(t, openDir(t, t.TempDir()), small)
	defer l.Close()
	es := ents(1, 300, 1)
	add(t, l, nil, es)
	for lo := uint64(1); lo < 300; lo++ {
		got, err := l.Entries(lo, 300, 500, nil)
		if err != nil || len(got) == 0 {
			t.Fatalf("Entries from %d: %d, %v", lo, len(got), err)
		}
		size := 0
		for i, e := range got {
			size += len(e.Data)
			if !same(es[lo-1+uint64(i)], e) {
				t.Fatalf("entry %d differs", e.Index)
			}
		}
		if size > 500 && len(got) > 1 {
			t.Errorf("Entries from %d: %d bytes in %d entries, want at most 500", lo, size, len(got))
		}
		if next := lo - 1 + uint64(len(got)); next < 299 && size+len(es[next].Data) <= 500 {
			t.Errorf("Entries from %d stopped at %d bytes though the next entry would fit", lo, size)
		}
	}
	if got, err := l.Entries(5, 5, 100, nil); len(got) != 0 || err != nil {
		t.Errorf("an empty range gave %v, %v", got, err)
	}
	if _, err := l.Entries(299, 301, 100, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("behind the end: %v", err)
	}
}

func TestBatchLargerThanSegment(t *testing.T) {
	d := openDir(t, t.TempDir())
	l := create(t, d, small)
	big := []Entry{{Index: 1, Term: 1, Data: bytes.Repeat([]byte("0123456789"), 50_000)}}
	add(t, l, nil, big)
	add(t, l, nil, ents(2, 1000, 1))
	want := append(big, ents(2, 1000, 1)...)
	holds(t, l, 0, want)
	l.Close()
	l, _ = reopen(t, d, small)
	holds(t, l, 0, want)
}

func TestDirectoryBelongsToOneLog(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	if _, _, err := Open(d, small); !errors.Is(err, ErrNoLog) {
		t.Errorf("Open of an empty directory: %v", err)
	}
	l := create(t, d, small)
	defer l.Close()
	if _, err := Create(d, small); !errors.Is(err, ErrExists) {
		t.Errorf("Create over a log: %v", err)
	}
	if _, err := OpenDir(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a directory in use: %v", err)
	}
}

func TestClosed(t *testing.T) {
	l := create(t, openDir(t, t.TempDir()), small)
	add(t, l, nil, ents(1, 5, 1))
	l.Close()
	if err := l.Append(nil, ents(5, 6, 1)); err != ErrClosed {
		t.Errorf("Append: %v", err)
	}
	if _, err := l.Entries(1, 2, 1, nil); err != ErrClosed {
		t.Errorf("Entries: %v", err)
	}
}
