package nacknet

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// No goroutine outlives its owner.
func TestMain(m *testing.M) {
	beReceivers()
	code := m.Run()
	if code == 0 {
		if left := goroutinesLeft(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines are left over:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// goroutinesLeft waits a little for goroutines that are about to end, and gives
// the stacks of those that have code of ours in them.
func goroutinesLeft() string {
	var ours []string
	for range 100 {
		buf := make([]byte, 1<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		ours = ours[:0]
		for _, s := range stacks[1:] { // the first is this one
			if strings.Contains(s, "nackmq/nackmq/") {
				ours = append(ours, s)
			}
		}
		if len(ours) == 0 {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return strings.Join(ours, "\n\n")
}
