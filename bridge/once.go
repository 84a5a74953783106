package bridge

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// maxInbound bounds the packet ids that a client older than MQTT 5, which knows
// no Receive Maximum, may hold open.
const maxInbound = 4096

// publishOnce takes a publication of QoS 2 in, once for each packet id until its
// PUBREL (MQTT 5, 4.3.3-10). One that comes again is answered and not published.
func (c *client) publishOnce(id uint16, it stream.Item) error {
	in := &c.session.in
	in.mu.Lock()
	r := in.ids[id]
	n := len(in.ids)
	waits := r != nil && r.conn == c.conn && !r.committed
	in.mu.Unlock()
	if waits {
		return nil // its PUBREC is on its way
	}
	if r == nil && n >= maxInbound+c.b.cfg.ReceiveMaximum {
		return packets.ErrReceiveMaximum
	}
	if r != nil {
		slot, ok := c.reserve(id, 2, 0)
		if !ok {
			return errClosing
		}
		in.mu.Lock()
		if r.conn != c.conn {
			in.open++
		}
		r.conn, r.slot = c.conn, slot
		committed, failed := r.committed, in.ids[id] != r
		in.mu.Unlock()
		if failed { // since we looked: the client has to come again
			return packets.ErrServerUnavailable
		}
		if committed {
			c.complete(slot, 0)
		}
		return nil
	}
	size := it.EncodedLen()
	slot, ok := c.enqueue(id, 2, size)
	if !ok {
		return errClosing
	}
	r = &received{conn: c.conn, slot: slot}
	in.mu.Lock()
	in.ids[id] = r
	in.open++
	in.mu.Unlock()
	c.b.cfg.Publisher.Publish(it, func(_ stream.Place, err error) {
		c.b.budget.give(size)
		answer, committed := c.b.answerTo(err), err == nil
		in.mu.Lock()
		r.committed = committed
		if !committed {
			delete(in.ids, id)
			if r.conn != nil {
				in.open--
			}
		}
		conn, slot := r.conn, r.slot
		in.mu.Unlock()
		switch {
		case conn == c.conn:
			c.settle(slot, 2, answer, err)
		case conn != nil: // sent again on a later connection
			if committed {
				conn.complete(slot, 0)
			} else {
				conn.shut(nil, err)
			}
		}
	})
	return nil
}

// release answers a PUBREL (MQTT 5, 4.3.3-11).
func (c *client) release(pk *packets.Packet) error {
	if pk.PacketID == 0 {
		return packets.ErrProtocolViolationNoPacketID
	}
	in := &c.session.in
	in.mu.Lock()
	r := in.ids[pk.PacketID]
	known := r != nil && r.committed
	if known {
		delete(in.ids, pk.PacketID)
		if r.conn != nil {
			in.open--
		}
	}
	in.mu.Unlock()
	code := byte(0)
	if !known && c.version == 5 {
		code = packets.ErrPacketIdentifierNotFound.Code
	}
	var b [5]byte
	c.write(appendAck(b[:0], packets.Pubcomp, pk.PacketID, code))
	return nil
}

// inFlight gives the publications of QoS 1 and 2 of this connection that are not
// finished (MQTT 5, 4.9).
func (c *client) inFlight() int {
	in := &c.session.in
	in.mu.Lock()
	n := in.open
	in.mu.Unlock()
	return n + c.owed()
}

// repeats reports whether a PUBLISH is one of QoS 2 that was sent before.
func (c *client) repeats(pk *packets.Packet) bool {
	in := &c.session.in
	in.mu.Lock()
	defer in.mu.Unlock()
	return pk.FixedHeader.Qos == 2 && in.ids[pk.PacketID] != nil
}
