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
// What a session in the log has taken in is remembered there, too.
func (c *client) publishOnce(id uint16, it stream.Item) error {
	in := &c.session.in
	in.mu.Lock()
	r := in.ids[id]
	n := len(in.ids)
	waits := r != nil && !r.committed
	if r != nil && !r.here {
		r.here = true
		in.open++
	}
	in.mu.Unlock()
	switch {
	case waits:
		return nil // its PUBREC is on its way
	case r == nil && n >= maxInbound+c.b.cfg.ReceiveMaximum:
		return packets.ErrReceiveMaximum
	case r != nil:
		slot, ok := c.reserve(id, packets.Pubrec, 0)
		if !ok {
			return errClosing
		}
		c.complete(slot, 0)
		return nil
	}
	if c.session.fence != 0 {
		it.Session, it.Fence, it.Packet = c.session.id, c.session.fence, id
	}
	size := it.EncodedLen()
	slot, ok := c.enqueue(id, packets.Pubrec, size)
	if !ok {
		return errClosing
	}
	r = &received{here: true}
	in.mu.Lock()
	in.ids[id] = r
	in.open++
	in.mu.Unlock()
	c.b.cfg.Publisher.Publish(it, func(_ stream.Place, err error) {
		c.b.budget.give(size)
		in.mu.Lock()
		if r.committed = err == nil; err != nil {
			delete(in.ids, id)
			in.open--
		}
		in.mu.Unlock()
		c.settle(slot, 2, c.b.answerTo(err), err)
	})
	return nil
}

// release answers a PUBREL (MQTT 5, 4.3.3-11). A session in the log forgets the
// packet id before the answer, or its next publication would pass for this one
// after a restart.
func (c *client) release(pk *packets.Packet) error {
	id := pk.PacketID
	if id == 0 {
		return packets.ErrProtocolViolationNoPacketID
	}
	in := &c.session.in
	in.mu.Lock()
	r := in.ids[id]
	known := r != nil && r.committed && !r.releasing
	if known && c.session.fence != 0 {
		r.releasing = true
	} else if known {
		in.forget(id)
	}
	waits := r != nil && r.releasing && !known
	in.mu.Unlock()
	switch {
	case waits:
		return nil // its PUBCOMP is on its way
	case !known:
		code := byte(0)
		if c.version == 5 {
			code = packets.ErrPacketIdentifierNotFound.Code
		}
		c.write(appendAck(nil, packets.Pubcomp, id, code))
		return nil
	case c.session.fence == 0:
		c.write(appendAck(nil, packets.Pubcomp, id, 0))
		return nil
	}
	slot, ok := c.reserve(id, packets.Pubcomp, 0)
	if !ok {
		return errClosing
	}
	op := stream.ReleaseSession(c.session.id, c.session.fence, id)
	c.b.cfg.Publisher.Publish(stream.Item{Op: op}, func(_ stream.Place, err error) {
		if err != nil {
			c.shut(c.disconnectPacket(refusal(err)), err) // the client says it again
			return
		}
		in.mu.Lock()
		in.forget(id)
		in.mu.Unlock()
		c.complete(slot, 0)
	})
	return nil
}

// forget lets a packet id be used for another publication.
func (in *inbound) forget(id uint16) {
	if in.ids[id].here {
		in.open--
	}
	delete(in.ids, id)
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
