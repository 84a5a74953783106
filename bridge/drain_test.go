package bridge

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

func TestCloseAfterDrain(t *testing.T) {
	h := newHouse(t)
	p := h.connect(5, "d")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := h.Drain(ctx); err != nil {
		t.Errorf("Drain: %v", err)
	}
	p.closed(packets.ErrServerShuttingDown.Code)
	done := make(chan struct{})
	go func() { h.Close(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("Close after Drain does not return")
	}
}

// A Drain that gave up leaves nothing that Close does not wait for.
func TestDrainGivesUp(t *testing.T) {
	h := newHouse(t)
	p := h.connect(4, "d")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// Whether p is gone at once is open; its end is not.
	for range 3 {
		if err := h.Drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Drain: %v", err)
		}
	}
	p.closed(0)
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	stacks := make([]byte, 1<<20)
	if s := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(s, "WaitGroup).Wait") && strings.Contains(s, "(*Bridge).Drain") {
		t.Errorf("Drain left a goroutine:\n%s", s)
	}
}
