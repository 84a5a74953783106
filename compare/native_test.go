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

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// A nativeConn speaks the native protocol with as little work as it can.
type nativeConn struct {
	net.Conn
	r    *bufio.Reader
	b    []byte
	last uint64 // number of the newest publish
}

func dialNative(tb testing.TB, addr string, incarnation stream.PublisherID) *nativeConn {
	tb.Helper()
	hello := nackproto.Hello{Lowest: 1, Highest: 1, Incarnation: incarnation, Name: "compare"}
	c := openNative(tb, addr, hello.AppendTo(nil))
	c.want(tb, nackproto.TypeWelcome)
	return c
}

// subscribeNative follows filter live, and has the answer when it returns.
func subscribeNative(tb testing.TB, addr, filter string) *nativeConn {
	tb.Helper()
	c := openNative(tb, addr, helloAndSubscribe("compare", filter))
	c.want(tb, nackproto.TypeWelcome)
	c.want(tb, nackproto.TypeSubscribed)
	return c
}

func helloAndSubscribe(name, filter string) []byte {
	hello := nackproto.Hello{Lowest: 1, Highest: 1, Name: name}
	subscribe := nackproto.Subscribe{Sub: 1, Filter: filter}
	return subscribe.AppendTo(hello.AppendTo(nil))
}

func openNative(tb testing.TB, addr string, first []byte) *nativeConn {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := nc.Write(first); err != nil {
		tb.Fatal(err)
	}
	return &nativeConn{Conn: nc, r: bufio.NewReaderSize(nc, 32<<10)}
}

func (c *nativeConn) want(tb testing.TB, t nackproto.Type) {
	tb.Helper()
	got, err := c.next()
	if err != nil || got != t {
		tb.Fatalf("got %v %v, want %v", got, err, t)
	}
}

// next reads a frame: its type, and the whole frame in c.b.
func (c *nativeConn) next() (nackproto.Type, error) {
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return 0, err
	}
	if n == 0 || n > 2<<20 {
		return 0, errors.New("frame length out of range")
	}
	c.b = binary.AppendUvarint(c.b[:0], n)
	head := len(c.b)
	if cap(c.b) < head+int(n) {
		c.b = append(c.b, make([]byte, n)...)
	}
	c.b = c.b[:head+int(n)]
	if _, err := io.ReadFull(c.r, c.b[head:]); err != nil {
		return 0, err
	}
	return nackproto.Type(c.b[head]), nil
}

// count counts the messages that arrive until the connection ends.
func (c *nativeConn) count(n *atomic.Int64) {
	buf := make([]byte, 64<<10)
	have := copy(buf, c.buffered())
	for {
		at, got := 0, int64(0)
		for {
			length, w := binary.Uvarint(buf[at:have])
			if w <= 0 || have-at < w+int(length) {
				break
			}
			if t := nackproto.Type(buf[at+w]); t == nackproto.TypeMessage || t == nackproto.TypeMessageX {
				got++
			}
			at += w + int(length)
		}
		n.Add(got)
		have = copy(buf, buf[at:have])
		k, err := c.Conn.Read(buf[have:])
		if err != nil {
			return
		}
		have += k
	}
}

func (c *nativeConn) buffered() []byte {
	b, _ := c.r.Peek(c.r.Buffered())
	return b
}

// publish keeps window publishes of payload under way until deadline, and gives
// how many were confirmed.
func (c *nativeConn) publish(subject string, payload []byte, window int, deadline time.Time) (confirmed int, err error) {
	var out []byte
	var dec nackproto.FromServer
	p := nackproto.Publish{Alias: 1, Name: subject, Payload: payload}
	begun := c.last
	add := func() {
		c.last++
		p.Number = c.last
		out = p.AppendTo(out)
		p.Name = ""
	}
	for range window {
		add()
	}
	for {
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return confirmed, err
			}
			out = out[:0]
		}
		for more := true; more; more = c.r.Buffered() > 0 {
			t, err := c.next()
			if err != nil {
				return confirmed, err
			}
			if t != nackproto.TypeConfirm {
				continue
			}
			f, _, err := dec.Decode(c.b, 1<<20)
			if err != nil {
				return confirmed, err
			}
			for _, run := range f.(*nackproto.Confirm).Runs {
				if run.Code != nackproto.Placed {
					return confirmed, fmt.Errorf("publish ended as %v", run.Code)
				}
				confirmed += int(run.Count)
				if time.Now().Before(deadline) {
					for range run.Count {
						add()
					}
				}
			}
		}
		if uint64(confirmed) == c.last-begun {
			return confirmed, nil
		}
	}
}
