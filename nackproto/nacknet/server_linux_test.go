package nacknet

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

// A server that cannot have all its loops leaves nothing of those that it had.
func TestNewServerFailsWhole(t *testing.T) {
	l := brokertest.NewLocal(t, stream.Limits{})
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(f.Fd())
	f.Close()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: next + 4, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(ServerConfig{Broker: l.Broker, Publisher: l, Loops: 100})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if s != nil || !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("NewServer = %v, want EMFILE", err)
	}
	if n := runtime.NumGoroutine(); n > before {
		stacks := make([]byte, 64<<10)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if strings.Contains(string(stacks), "nacknet.") && strings.Contains(string(stacks), "(*waiter).run") {
			t.Errorf("%d goroutines, %d before:\n%s", n, before, stacks)
		}
	}
}
