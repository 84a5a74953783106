package nacknet

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

const (
	smallRead = 512      // bytes that a parked reader of TLS or WebSocket holds
	largeRead = 16 << 10 // bytes read at a time while there are many
	readsOut  = 4        // reads of a connection that its loop has not taken

	lingerTime = time.Second // how long a closed connection is drained
)

// A conn is a connection of a loop. Its reader is a goroutine that hands bytes to
// the loop and waits for its leave to read more. Writes are tried at once where
// the platform can (plain TCP on Linux), and otherwise done by a goroutine that
// lives as long as the write.
type conn struct {
	loop      *loop
	serial    uint64 // rises with each connection that the server takes
	nc        net.Conn
	fd        int        // where writes are tried; -1: not
	id        session.ID // zero once the session is over; the loop's
	publisher stream.PublisherID

	out    atomic.Int32  // reads that the loop has not taken
	paused atomic.Bool   // the core asks for no more
	over   atomic.Bool   // the session is over: what comes is dropped
	gate   chan struct{} // of one: something of the above changed

	order    sync.Mutex // held while an item goes to the publisher: see driver.Publish
	refusals int        // of publishes, "try again", that the core has not heard of
}

func newConn(l *loop, nc net.Conn, serial uint64) *conn {
	c := &conn{loop: l, serial: serial, nc: nc, fd: -1, gate: make(chan struct{}, 1)}
	if canWait {
		c.fd = socket.FD(nc) // only the loop closes it, and only the loop writes
	}
	return c
}

func (c *conn) refusal(n int) {
	c.order.Lock()
	c.refusals += n
	c.order.Unlock()
}

func (c *conn) signal() {
	select {
	case c.gate <- struct{}{}:
	default:
	}
}

// credit says that the loop has taken a read.
func (c *conn) credit() {
	if c.out.Add(-1) == readsOut-1 {
		c.signal()
	}
}

// read is the reader. It owns nothing of the loop and ends with evGone.
func (c *conn) read() {
	defer c.loop.server.wg.Done()
	defer func() { c.loop.inbox.post(event{kind: evGone, conn: c}) }()
	r := newReadFrom(c)
	for {
		for !c.over.Load() && (c.out.Load() >= readsOut || c.paused.Load()) {
			<-c.gate
		}
		buf, n, err := r.read()
		if n > 0 && !c.over.Load() {
			c.out.Add(1)
			c.loop.inbox.post(event{kind: evInput, conn: c, buf: buf, n: n})
		} else if buf != nil {
			putBuffer(buf)
		}
		if err != nil {
			return
		}
	}
}

// write sends b, or begins to. The loop calls it.
func (c *conn) write(b []byte) int {
	if c.fd >= 0 {
		n, err := socket.TryWrite(c.fd, b)
		if n < len(b) && err == nil {
			c.loop.waiter.wait(c.fd, c.id)
		}
		// Otherwise the connection is broken and its reader says so.
		return n
	}
	id := c.id
	c.loop.server.wg.Add(1)
	go func() {
		defer c.loop.server.wg.Done()
		n, err := c.nc.Write(b)
		if err != nil {
			c.nc.SetReadDeadline(time.Now()) // the reader ends, and with it the session
			return
		}
		c.loop.inbox.post(event{kind: evWrote, id: id, n: n})
	}()
	return session.Later
}

// hangUp ends a connection whose session is over. The peer may still be sending;
// closing at once could destroy what it has not read yet, so what it sends is
// dropped for a moment.
func (c *conn) hangUp() {
	c.over.Store(true)
	c.signal()
	c.nc.SetDeadline(time.Now().Add(lingerTime))
	if c.fd >= 0 {
		c.nc.(*net.TCPConn).CloseWrite()
		return
	}
	c.loop.server.wg.Add(1)
	go func() {
		defer c.loop.server.wg.Done()
		if w, ok := c.nc.(interface{ CloseWrite() error }); ok {
			w.CloseWrite()
			return
		}
		c.nc.Close()
	}()
}

// close gives the connection back to the system.
func (c *conn) close() { c.nc.Close() }

var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeRead); return &b }}

func getBuffer(large bool) *[]byte {
	if large {
		return largeBuffers.Get().(*[]byte)
	}
	return smallBuffers.Get().(*[]byte)
}

func putBuffer(b *[]byte) {
	if len(*b) == largeRead {
		largeBuffers.Put(b)
		return
	}
	smallBuffers.Put(b)
}

// A netReader reads a connection that can only be read into a buffer that waits
// with it: a small one, until there is much to read.
type netReader struct {
	nc    net.Conn
	small []byte
	more  bool // the last read filled its buffer
}

func (r *netReader) read() (*[]byte, int, error) {
	if r.more {
		buf := getBuffer(true)
		n, err := r.nc.Read(*buf)
		r.more = n == len(*buf)
		return buf, n, err
	}
	n, err := r.nc.Read(r.small)
	r.more = n == len(r.small)
	if n == 0 {
		return nil, 0, err
	}
	buf := getBuffer(false)
	copy(*buf, r.small[:n])
	return buf, n, err
}

// A readFrom gives the bytes that come, in a buffer that goes back to its pool.
type readFrom interface {
	read() (buf *[]byte, n int, err error)
}
