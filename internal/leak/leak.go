// Package leak holds packages that start goroutines to ending them. Their
// TestMain is
//
//	func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
//
// It is for tests only.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long a goroutine that was told to end may take.
const patience = 5 * time.Second

// Run runs the tests and gives the exit code. Tests that passed fail if a
// goroutine outlives them; its stack is printed.
func Run(m *testing.M) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if left := left(patience); left != "" {
		fmt.Fprintf(os.Stderr, "goroutines that nobody ended:\n\n%s\n", left)
		return 1
	}
	return 0
}

// left gives the stacks of those that have not ended within that time, but for
// what the testing package and os/signal keep.
func left(within time.Duration) string {
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		var left []string
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		for _, g := range stacks[1:] { // the first is this one
			if !strings.Contains(g, "testing.") && !strings.Contains(g, "os/signal") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return strings.Join(left, "\n\n")
		}
	}
}
