package nacknet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// doorCert gives a certificate for 127.0.0.1 and the pool that trusts it.
func doorCert(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// doors opens a server's three doors and gives a way to come in by each.
func doors(t testing.TB, s *Server, addr string) map[string]func() net.Conn {
	t.Helper()
	cert, pool := doorCert(t)
	ln, err := socket.Listen(context.Background(), "127.0.0.1:0", -1)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.ServeTLS(context.Background(), ln, &tls.Config{Certificates: []tls.Certificate{cert}})
	}()
	t.Cleanup(func() { s.Close(); <-served })
	mux := http.NewServeMux()
	mux.Handle("/nack", s.WebSocket())
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	must := func(nc net.Conn, err error) net.Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	return map[string]func() net.Conn{
		"tcp": func() net.Conn { return must(net.Dial("tcp", addr)) },
		"tls": func() net.Conn {
			return must(tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: pool, NextProtos: []string{"nack"}}))
		},
		"websocket": func() net.Conn {
			ws, _, err := websocket.Dial(context.Background(), "ws"+strings.TrimPrefix(web.URL, "http")+"/nack", &websocket.DialOptions{Subprotocols: []string{"nack"}})
			if err != nil {
				t.Fatal(err)
			}
			return must(websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil)
		},
	}
}

// Every door carries the same bytes: messages that come live, messages that are
// read after a pause, and the answers to publishes.
func TestDoors(t *testing.T) {
	s, _, addr := serveLocal(t, ServerConfig{Loops: 2})
	incarnation := stream.PublisherID(0)
	for name, dial := range doors(t, s, addr) {
		incarnation++
		t.Run(name, func(t *testing.T) {
			subject := stream.Subject("/door/" + name)
			sub, pub := greet(t, dial(), 0), greet(t, dial(), incarnation)
			sub.send(&nackproto.Subscribe{Sub: 1, Filter: string(subject)})
			sub.next()
			const n = 3000
			payload := strings.Repeat("p", 300)
			for i := 1; i <= n; i++ {
				p := &nackproto.Publish{Number: uint64(i), Alias: 1, Payload: []byte(payload)}
				if i == 1 {
					p.Name = string(subject)
				}
				pub.send(p)
			}
			confirmed := uint64(0)
			for confirmed < n {
				c := pub.next().(*nackproto.Confirm)
				for _, r := range c.Runs {
					if r.Code != nackproto.Placed {
						t.Fatalf("got %v", c)
					}
					confirmed += r.Count
				}
			}
			// The subscriber reads only now: it may have fallen behind.
			seq := stream.Seq(0)
			for seq < n {
				switch f := sub.next().(type) {
				case *nackproto.Subject:
				case *nackproto.Message:
					if seq++; f.Seq16 != uint16(seq) || string(f.Payload) != payload {
						t.Fatalf("got %v, want seq %d", f, seq)
					}
				case *nackproto.MessageX:
					if seq++; f.Seq != seq || string(f.Payload) != payload {
						t.Fatalf("got %v, want seq %d", f, seq)
					}
				default:
					t.Fatalf("got %v", f)
				}
			}
		})
	}
}

// A subscriber says nothing while 10,000 messages arrive.
func TestSubscribersSendNothing(t *testing.T) {
	set := metrics.New(prometheus.NewRegistry())
	_, l, addr := serveLocal(t, ServerConfig{Metrics: set})
	sub := dialPeer(t, addr, 0)
	sub.send(&nackproto.Subscribe{Sub: 1, Filter: "/quiet"})
	sub.next()
	const n = 10000
	for range n - 1 {
		l.Publish(stream.Item{Publication: stream.Publication{Subject: "/quiet", Payload: []byte("x")}}, func(stream.Place, error) {})
	}
	placeWait(t, l, "/quiet", []byte("x"))
	for got := 0; got < n; {
		if _, ok := sub.next().(*nackproto.Message); ok {
			got++
		}
	}
	eventually(t, func() bool { return testutil.ToFloat64(set.Deliveries.WithLabelValues(metrics.Native)) == n })
	if got := testutil.ToFloat64(set.FeedbackPackets.WithLabelValues(metrics.Native, "NACK")); got != 0 {
		t.Errorf("the server counted %v packets of feedback, want none", got)
	}
}

// What is counted is what the bridge counts by the same names.
func TestCountsOfADoor(t *testing.T) {
	set := metrics.New(prometheus.NewRegistry())
	_, l, addr := serveLocal(t, ServerConfig{Metrics: set, Seats: socket.NewSeats(2), Authorizer: onlyPublic{}})
	sessions := func() float64 { return testutil.ToFloat64(set.Sessions.WithLabelValues(metrics.Native)) }
	published := func(result string) float64 {
		return testutil.ToFloat64(set.Publishes.WithLabelValues(metrics.Native, result))
	}
	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	pub := dialPeer(t, addr, 1)
	if n := sessions(); n != 1 {
		t.Errorf("%v sessions, want 1: the other has not said HELLO", n)
	}
	third, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	(&peer{t: t, nc: third}).next()
	if n := testutil.ToFloat64(set.TurnedAway.WithLabelValues(metrics.Native)); n != 1 {
		t.Errorf("%v connections turned away, want 1", n)
	}
	answer := func(want nackproto.PublishCode) {
		t.Helper()
		if c, ok := pub.next().(*nackproto.Confirm); !ok || c.Runs[0].Code != want {
			t.Fatalf("got %v, want CONFIRM %v", c, want)
		}
	}
	pub.send(&nackproto.Publish{Number: 1, Name: "/public", Payload: []byte("x")})
	answer(nackproto.Placed)
	pub.send(&nackproto.Publish{Number: 2, Name: "/secret", Payload: []byte("x")})
	answer(nackproto.Denied)
	l.Close()
	pub.send(&nackproto.Publish{Number: 3, Name: "/public", Payload: []byte("x")})
	answer(nackproto.Unknown)
	for _, result := range []string{broker.Placed.String(), metrics.Denied, broker.Stopped.String()} {
		eventually(t, func() bool { return published(result) == 1 })
	}
	pub.nc.Close()
	eventually(t, func() bool { return sessions() == 0 })
}

// onlyPublic lets everybody in, who may publish to /public.
type onlyPublic struct{}

func (onlyPublic) Connect(*nackproto.Hello) (session.Rights, bool) { return onlyPublic{}, true }
func (onlyPublic) MaySubscribe(stream.Filter) bool                 { return true }
func (onlyPublic) MayPublish(s stream.Subject) bool                { return s == "/public" }

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass in 10s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestConnectionLimit(t *testing.T) {
	s, _, addr := serveLocal(t, ServerConfig{Seats: socket.NewSeats(2)})
	dialPeer(t, addr, 0)
	dialPeer(t, addr, 0)
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := &peer{t: t, nc: nc}
	p.want(`CLOSE BUSY retry=5s reason="too many connections"`)
	if n := s.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestReplaced(t *testing.T) {
	_, _, addr := serveLocal(t, ServerConfig{Loops: 2})
	old := dialPeer(t, addr, 77)
	fresh := dialPeer(t, addr, 77)
	if c, ok := old.next().(*nackproto.Close); !ok || c.Code != nackproto.CloseReplaced {
		t.Fatalf("got %v, want CLOSE REPLACED", c)
	}
	fresh.send(&nackproto.Publish{Number: 1, Name: "/r", Payload: []byte("x")})
	if c, ok := fresh.next().(*nackproto.Confirm); !ok {
		t.Fatalf("got %v, want CONFIRM", c)
	}
}

func TestDrainAndClose(t *testing.T) {
	s, _, addr := serveLocal(t, ServerConfig{Servers: []string{"nack://10.0.0.3:6225"}})
	p := dialPeer(t, addr, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Drain(context.Background(), 300*time.Millisecond)
		s.Close()
	}()
	if d, ok := p.next().(*nackproto.Drain); !ok || len(d.Servers) != 1 {
		t.Fatalf("got %v, want DRAIN", d)
	}
	if c, ok := p.next().(*nackproto.Close); !ok || c.Code != nackproto.CloseGoingAway {
		t.Fatalf("got %v, want CLOSE GOING_AWAY", c)
	}
	if f, err := p.read(); err == nil {
		t.Fatalf("got %v after CLOSE", f)
	}
	p.nc.Close()
	<-done
}

// Garbage of every kind is answered by a CLOSE, and harms nobody else.
func TestGarbage(t *testing.T) {
	s, _, addr := serveLocal(t, ServerConfig{})
	good := dialPeer(t, addr, 5)
	for name, c := range map[string]struct {
		bytes string
		code  nackproto.CloseCode
	}{
		"http":             {"GET / HTTP/1.1\r\n\r\n" + strings.Repeat("x", 100), nackproto.CloseProtocol},
		"endless length":   {strings.Repeat("\xff", 64), nackproto.CloseProtocol},
		"too long a hello": {"\xff\xff\x7f" + strings.Repeat("x", 10), nackproto.CloseTooLarge},
		"zeros":            {strings.Repeat("\x00", 64), nackproto.CloseProtocol},
		"mqtt":             {"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04pico", nackproto.CloseProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.Write([]byte(c.bytes))
			p := &peer{t: t, nc: nc}
			f, ok := p.next().(*nackproto.Close)
			if !ok || f.Code != c.code {
				t.Fatalf("got %v, want CLOSE %v", f, c.code)
			}
		})
	}
	good.send(&nackproto.Publish{Number: 1, Name: "/good", Payload: []byte("x")})
	if c, ok := good.next().(*nackproto.Confirm); !ok {
		t.Fatalf("got %v, want CONFIRM", c)
	}
	eventually(t, func() bool { return s.Connections() == 1 })
}

// A message of 64 bytes on a subject of 20 characters costs at most 72 on the wire,
// all counted, once the subject has been introduced. The same as an MQTT PUBLISH of
// QoS 0 is 87: fixed header 2, length of the topic 2, topic 19, payload 64.
func TestSteadyStateBytes(t *testing.T) {
	const subject, n = "/fleet/dev/0042/temp", 1000
	_, l, addr := serveLocal(t, ServerConfig{Limits: session.Limits{Heartbeat: time.Hour}})
	if len(subject) != 20 {
		t.Fatal("the subject is not of 20 characters")
	}
	sub := dialPeer(t, addr, 0)
	sub.send(&nackproto.Subscribe{Sub: 1, Filter: subject})
	sub.next()
	arrived := &countConn{Conn: sub.nc}
	sub.nc = arrived
	first := int64(0)
	for i := range n {
		placeWait(t, l, subject, bytes.Repeat([]byte{'x'}, 64))
		for ok := false; !ok; {
			_, ok = sub.next().(*nackproto.Message)
		}
		if i == 0 {
			first = arrived.n
		}
	}
	if got := float64(arrived.n-first) / (n - 1); got > 72 {
		t.Errorf("%.1f bytes a message", got)
	} else {
		t.Logf("%.1f bytes a message", got)
	}
}

// A countConn counts the bytes that were read.
type countConn struct {
	net.Conn
	n int64
}

func (c *countConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n += int64(n)
	return n, err
}
