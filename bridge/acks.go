package bridge

import (
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// An ackQueue holds the publications of a connection that wait for their commit,
// in order of arrival. Acknowledgements leave from its head, so PUBACKs and
// PUBRECs keep that order (MQTT 5, 4.6.0-2 and 4.6.0-3) whatever the order of
// the commits. A publication of QoS 0 has a place without an acknowledgement:
// it counts against the same limits. conn.mu guards it.
type ackQueue struct {
	ring  []ack // a power of two, or empty
	head  uint32
	tail  uint32
	bytes int       // of payload in the queue
	owed  int       // of QoS 1 in the queue
	room  sync.Cond // signalled when something left the queue or the connection closes
}

type ack struct {
	size int32
	id   uint16
	typ  byte // PUBACK, PUBREC, PUBCOMP; 0: nothing is sent
	done bool
	code byte
}

// Limits of the queue. A publisher beyond them waits: its reader stops reading.
const (
	maxAckEntries = 1024
	maxAckBytes   = 1 << 20
)

// enqueue waits until a publication of size bytes may go to the publisher, and
// gives its place in the queue. It fails when the connection closes meanwhile.
// The caller owes b.budget the size, when the publication ended.
func (c *client) enqueue(id uint16, typ byte, size int) (slot uint32, ok bool) {
	if !c.b.budget.take(size, &c.ended) {
		return 0, false
	}
	if slot, ok = c.reserve(id, typ, size); !ok {
		c.b.budget.give(size)
	}
	return slot, ok
}

// reserve gives the next place in the queue, after waiting for room. It fails
// when the connection closes meanwhile.
func (c *conn) reserve(id uint16, typ byte, size int) (slot uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.acks
	for !c.closing && (q.tail-q.head >= maxAckEntries || q.bytes > 0 && q.bytes+size > maxAckBytes) {
		q.room.Wait()
	}
	if c.closing {
		return 0, false
	}
	if n := uint32(len(q.ring)); q.tail-q.head == n {
		ring := make([]ack, max(8, 2*n))
		for i := q.head; i != q.tail; i++ {
			ring[i&uint32(len(ring)-1)] = q.ring[i&(n-1)]
		}
		q.ring = ring
	}
	slot = q.tail
	q.ring[slot&uint32(len(q.ring)-1)] = ack{id: id, typ: typ, size: int32(size)}
	q.tail++
	q.bytes += size
	if typ == packets.Puback {
		q.owed++
	}
	return slot, true
}

// owed gives the number of publications of QoS 1 that are not acknowledged.
func (c *conn) owed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks.owed
}

// complete marks a place as done, with a reason code for its acknowledgement,
// and lets go what is done at the head. It does not flush: the acker does, so
// the acknowledgements of one commit leave in one write.
func (c *conn) complete(slot uint32, code byte) {
	c.mu.Lock()
	q := &c.acks
	if slot-q.head >= q.tail-q.head {
		c.mu.Unlock()
		return
	}
	mask := uint32(len(q.ring) - 1)
	a := &q.ring[slot&mask]
	a.done, a.code = true, code
	wake := false
	for q.head != q.tail && q.ring[q.head&mask].done {
		a := q.ring[q.head&mask]
		q.head++
		q.bytes -= int(a.size)
		wake = true
		if a.typ == packets.Puback {
			q.owed--
		}
		if a.typ != 0 {
			var b [5]byte
			c.appendControl(appendAck(b[:0], a.typ, a.id, a.code))
		}
	}
	if wake {
		q.room.Signal()
	}
	tell := wake && !c.dirty && len(c.buf) > 0
	c.dirty = c.dirty || tell
	c.mu.Unlock()
	if tell {
		c.acker.add(c)
	}
}

// ackType gives what acknowledges a publication; 0: nothing does.
func ackType(qos byte) byte {
	switch qos {
	case 1:
		return packets.Puback
	case 2:
		return packets.Pubrec
	}
	return 0
}

// appendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. A code other than
// success is for MQTT 5 only.
func appendAck(b []byte, typ byte, id uint16, code byte) []byte {
	first := typ << 4
	if typ == packets.Pubrel {
		first |= 2
	}
	if code == 0 {
		return append(b, first, 2, byte(id>>8), byte(id))
	}
	return append(b, first, 3, byte(id>>8), byte(id), code)
}

// An acker flushes connections whose acknowledgements became due. Completions
// come one by one from the publisher's goroutine; the acker's takes what has
// gathered since its last round.
type acker struct {
	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	mu    sync.Mutex
	dirty []*conn
}

func newAcker() *acker {
	a := &acker{wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go a.run()
	return a
}

func (a *acker) add(c *conn) {
	a.mu.Lock()
	a.dirty = append(a.dirty, c)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *acker) run() {
	defer close(a.done)
	var list []*conn
	for {
		select {
		case <-a.wake:
		case <-a.quit:
			return
		}
		a.mu.Lock()
		list, a.dirty = a.dirty, list[:0]
		a.mu.Unlock()
		for i, c := range list {
			c.mu.Lock()
			c.dirty = false
			c.flushLocked()
			c.mu.Unlock()
			list[i] = nil
		}
	}
}

func (a *acker) close() {
	close(a.quit)
	<-a.done
}
