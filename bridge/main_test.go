package bridge

import (
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// TestMain fails when a goroutine of this package outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
			var b strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
			if !strings.Contains(b.String(), "nackmq/bridge.(*") {
				break
			}
			if time.Now().After(deadline) {
				os.Stderr.WriteString("goroutines left:\n" + b.String())
				code = 1
				break
			}
		}
	}
	os.Exit(code)
}
