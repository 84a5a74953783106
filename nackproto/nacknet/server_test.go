package nacknet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// logLimits are the defaults.
var logLimits stream.Limits

// serveLocal starts a server on a free port over a log in memory.
func serveLocal(t testing.TB, cf ServerConfig) (*Server, *brokertest.Local, string) {
	t.Helper()
	return serveLocalLimits(t, cf, stream.Limits{})
}

func serveLocalLimits(t testing.TB, cf ServerConfig, limits stream.Limits) (*Server, *brokertest.Local, string) {
	t.Helper()
	s, l, ln := serveLimited(t, cf, limits)
	return s, l, ln.Addr().String()
}

// serveLimited is serveLocalLimits and gives the listener.
func serveLimited(t testing.TB, cf ServerConfig, limits stream.Limits) (*Server, *brokertest.Local, *listener) {
	t.Helper()
	l := brokertest.NewLocal(t, limits)
	cf.Broker, cf.Publisher = l.Broker, l
	s, err := NewServer(cf)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := socket.Listen(context.Background(), "127.0.0.1:0", -1)
	if err != nil {
		t.Fatal(err)
	}
	ln := &listener{Listener: tcp}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve gave %v", err)
		}
	})
	return s, l, ln
}

// A listener remembers what it took, and fails first if it is asked to.
type listener struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	fail  int // so many Accepts fail with EMFILE
}

func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	if l.fail > 0 {
		l.fail--
		l.mu.Unlock()
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	l.mu.Unlock()
	nc, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, nc)
		l.mu.Unlock()
	}
	return nc, err
}

func (l *listener) taken() []net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.conns)
}

// A peer speaks frames over any connection.
type peer struct {
	t   testing.TB
	nc  net.Conn
	buf []byte
}

func dialPeer(t testing.TB, addr string, incarnation stream.PublisherID) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return greet(t, nc, incarnation)
}

func greet(t testing.TB, nc net.Conn, incarnation stream.PublisherID) *peer {
	t.Helper()
	t.Cleanup(func() { nc.Close() })
	p := &peer{t: t, nc: nc}
	p.send(&nackproto.Hello{Lowest: 1, Highest: 1, Incarnation: incarnation, Name: t.Name()})
	if w, ok := p.next().(*nackproto.Welcome); !ok {
		t.Fatalf("HELLO was answered by %v", w)
	}
	return p
}

func (p *peer) send(fs ...nackproto.Frame) {
	p.t.Helper()
	var b []byte
	for _, f := range fs {
		b = f.AppendTo(b)
	}
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next gives the next frame; an error ends the test.
func (p *peer) next() nackproto.Frame {
	p.t.Helper()
	f, err := p.read()
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *peer) read() (nackproto.Frame, error) {
	p.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		f, n, err := nackproto.Decode(p.buf, 1<<30)
		if err == nil {
			p.buf = p.buf[n:]
			return f, nil
		}
		if !errors.Is(err, nackproto.ErrIncomplete) {
			return nil, err
		}
		b := make([]byte, 64<<10)
		k, err := p.nc.Read(b)
		if err != nil {
			return nil, err
		}
		p.buf = append(p.buf, b[:k]...)
	}
}

func (p *peer) want(text string) {
	p.t.Helper()
	if got := fmt.Sprint(p.next()); got != text {
		p.t.Fatalf("got %s, want %s", got, text)
	}
}

// placeWait publishes a message and waits for its place.
func placeWait(t testing.TB, l *brokertest.Local, s stream.Subject, payload []byte) {
	t.Helper()
	done := make(chan error, 1)
	l.Publish(stream.Item{Publication: stream.Publication{Subject: s, Payload: payload}}, func(_ stream.Place, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestPublishReachesSubscriber(t *testing.T) {
	_, _, addr := serveLocal(t, ServerConfig{})
	sub, pub := dialPeer(t, addr, 0), dialPeer(t, addr, 9)
	sub.send(&nackproto.Subscribe{Sub: 1, Filter: "/a/+"})
	sub.want("SUBSCRIBED sub=1 OK index=0")
	pub.send(&nackproto.Publish{Number: 1, Alias: 1, Name: "/a/b", Payload: []byte("one")}, &nackproto.Publish{Number: 2, Alias: 1, Payload: []byte("two")})
	s, ok := sub.next().(*nackproto.Subject)
	if !ok || s.Name != "/a/b" || s.After != 0 {
		t.Fatalf("got %v, want SUBJECT", s)
	}
	sub.want(`MESSAGE alias=1 seq=..0001 payload="one"`)
	sub.want(`MESSAGE alias=1 seq=..0002 payload="two"`)
	n := 0
	for n < 2 {
		c, ok := pub.next().(*nackproto.Confirm)
		if !ok {
			t.Fatalf("got %v, want CONFIRM", c)
		}
		for _, r := range c.Runs {
			if r.Code != nackproto.Placed {
				t.Fatalf("got %v", c)
			}
			n += int(r.Count)
		}
	}
}
