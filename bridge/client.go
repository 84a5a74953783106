package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A client is one connection, and its reader's goroutine. Fields without a note
// belong to that goroutine, and to the loop from attach to detach when the
// reader waits for it.
type client struct {
	*conn
	b    *Bridge
	in   packetReader
	gone chan struct{} // closed when the session is detached and the client id free

	// Set by CONNECT, then read only.
	who       Identity
	version   byte // 3: MQTT 3.1, 4: 3.1.1, 5
	bridge    bool // another broker: see wish
	origin    stream.PublisherID
	session   *session
	maxPacket int  // that the client takes; 0: any
	maxAlias  int  // of the topics of deliveries
	quiet     bool // it wants no reason strings nor user properties but with messages
	window    int  // deliveries that it takes without acknowledgement
	keepAlive time.Duration

	attached chan packets.Code         // the loop's answer to CONNECT
	connack  func(present bool) []byte // gives the CONNACK of success

	named  bool // it has its client id's entry in Bridge.byID
	expiry uint32
	will   *will
	armed  time.Time // when the read deadline was set

	packetsIn, publishesIn uint64 // not yet in Bridge.counts

	aliases map[uint16]stream.Subject
	last    stream.Subject // of the last publication; most clients have few

	topics  []topicAlias // of deliveries, by alias - 1; made with the first; the loop's
	touched bool         // in the loop's list of connections to flush; the loop's
}

func newClient(b *Bridge, nc net.Conn) *client {
	c := &client{
		conn: newConn(nc, b.cfg.Buffer, b.cfg.StuckTimeout, b.acker, &b.counts),
		b:    b,
		gone: make(chan struct{}),
	}
	c.wake = b.budget.wake
	c.onRoom = func() { b.loop.in.stir(c) }
	c.in = packetReader{br: bufio.NewReaderSize(c.conn, 2048), max: b.cfg.MaxPacket}
	return c
}

// errGoodbye is the orderly end of a connection: the client's DISCONNECT.
var errGoodbye = errors.New("bridge: goodbye")

// serve runs the connection until it ends. A protocol error is told to an MQTT 5
// client; an older one sees the connection close (MQTT 5, 4.13; 3.1.1, 4.8).
//
// It gives the reason of the end; nil: the client said goodbye, or this side
// closed in good order.
func (c *client) serve() error {
	c.deadline(time.Now().Add(c.b.cfg.ConnectTimeout))
	err := c.connect()
	for err == nil {
		c.arm()
		var pk *packets.Packet
		if pk, err = c.in.next(c.version); err == nil {
			err = c.handle(pk)
			c.count(pk)
		}
	}
	c.b.counts.packetsIn.Add(c.packetsIn)
	c.b.counts.publishesIn.Add(c.publishesIn)
	if cause, ours := c.cause(); ours {
		return cause
	}
	if err == errGoodbye {
		return nil
	}
	var code packets.Code
	switch {
	case errors.As(err, &code):
		if code == packets.ErrPacketTooLarge {
			c.b.tellTooLarge(c)
		}
		c.shut(c.disconnectPacket(code), err)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.session != nil:
		c.shut(c.disconnectPacket(packets.ErrKeepAliveTimeout), err)
	}
	return err
}

// count counts a packet that came, and says so when no other is at hand.
func (c *client) count(pk *packets.Packet) {
	c.packetsIn++
	if pk.FixedHeader.Type == packets.Publish {
		c.publishesIn++
	}
	if c.in.br.Buffered() == 0 {
		c.b.counts.packetsIn.Add(c.packetsIn)
		c.b.counts.publishesIn.Add(c.publishesIn)
		c.packetsIn, c.publishesIn = 0, 0
	}
}

// arm sets the read deadline to one and a half keep-alives (MQTT 5, 3.1.2-22),
// now and then rather than for every packet.
func (c *client) arm() {
	if c.keepAlive == 0 {
		return
	}
	if now := time.Now(); now.Sub(c.armed) > c.keepAlive/8 {
		c.armed = now
		c.deadline(now.Add(c.keepAlive + c.keepAlive/2 + c.keepAlive/8))
	}
}

// handle does what one packet asks for. An error ends the connection; a
// packets.Code is the reason that an MQTT 5 client is told.
func (c *client) handle(pk *packets.Packet) error {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return c.publish(pk)
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		return c.feedback(pk)
	case packets.Pubrel:
		return c.release(pk)
	case packets.Subscribe:
		return c.subscribe(pk)
	case packets.Unsubscribe:
		return c.unsubscribe(pk)
	case packets.Pingreq:
		c.write([]byte{packets.Pingresp << 4, 0})
		return nil
	case packets.Disconnect:
		return c.disconnect(pk)
	case packets.Connect:
		return packets.ErrProtocolViolationSecondConnect
	case packets.Auth:
		return packets.ErrProtocolViolation // CONNECT named no method: see connect
	}
	return packets.ErrProtocolViolation // a packet that only servers send
}

// feedback counts an acknowledgement of a delivery and hands it to the loop.
func (c *client) feedback(pk *packets.Packet) error {
	size := float64(pk.FixedHeader.Remaining + 1 + varintLen(pk.FixedHeader.Remaining))
	m := &c.b.meters
	switch pk.FixedHeader.Type {
	case packets.Puback:
		m.pubackPackets.Inc()
		m.pubackBytes.Add(size)
	case packets.Pubrec:
		m.pubrecPackets.Inc()
		m.pubrecBytes.Add(size)
	case packets.Pubcomp:
		m.pubcompPackets.Inc()
		m.pubcompBytes.Add(size)
	}
	if pk.PacketID == 0 {
		return packets.ErrProtocolViolationNoPacketID
	}
	c.acknowledged(inAck{id: pk.PacketID, typ: pk.FixedHeader.Type, code: pk.ReasonCode}, pk.FixedHeader.Type == packets.Pubrec)
	return nil
}

// disconnect ends the connection. Only reason 0 makes the will go (MQTT 5,
// 3.14.4-3); a client older than 5 knows no other.
func (c *client) disconnect(pk *packets.Packet) error {
	if pk.Properties.SessionExpiryIntervalFlag {
		if c.expiry == 0 && pk.Properties.SessionExpiryInterval > 0 {
			return packets.ErrProtocolViolationZeroNonZeroExpiry
		}
		c.expiry = c.b.capExpiry(pk.Properties.SessionExpiryInterval)
	}
	if pk.ReasonCode == 0 {
		c.will = nil
	}
	return errGoodbye
}

// disconnectPacket gives a DISCONNECT for an MQTT 5 client that knows that it is
// connected; nothing for any other.
func (c *client) disconnectPacket(code packets.Code) []byte {
	c.mu.Lock()
	v5 := c.greeted == 5
	c.mu.Unlock()
	if !v5 {
		return nil
	}
	pk := packets.Packet{ProtocolVersion: 5, ReasonCode: code.Code,
		FixedHeader: packets.FixedHeader{Type: packets.Disconnect},
		Properties:  packets.Properties{ReasonString: code.Reason}}
	if c.maxPacket > 0 && c.maxPacket < 8+len(code.Reason) {
		pk.Properties.ReasonString = ""
	}
	var buf bytes.Buffer
	_ = pk.DisconnectEncode(&buf)
	return buf.Bytes()
}

// tooLarge reports whether the client does not take a packet of f's size.
func (c *client) tooLarge(f *frame) bool { return c.maxPacket > 0 && len(f.bytes) > c.maxPacket }

// leave is the end of a connection's place in the house: the session goes
// offline or ends, the will is decided, the client id is free.
func (c *client) leave() {
	if c.session != nil {
		c.b.loop.do(func() { c.b.loop.detach(c) })
	}
	if c.named {
		c.b.mu.Lock()
		delete(c.b.byID, c.who.ClientID)
		c.b.mu.Unlock()
	}
	close(c.gone)
}

// tellTooLarge counts a packet that is larger than Config.MaxPacket and writes a
// line, ten seconds apart: its client may send it for ever.
func (b *Bridge) tellTooLarge(c *client) {
	b.meters.published[broker.TooLarge].Inc()
	now, last := time.Now().UnixNano(), b.toldTooLarge.Load()
	if now-last > int64(10*time.Second) && b.toldTooLarge.CompareAndSwap(last, now) {
		b.cfg.Log.Warn().Str("client", c.who.ClientID).Int("limit", b.cfg.MaxPacket).
			Msg("a client sent a packet that is too large, and was disconnected")
	}
}
