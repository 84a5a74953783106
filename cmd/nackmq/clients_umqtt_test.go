package main

import (
	"bufio"
	endian "encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// A umqtt says what MicroPython's umqtt.simple says, byte for byte: MQTT 3.1.1,
// no keep alive, QoS 0 and 1, and every other packet that comes is not understood.
type umqtt struct {
	nc    net.Conn
	br    *bufio.Reader
	pid   uint16
	heard func(topic string, qos, retain byte, payload string)
}

func dialUmqtt(addr, id string) (*umqtt, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &umqtt{nc: nc, br: bufio.NewReader(nc)}
	msg := append([]byte("\x00\x04MQTT\x04\x02\x00\x00"), umqttString(id)...)
	c.say(0x10, msg)
	resp := make([]byte, 4)
	if _, err := io.ReadFull(c.br, resp); err != nil {
		return nil, err
	}
	if resp[0] != 0x20 || resp[1] != 2 || resp[3] != 0 {
		return nil, fmt.Errorf("umqtt: CONNACK % x", resp)
	}
	return c, nil
}

func umqttString(s string) []byte {
	return append(endian.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func (c *umqtt) say(first byte, body []byte) {
	b := []byte{first}
	n := len(body)
	for ; n > 0x7f; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	_, _ = c.nc.Write(append(append(b, byte(n)), body...)) // an error shows when it reads
}

// publish waits for the PUBACK of QoS 1, and takes what comes meanwhile.
func (c *umqtt) publish(topic, payload string, retain bool, qos byte) error {
	first := 0x30 | qos<<1
	if retain {
		first |= 1
	}
	body := umqttString(topic)
	if qos > 0 {
		c.pid++
		body = endian.BigEndian.AppendUint16(body, c.pid)
	}
	c.say(first, append(body, payload...))
	for qos == 1 {
		op, err := c.wait()
		if err != nil {
			return err
		}
		if op == 0x40 {
			var b [3]byte
			if _, err := io.ReadFull(c.br, b[:]); err != nil {
				return err
			}
			if b[0] != 2 {
				return fmt.Errorf("umqtt: a PUBACK of %d bytes", b[0])
			}
			if endian.BigEndian.Uint16(b[1:]) == c.pid {
				return nil
			}
		}
	}
	return nil
}

func (c *umqtt) subscribe(filter string, qos byte) error {
	c.pid++
	c.say(0x82, append(append(endian.BigEndian.AppendUint16(nil, c.pid), umqttString(filter)...), qos))
	for {
		op, err := c.wait()
		if err != nil {
			return err
		}
		if op != 0x90 {
			continue
		}
		var b [4]byte
		if _, err := io.ReadFull(c.br, b[:]); err != nil {
			return err
		}
		if b[0] != 3 || endian.BigEndian.Uint16(b[1:]) != c.pid || b[3] == 0x80 {
			return fmt.Errorf("umqtt: SUBACK % x", b)
		}
		return nil
	}
}

// wait is umqtt's wait_msg: it gives the first byte of a packet that it leaves to
// its caller, or 0 after it handed a message on.
func (c *umqtt) wait() (byte, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	op, err := c.br.ReadByte()
	if err != nil {
		return 0, err
	}
	if op == 0xd0 {
		_, err = c.br.ReadByte()
		return 0, err
	}
	if op&0xf0 != 0x30 {
		return op, nil
	}
	size, err := endian.ReadUvarint(c.br) // the same form as MQTT's
	if err != nil {
		return 0, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c.br, b); err != nil {
		return 0, err
	}
	n := endian.BigEndian.Uint16(b)
	topic := string(b[2 : 2+n])
	b = b[2+n:]
	qos := op >> 1 & 3
	if qos > 0 {
		c.say(0x40, b[:2])
		b = b[2:]
	}
	if qos > 1 {
		return 0, fmt.Errorf("umqtt: a message of QoS %d", qos)
	}
	c.heard(topic, qos, op&1, string(b))
	return 0, nil
}

func (c *umqtt) disconnect() {
	_, _ = c.nc.Write([]byte{0xe0, 0})
	c.nc.Close()
}
