package nacknet

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
)

// An Accept that fails for want of file descriptors is waited out.
func TestAcceptErrorPasses(t *testing.T) {
	_, _, ln := serveLimited(t, ServerConfig{}, logLimits)
	ln.mu.Lock()
	ln.fail = 3
	ln.mu.Unlock()
	dialPeer(t, ln.Addr().String(), 0) // wakes the Accept that is waiting
	dialPeer(t, ln.Addr().String(), 0)
}

// Connections that say nothing cost little and are closed; others are served
// meanwhile.
func TestHalfOpenConnections(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 200
	}
	s, _, ln := serveLimited(t, ServerConfig{Limits: session.Limits{HelloTimeout: 2 * time.Second}}, logLimits)
	before := ours()
	for i := range n {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if i%2 == 0 {
			nc.Write([]byte{0x1d, 0x01, 'N', 'A'}) // and half of a HELLO
		}
	}
	eventually(t, func() bool { return s.Connections() == n })
	each := (ours() - before) / int64(n)
	t.Logf("%d bytes each, both ends' descriptors among them", each)
	if each > 16<<10 {
		t.Errorf("a half-open connection costs %d bytes, want at most 16 KiB", each)
	}
	p := dialPeer(t, ln.Addr().String(), 1)
	p.send(&nackproto.Publish{Number: 1, Name: "/alive", Payload: []byte("x")})
	if c, ok := p.next().(*nackproto.Confirm); !ok {
		t.Fatalf("got %v, want CONFIRM", c)
	}
	eventually(t, func() bool { return s.Connections() == 1 })
}

// ours gives the memory that the process has in use.
func ours() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse) + int64(m.HeapAlloc)
}
