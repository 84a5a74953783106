package bridge

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nackmq/nackmq/internal/socket"
)

// errSlow is why a connection was closed whose peer sends and never reads.
var errSlow = errors.New("bridge: the peer does not read")

const (
	controlReserve = 64 << 10        // what control packets may take beyond as much as deliveries may
	drainChunk     = 16 << 10        // one write of a burst; each has its own deadline
	closeTime      = 2 * time.Second // what the last bytes of a connection may take
)

// A conn is the writing half of a connection and the queue of the
// acknowledgements that it owes. Writing never waits for the peer: bytes are
// appended to a buffer, and flush gives the kernel what it takes at once. What
// it does not take is written by a goroutine that lives as long as that burst.
//
// On plain TCP flush is one send(2). TLS and WebSocket cannot write without
// waiting, so there every flush is a burst.
type conn struct {
	nc     net.Conn
	fd     int           // where writes are tried, unless dead; -1: TLS, WebSocket
	limit  int           // bytes that deliveries may fill
	stuck  time.Duration // a peer that takes nothing for so long is cut off
	acker  *acker        // flushes for those who complete acknowledgements
	counts *counts       // of all connections
	onRoom func()        // called, also under mu, when there is room and wantRoom was set; does not block

	wg    sync.WaitGroup // the burst's goroutine
	ended atomic.Bool    // closing, for those who wait without mu
	wake  func()         // makes them look; called under mu

	mu       sync.Mutex
	buf      []byte // not yet taken by the kernel nor by the burst
	bursting int    // bytes that the burst's goroutine holds
	packets  uint64 // appended, and not yet in counts
	control  [2]int // bytes of control packets among them: in buf at most, and in the burst
	burst    bool   // there is a burst
	wantRoom bool   // the loop waits for room
	dirty    bool   // in the acker's list
	closing  bool   // nothing may be appended any more
	dead     bool   // writing failed, or the socket is closed
	kicked   bool   // the reader was woken for good
	err      error  // why it is closing, for the log; nil: an orderly end
	acks     ackQueue
	inAcks   []inAck // what the client acknowledged and the loop has not seen
	wantAcks bool    // the loop waits for them
	greeted  byte    // the version of a client whose CONNECT was answered with success
}

func newConn(nc net.Conn, limit int, stuck time.Duration, a *acker, n *counts) *conn {
	c := &conn{nc: nc, fd: socket.FD(nc), limit: limit, stuck: stuck, acker: a, counts: n}
	c.acks.room.L = &c.mu
	return c
}

// Read reads from the peer.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	c.counts.bytesIn.Add(uint64(n))
	return n, err
}

// write appends a control packet and flushes. Control packets are bounded by
// what the peer sends; a peer that makes us owe more of them than deliveries may
// take, and a reserve, is cut off. Deliveries do not count here: a large message
// that goes out slowly is no reason to cut off a peer that pings meanwhile.
func (c *conn) write(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appendControl(p)
	c.flushLocked()
}

// post appends a control packet without flushing.
func (c *conn) post(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appendControl(p)
}

func (c *conn) appendControl(p []byte) {
	if c.closing || c.dead {
		return
	}
	if c.control[0]+c.control[1]+len(p) > c.limit+controlReserve {
		c.closeLocked(errSlow)
		return
	}
	c.control[0] += len(p)
	c.packets++
	c.grow()
	c.buf = append(c.buf, p...)
}

// deliver appends a PUBLISH, with id written at offset at if at > 0. It reports
// whether there was room; if not, the loop is called when there is.
func (c *conn) deliver(frame []byte, at int, id uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.dead {
		return false
	}
	// An empty buffer takes a frame of any size, or a large one could never go.
	full := func() bool {
		held := len(c.buf) + c.bursting
		return held > 0 && held+len(frame) > c.limit
	}
	if full() {
		if c.flushLocked(); full() {
			c.wantRoom = true
			return false
		}
	}
	if c.dead {
		return false
	}
	c.packets++
	c.grow()
	n := len(c.buf)
	c.buf = append(c.buf, frame...)
	if at > 0 {
		c.buf[n+at] = byte(id >> 8)
		c.buf[n+at+1] = byte(id)
	}
	return true
}

func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked()
}

func (c *conn) flushLocked() {
	if c.packets > 0 {
		c.counts.packetsOut.Add(c.packets)
		c.packets = 0
	}
	if c.burst || c.dead || len(c.buf) == 0 {
		return
	}
	if c.fd >= 0 {
		n, err := socket.TryWrite(c.fd, c.buf)
		c.counts.bytesOut.Add(uint64(max(n, 0)))
		if err != nil {
			c.deadLocked(err)
			return
		}
		if n == len(c.buf) {
			c.release()
			if c.wantRoom {
				c.wantRoom = false
				c.onRoom()
			}
			return
		}
		c.buf = c.buf[:copy(c.buf, c.buf[n:])]
		c.control[0] = min(c.control[0], len(c.buf))
	}
	c.burst = true
	c.wg.Add(1)
	go c.drain()
}

// drain writes until nothing is left, then ends.
func (c *conn) drain() {
	defer c.wg.Done()
	var own []byte
	for {
		c.mu.Lock()
		c.bursting, c.control[1] = 0, 0
		if len(c.buf) == 0 || c.dead {
			c.burst = false
			c.release()
			if c.closing {
				c.kickLocked()
			}
			call := c.wantRoom
			c.wantRoom = false
			c.mu.Unlock()
			if call {
				c.onRoom()
			}
			return
		}
		own, c.buf = c.buf, own[:0]
		c.bursting = len(own)
		c.control[0], c.control[1] = 0, c.control[0]
		c.mu.Unlock()
		for p := own; len(p) > 0; {
			n := min(drainChunk, len(p))
			c.armWrite()
			wrote, err := c.nc.Write(p[:n])
			c.counts.bytesOut.Add(uint64(wrote))
			if err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					err = errSlow
				}
				c.mu.Lock()
				c.deadLocked(err)
				c.mu.Unlock()
				break
			}
			p = p[n:]
		}
	}
}

// armWrite sets the deadline of the next chunk.
func (c *conn) armWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.stuck
	if c.closing {
		d = min(d, closeTime)
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(d))
}

// deadline sets when the reader gives up; the zero time: never. A connection
// that is closing keeps the deadline that woke its reader.
func (c *conn) deadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.kicked {
		_ = c.nc.SetReadDeadline(t)
	}
}

// shut appends last, if it has bytes, and closes: nothing follows it, and the
// reader wakes as soon as it is written.
func (c *conn) shut(last []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing && len(last) > 0 {
		c.appendControl(last)
	}
	c.closeLocked(err)
}

func (c *conn) closeLocked(err error) {
	if c.closing {
		return
	}
	c.endLocked(err)
	if len(c.buf) > 0 && !c.burst && !c.dead {
		c.flushLocked()
	}
	if !c.burst {
		c.kickLocked()
		return
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(closeTime))
}

// deadLocked gives up writing.
func (c *conn) deadLocked(err error) {
	c.dead = true
	c.buf = nil
	if !c.closing {
		c.endLocked(err)
	}
	c.kickLocked()
}

// endLocked lets nothing more in and wakes whoever waits for this connection.
func (c *conn) endLocked(err error) {
	c.closing, c.err = true, err
	c.ended.Store(true)
	c.acks.room.Broadcast()
	c.wake()
}

func (c *conn) kickLocked() {
	if !c.kicked {
		c.kicked = true
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// cause tells why the connection was closed from this side; nil, false if it
// was not.
func (c *conn) cause() (error, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err, c.closing
}

// finish writes what is left and closes the socket. The reader's goroutine calls
// it last. If this side closed, it reads on for a moment: a socket closed with
// unread input resets the connection, and the peer would lose our DISCONNECT.
func (c *conn) finish() {
	c.mu.Lock()
	ours := c.closing
	c.closeLocked(nil)
	linger := ours && !c.dead
	c.mu.Unlock()
	c.wg.Wait()
	if tc, ok := c.nc.(*net.TCPConn); ok && linger && tc.CloseWrite() == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(closeTime))
		var sink [2048]byte
		for left := 1 << 20; left > 0; {
			n, err := c.nc.Read(sink[:])
			if err != nil {
				break
			}
			left -= n
		}
	}
	c.mu.Lock()
	c.dead = true // others may still flush, and fd will be another's
	c.mu.Unlock()
	_ = c.nc.Close()
}

// Buffers of idle connections go back to a pool.
var bufPool = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

func (c *conn) grow() {
	if c.buf == nil {
		c.buf = (*bufPool.Get().(*[]byte))[:0]
	}
}

func (c *conn) release() {
	c.control[0] = 0
	if cap(c.buf) > 0 && cap(c.buf) <= 64<<10 {
		b := c.buf[:0]
		bufPool.Put(&b)
	}
	c.buf = nil
}
