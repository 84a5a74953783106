package leak

import (
	"strings"
	"testing"
)

func TestLeftNamesWhoIsLeft(t *testing.T) {
	if got := left(patience); got != "" {
		t.Fatalf("before anything was started these were left:\n%s", got)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); <-stop }()
	if got := left(0); !strings.Contains(got, "TestLeftNamesWhoIsLeft") {
		t.Errorf("a goroutine that waits is not among those left:\n%s", got)
	}
	close(stop)
	<-ended
	if got := left(patience); got != "" {
		t.Errorf("after it ended these were left:\n%s", got)
	}
}
