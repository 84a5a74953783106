package nacknet

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// readSize is how much is read at a time.
const readSize = 64 << 10

// A clientConn is a transport with the two goroutines that serve it. The loop
// owns it: it takes chunks and gives each back on free, and it hands out one
// buffer to write at a time.
type clientConn struct {
	net    net.Conn
	chunks chan []byte // what was read; closed at the end, err says why
	free   chan []byte
	writes chan []byte // what is to be written; closed by the loop
	wrote  chan []byte // the buffer of the last write
	err    error       // set before chunks is closed
	last   bool        // hurry was called
	quit   chan struct{}
	wg     sync.WaitGroup
}

func newClientConn(nc net.Conn, c *clientCounters) *clientConn {
	cc := &clientConn{
		net:    nc,
		chunks: make(chan []byte),
		free:   make(chan []byte, 2),
		writes: make(chan []byte, 1),
		wrote:  make(chan []byte, 1),
		quit:   make(chan struct{}),
	}
	// Two: one is read into while the loop has the other.
	cc.free <- make([]byte, readSize)
	cc.free <- make([]byte, readSize)
	cc.wg.Add(2)
	go cc.read(c)
	go cc.write(c)
	return cc
}

func (cc *clientConn) read(c *clientCounters) {
	defer cc.wg.Done()
	defer close(cc.chunks)
	for {
		select {
		case b := <-cc.free:
			n, err := cc.net.Read(b[:cap(b)])
			if n > 0 {
				c.bytesIn.Add(uint64(n))
				select {
				case cc.chunks <- b[:n]:
				case <-cc.quit:
					return
				}
			}
			if err != nil {
				cc.err = err
				return
			}
		case <-cc.quit:
			return
		}
	}
}

func (cc *clientConn) write(c *clientCounters) {
	defer cc.wg.Done()
	for b := range cc.writes {
		// Counted first: who has seen the answer has seen this, too.
		c.bytesOut.Add(uint64(len(b)))
		if _, err := cc.net.Write(b); err != nil {
			// The reader finds out, and tells the loop.
			cc.net.Close()
		}
		cc.wrote <- b
	}
}

// hurry bounds what is still to be written: the peer may have stopped reading.
func (cc *clientConn) hurry() {
	if !cc.last {
		cc.last = true
		cc.net.SetWriteDeadline(time.Now().Add(flushTimeout))
	}
}

// close ends the transport and waits for the goroutines.
func (cc *clientConn) close() {
	close(cc.quit)
	close(cc.writes)
	cc.net.Close()
	cc.wg.Wait()
}

// clientCounters are what went over all connections: the bytes and frames of the
// protocol, without TLS, WebSocket and TCP.
type clientCounters struct {
	bytesIn, bytesOut   atomic.Uint64
	framesIn, framesOut atomic.Uint64
	connections         atomic.Uint64
}
