// Command walfaults plants the same faults in the log stores that could hold the
// agreed entries, and says what each makes of them; it also compares what a durable
// append costs. It is the measurement behind docs/adr/0004-log-store.md, a module of
// its own so that nothing of the candidates reaches ours. It needs Linux and, for
// the full disk, root (a small tmpfs is mounted).
//
//	go run . faults          the table
//	go run . bench           throughput and CPU, interleaved
package main

import (
	"fmt"
	"os"
)

func main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 1 && args[0] == "faults":
		err = table()
	case len(args) == 1 && args[0] == "bench":
		err = bench()
	case len(args) >= 3: // a step of the above, in a process of its own
		err = step(args[0], args[1], args[2:])
	default:
		fmt.Fprintln(os.Stderr, "usage: walfaults faults | bench")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
