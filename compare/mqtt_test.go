package compare

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
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
	c := &mqttConn{Conn: nc, r: bufio.NewReaderSize(nc, 16<<10)}
	body := append([]byte("\x00\x04MQTT\x04\x02\x00\x00"), mqttString(id)...)
	if _, err := c.Write(mqttPacket(0x10, body)); err != nil {
		tb.Fatal(err)
	}
	if kind, err := c.next(); err != nil || kind != 0x20 || c.b[1] != 0 {
		tb.Fatalf("CONNACK: %#x % x %v", kind, c.b, err)
	}
	return c
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
	var out []byte
	id, sent := uint16(0), 0
	add := func() {
		if id++; id == 0 {
			id = 1
		}
		body := append(mqttString(topic), byte(id>>8), byte(id))
		out = append(out, mqttPacket(0x32, append(body, payload...))...)
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
			if acked++; time.Now().Before(deadline) {
				add()
			}
		}
		if acked == sent {
			return acked, nil
		}
	}
}

func mqttString(s string) []byte {
	return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...)
}

func mqttPacket(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}
