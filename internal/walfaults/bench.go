package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench compares durable appends: rounds of all stores one after another, so that
// what the neighbours do to the disk hits all of them.
func bench() error {
	loads := []struct {
		name    string
		per, sz int
		appends int
	}{
		{"one entry of 150 B", 1, 150, 4000},
		{"64 entries of 1 KiB", 64, 1 << 10, 1500},
		{"one entry of 64 KiB", 1, 64 << 10, 1500},
	}
	const rounds = 7
	for _, l := range loads {
		wall := make([][]float64, len(kinds))
		cpu := make([][]float64, len(kinds))
		for range rounds {
			for i, k := range kinds {
				tmp, err := os.MkdirTemp(".", "tmp-")
				if err != nil {
					return err
				}
				out := self("bench", k.name, join(tmp, "log"), fmt.Sprint(l.per), fmt.Sprint(l.sz), fmt.Sprint(l.appends))
				os.RemoveAll(tmp)
				var w, c float64
				if _, err := fmt.Sscan(out, &w, &c); err != nil {
					return fmt.Errorf("%s: %s", k.name, out)
				}
				wall[i], cpu[i] = append(wall[i], w), append(cpu[i], c)
			}
		}
		fmt.Printf("\n%s, %d appends, %d interleaved runs, medians:\n", l.name, l.appends, rounds)
		for i, k := range kinds {
			fmt.Printf("| %s | %.0f µs | %.2f | %.0f µs | %.2f | %s |\n", k.name, median(wall[i]), ratio(wall[i], wall[0]), median(cpu[i]), ratio(cpu[i], cpu[0]), spread(wall[i]))
		}
	}
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// ratio is the median of the rounds' ratios.
func ratio(a, b []float64) float64 {
	var r []float64
	for i := range a {
		r = append(r, a[i]/b[i])
	}
	return median(r)
}

func spread(v []float64) string {
	return strings.TrimSpace(fmt.Sprintf("%.0f–%.0f µs", slices.Min(v), slices.Max(v)))
}

func benchOne(k kind, args []string) error {
	var per, sz, appends int
	fmt.Sscan(strings.Join(args[1:], " "), &per, &sz, &appends)
	seg := 64 << 20
	s, err := k.create(args[0], seg)
	if err != nil {
		return err
	}
	data := make([][]byte, per)
	for i := range data {
		data[i] = entry(uint64(i), sz)
	}
	cpu := func() time.Duration {
		var ru syscall.Rusage
		syscall.Getrusage(0, &ru)
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	c0, t0 := cpu(), time.Now()
	for i := range appends {
		if err := s.add(uint64(i*per+1), data); err != nil {
			return err
		}
	}
	d, c := time.Since(t0), cpu()-c0
	fmt.Printf("%.1f %.1f\n", float64(d.Microseconds())/float64(appends), float64(c.Microseconds())/float64(appends))
	os.Exit(0)
	return nil
}
