package node

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package when a goroutine outlives its test.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leaked(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines that nobody ended:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked gives the stacks that run code of ours or of our dependencies after
// having had time to end.
func leaked(within time.Duration) string {
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(within); ; {
		var left []string
		for i, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && !strings.Contains(g, "testing.") && !strings.Contains(g, "os/signal") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return strings.Join(left, "\n\n")
		}
		runtime.Gosched()
	}
}
