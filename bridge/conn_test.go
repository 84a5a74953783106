package bridge

import (
	"net"
	"testing"
	"time"
)

// A large message goes out slowly; what the peer asks for meanwhile does not cut it
// off, unless it asks for very much.
func TestPingsDuringALargeMessage(t *testing.T) {
	const limit = 64 << 10
	a := newAcker()
	defer a.close()
	near, far := net.Pipe() // nothing is taken that nobody reads
	defer far.Close()
	c := newConn(near, limit, time.Minute, a, new(counts))
	c.wake, c.onRoom = func() {}, func() {}
	defer c.wg.Wait()
	defer near.Close()
	if !c.deliver(make([]byte, 1<<20), 0, 0) {
		t.Fatal("an empty buffer has no room for a large message")
	}
	c.flush()
	pong := []byte{0xd0, 0}
	for range 1000 {
		c.write(pong)
	}
	if err, closed := c.cause(); closed {
		t.Fatalf("cut off for 1,000 pings: %v", err)
	}
	for range (limit + controlReserve) / len(pong) {
		c.write(pong)
	}
	if err, _ := c.cause(); err != errSlow {
		t.Errorf("a peer that never reads and asks on: %v, want %v", err, errSlow)
	}
}
