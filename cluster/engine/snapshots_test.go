package engine

import "testing"

// A start applies the log from the base on and finds younger snapshots ahead. One
// taken before them would be passed by the base while it is being written, and
// then offered as a base whose entry is gone.
func TestNoSnapshotBeforeThoseThatLieAhead(t *testing.T) {
	e := &Engine{applied: 20, snaps: snapshots{every: 100, logged: 100, base: 10, younger: []uint64{30}}}
	if e.snaps.plan(e); e.snaps.due {
		t.Fatal("a snapshot of entry 20 is due, and there is one of entry 30")
	}
	e.applied = 31
	if e.snaps.plan(e); e.snaps.due {
		t.Fatal("a snapshot is due right behind one that the start found")
	}
	e.snaps.logged = 100
	if e.snaps.plan(e); !e.snaps.due {
		t.Fatal("no snapshot is due, although the log has grown by enough")
	}
}
