package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/nackmq/nackmq/cluster/snap"
	"github.com/nackmq/nackmq/cluster/wal"
)

// A disk is the two directories of a node, and what is about to go wrong with
// them.
type disk struct {
	w         *world
	log, snap *wal.MemDir
	slow      time.Duration // added to every answer

	fault   fault
	ops     int  // until the fault, 0: none is armed
	dead    bool // the process is gone in the middle of a call
	power   bool // … with the power
	harmed  bool // something failed since the process started
	failing bool // the last Append met failSync, for IgnoreFailedSync
}

type fault uint8

const (
	crashKill fault = iota
	crashPower
	failSync
	shortWrite
)

func (f fault) String() string {
	return [...]string{"the process is killed", "power is lost", "a sync fails", "a write is cut short"}[f]
}

var (
	errDead = errors.New("the process is gone")
	errIO   = errors.New("input/output error")
)

func (d *disk) init(w *world) {
	d.w = w
	d.log, d.snap = wal.NewMemDir(w.src), wal.NewMemDir(w.src)
	for _, dir := range []*wal.MemDir{d.log, d.snap} {
		dir.OnWrite = func(name string, off int64, n int) (int, error) {
			if d.dead {
				return 0, errDead
			}
			if !d.due(crashKill, crashPower, shortWrite) {
				return n, nil
			}
			cut := w.rnd.IntN(n + 1)
			if d.fault == shortWrite {
				d.strike("%s writing %s", d.fault, name)
				return cut, errIO
			}
			d.die(name)
			return cut, errDead
		}
		dir.OnSync = func(name string) error {
			if d.dead {
				return errDead
			}
			if !d.due(crashKill, crashPower, failSync) {
				return nil
			}
			if d.fault == failSync {
				d.strike("%s of %s", d.fault, name)
				d.failing = true
				return errIO
			}
			d.die(name)
			return errDead
		}
		dir.OnMake = func(name string) error {
			if d.dead {
				return errDead
			}
			if d.due(crashKill, crashPower) {
				d.die(name)
				return errDead
			}
			return nil
		}
	}
}

// arm makes f happen at the n-th operation from now.
func (d *disk) arm(f fault, n int) {
	d.fault, d.ops = f, n
	d.w.tracef("in %d operations on the disk %s", n, f)
}

// due counts an operation at which one of these faults can happen.
func (d *disk) due(can ...fault) bool {
	if d.ops == 0 {
		return false
	}
	for _, f := range can {
		if f == d.fault {
			d.ops--
			return d.ops == 0
		}
	}
	return false
}

func (d *disk) strike(format string, args ...any) {
	d.harmed = true
	d.w.res.FailedWrites++
	d.w.tracef(format, args...)
}

func (d *disk) die(at string) {
	d.w.tracef("%s at %s", d.fault, at)
	d.dead, d.power, d.harmed = true, d.fault == crashPower, true
}

// fill leaves room for a little more.
func (d *disk) fill() {
	for _, dir := range []*wal.MemDir{d.log, d.snap} {
		used := int64(1)
		names, _ := dir.List()
		for _, n := range names {
			used += int64(len(dir.Bytes(n)))
		}
		dir.Space = used + d.w.rnd.Int64N(8<<10)
	}
	d.harmed = true
	d.w.tracef("the disk is full")
}

func (d *disk) makeRoom() { d.log.Space, d.snap.Space = 0, 0 }

// repair ends all that is wrong or about to be.
func (d *disk) repair() {
	d.ops, d.slow = 0, 0
	d.makeRoom()
}

// forgetSnapshots takes all away but the youngest that is whole.
func (d *disk) forgetSnapshots() {
	all, _ := snap.List(d.snap)
	for _, i := range slices.Backward(all) {
		if snap.Check(d.snap, i, clusterID) == nil {
			_ = snap.RemoveBefore(d.snap, i)
			return
		}
	}
}

// latency draws how long the disk takes for a write or a snapshot.
func (d *disk) latency() time.Duration {
	return time.Millisecond/4 + d.w.upTo(4*time.Millisecond) + d.slow
}
