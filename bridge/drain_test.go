package bridge

import (
	"context"
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
