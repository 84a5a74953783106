package compare

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// An mqttConn speaks just enough MQTT 3.1.1 to load a broker: it spends nothing
// on what it does not measure.
type mqttConn struct {
	net.Conn
	r *bufio.Reader
	b []byte // body of the packet last read
}

func dialMQTT(tb testing.TB, addr, id string) *mqttConn {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	c := newMQTTConn(nc)
	if err := c.hello(id, cleanSession); err != nil {
		tb.Fatal(err)
	}
	return c
}

func newMQTTConn(nc net.Conn) *mqttConn {
	return &mqttConn{Conn: nc, r: bufio.NewReaderSize(nc, 16<<10)}
}

const cleanSession = 2

// hello connects; the CONNACK's body is then in c.b.
func (c *mqttConn) hello(id string, flags byte) error {
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, flags, 0, 0}, mqttString(id)...)
	if _, err := c.Write(mqttPacket(0x10, body)); err != nil {
		return err
	}
	if kind, err := c.next(); err != nil || kind != 0x20 || c.b[1] != 0 {
		return fmt.Errorf("CONNACK: %#x % x %v", kind, c.b, err)
	}
	return nil
}

// next reads a packet: its first byte, its body in c.b.
func (c *mqttConn) next() (byte, error) {
	first, err := c.r.ReadByte()
	if err != nil {
		return 0, err
	}
	n, err := binary.ReadUvarint(c.r) // the same encoding as MQTT's remaining length
	if err != nil {
		return 0, err
	}
	if n > 1<<20 {
		return 0, errors.New("packet too large")
	}
	if uint64(cap(c.b)) < n {
		c.b = make([]byte, n)
	}
	c.b = c.b[:n]
	_, err = io.ReadFull(c.r, c.b)
	return first, err
}

// publish keeps window QoS 1 publishes of payload under way until deadline, and
// gives how many were acknowledged.
func (c *mqttConn) publish(topic string, payload []byte, window int, deadline time.Time) (acked int, err error) {
	return c.publishWhile(topic, payload, window, func(int) bool { return time.Now().Before(deadline) })
}

// publishN publishes n times.
func (c *mqttConn) publishN(topic string, payload []byte, n, window int) error {
	_, err := c.publishWhile(topic, payload, min(n, window), func(sent int) bool { return sent < n })
	return err
}

func (c *mqttConn) publishWhile(topic string, payload []byte, window int, more func(sent int) bool) (acked int, err error) {
	var out []byte
	id, sent := uint16(0), 0
	add := func() {
		if id++; id == 0 {
			id = 1
		}
		out = append(out, mqttPublish(topic, payload, 1, id)...)
		sent++
	}
	for range window {
		add()
	}
	for {
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return acked, err
			}
			out = out[:0]
		}
		for ok := true; ok; ok = c.r.Buffered() >= 4 {
			kind, err := c.next()
			if err != nil {
				return acked, err
			}
			if kind != 0x40 {
				return acked, fmt.Errorf("packet %#x where a PUBACK was due", kind)
			}
			if acked++; more(sent) {
				add()
			}
		}
		if acked == sent {
			return acked, nil
		}
	}
}

// subscribe asks for topic, and has the answer when it returns.
func (c *mqttConn) subscribe(tb testing.TB, topic string, qos byte) {
	tb.Helper()
	body := append([]byte{0, 1}, mqttString(topic)...)
	if _, err := c.Write(mqttPacket(0x82, append(body, qos))); err != nil {
		tb.Fatal(err)
	}
	if kind, err := c.next(); err != nil || kind != 0x90 || c.b[2] != qos {
		tb.Fatalf("SUBACK: %#x % x %v", kind, c.b, err)
	}
}

// count counts the messages that arrive until the connection ends, and
// acknowledges those of QoS 1.
func (c *mqttConn) count(n *atomic.Int64) {
	var acks []byte
	for {
		kind, err := c.next()
		if err != nil {
			return
		}
		if kind>>4 == 3 {
			n.Add(1)
			if kind&6 != 0 {
				id := c.b[2+binary.BigEndian.Uint16(c.b):]
				acks = append(acks, 0x40, 2, id[0], id[1])
			}
		}
		if len(acks) > 0 && c.r.Buffered() == 0 {
			if _, err := c.Write(acks); err != nil {
				return
			}
			acks = acks[:0]
		}
	}
}

// mqttPublish gives the PUBLISH of payload; id is for QoS 1.
func mqttPublish(topic string, payload []byte, qos byte, id uint16) []byte {
	body := mqttString(topic)
	if qos > 0 {
		body = binary.BigEndian.AppendUint16(body, id)
	}
	return mqttPacket(0x30|qos<<1, append(body, payload...))
}

func mqttString(s string) []byte {
	return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...)
}

func mqttPacket(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}
