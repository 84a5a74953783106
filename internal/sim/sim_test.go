package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", envUint("NACKSIM_SEED", 0), "the first seed; 0 begins at 1")
	seedsFlag = flag.Uint64("seeds", envUint("NACKSIM_SEEDS", 0), "how many seeds; 0 means 1,000, with -short 30")
	traceFlag = flag.Bool("sim.trace", false, "print what happens; use it with -seeds=1")
)

func envUint(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// TestSim runs one member through bad weather, many times.
func TestSim(t *testing.T) {
	first, seeds := max(*seedFlag, 1), *seedsFlag
	if seeds == 0 {
		if seeds = 1000; testing.Short() {
			seeds = 30
		}
	}
	var total Result
	var mu sync.Mutex
	failed := eachSeed(first, seeds, func(seed uint64) error {
		c := Config{Seed: seed}
		if *traceFlag {
			c.Trace = os.Stdout
		}
		r, err := Run(c)
		mu.Lock()
		defer mu.Unlock()
		total.add(r)
		return err
	})
	for _, err := range failed {
		t.Errorf("%v\nreplay: go test ./internal/sim -run 'TestSim$' -v -seeds=1 -sim.trace -seed=N", err)
	}
	t.Logf("%d seeds: %+v", seeds, total)
}

// TestSimCluster runs three members over a network that loses and cuts.
func TestSimCluster(t *testing.T) {
	first, seeds := max(*seedFlag, 1), uint64(100)
	if testing.Short() {
		seeds = 8
	}
	if *seedsFlag > 0 {
		seeds = *seedsFlag
	}
	var total Result
	for seed := first; seed < first+seeds; seed++ {
		c := Config{Seed: seed, Nodes: 3, Messages: 100, Weather: 10 * time.Second}
		if *traceFlag {
			c.Trace = os.Stdout
		}
		r, err := Run(c)
		total.add(r)
		if err != nil {
			t.Fatalf("%v\nreplay: go test ./internal/sim -run 'TestSimCluster$' -v -seeds=1 -sim.trace -seed=%d", err, seed)
		}
	}
	t.Logf("%d seeds: %+v", seeds, total)
}

// eachSeed runs seeds on all processors until one fails.
func eachSeed(first, seeds uint64, run func(uint64) error) (failed []error) {
	var next atomic.Uint64
	var stop atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !stop.Load() {
				n := next.Add(1) - 1
				if n >= seeds {
					return
				}
				if err := run(first + n); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return failed
}

func (r *Result) add(o Result) {
	r.Steps += o.Steps
	r.Messages += o.Messages
	r.Entries += o.Entries
	r.Kills += o.Kills
	r.Crashes += o.Crashes
	r.Starts += o.Starts
	r.FailedWrites += o.FailedWrites
	r.Snapshots += o.Snapshots
	r.Compactions += o.Compactions
	r.Repairs += o.Repairs
	r.Busy += o.Busy
}

// A seed is a run: the same steps, the same answers at the same times.
func TestSimReplays(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		c := Config{Seed: seed, Nodes: 1 + 2*int(seed%2), Messages: 100}
		a, err := Run(c)
		b, err2 := Run(c)
		if a != b || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("seed %d, %d members, ran once as %+v (%v) and once as %+v (%v)", seed, c.Nodes, a, err, b, err2)
		}
	}
}

// The simulator finds bugs, within some hundred seeds each.
func TestSimFindsPlantedBugs(t *testing.T) {
	for name, bug := range map[string]Bug{
		"confirmed before it is synced":             ConfirmEarly,
		"a failed sync is ignored":                  IgnoreFailedSync,
		"repetitions come under new numbers":        Renumber,
		"the base is moved too early":               CompactEarly,
		"a start takes the youngest snapshot":       ForgetSnapshot,
		"batches are numbered as in a life before":  ReuseLife,
		"a session's publications are not numbered": Unnumbered,
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 300; seed++ {
				if _, err := Run(Config{Seed: seed, Bug: bug}); err != nil {
					t.Logf("found: %v", err)
					return
				}
			}
			t.Error("300 seeds have not found it")
		})
	}
}
