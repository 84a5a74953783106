package nacknet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

func dialTo(t testing.TB, c Config) *Client {
	t.Helper()
	cl, err := Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func mustPublish(t testing.TB, c *Client, name, payload string) stream.Position {
	t.Helper()
	at, err := c.Publish(t.Context(), stream.Publication{Subject: stream.Subject(name), Payload: []byte(payload)})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func mustSubscribe(t testing.TB, c *Client, filter string, start nackproto.Start) *Subscription {
	t.Helper()
	s, err := c.Subscribe(t.Context(), stream.Filter(filter), start)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustMessage(t testing.TB, s *Subscription) *nackproto.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d, err := s.NextMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantMessages reads messages as "kind subject seq payload"; kind "*" is any: a
// server whose loop is late announces a subject with messages behind it.
func wantMessages(t testing.TB, s *Subscription, want ...string) {
	t.Helper()
	for _, w := range want {
		d := mustMessage(t, s)
		got := fmt.Sprintf("%v %s %d %s", d.Kind, d.Message.Subject, d.Message.Position.Seq, d.Message.Payload)
		if rest, any := strings.CutPrefix(w, "*"); any {
			_, got, _ = strings.Cut(got, " ")
			got, w = " "+got, rest
		}
		if got != w {
			t.Errorf("got %q, want %q", got, w)
		}
	}
}

// The same conversation by every transport.
func TestTransports(t *testing.T) {
	server, _, addr := serveLocal(t, ServerConfig{})
	certificate, roots := selfSigned(t)
	ln, err := socket.Listen(t.Context(), "127.0.0.1:0", -1)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- server.ServeTLS(context.Background(), ln, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}()
	t.Cleanup(func() { server.Close(); <-served })
	ws := httptest.NewServer(server.WebSocket())
	t.Cleanup(ws.Close)
	wss := httptest.NewUnstartedServer(server.WebSocket())
	wss.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	wss.StartTLS()
	t.Cleanup(wss.Close)
	for i, url := range []string{
		"nack://" + addr, "nacks://" + ln.Addr().String(),
		"ws" + strings.TrimPrefix(ws.URL, "http") + "/nack", "wss" + strings.TrimPrefix(wss.URL, "https") + "/nack",
	} {
		scheme, _, _ := strings.Cut(url, ":")
		t.Run(scheme, func(t *testing.T) {
			c := dialTo(t, Config{Servers: []string{url}, TLS: &tls.Config{RootCAs: roots}, Token: "t"})
			name := fmt.Sprintf("/transport/%d", i)
			s := mustSubscribe(t, c, name, nackproto.Start{})
			large := strings.Repeat("0123456789", 30_000)
			mustPublish(t, c, name, "small")
			mustPublish(t, c, name, large)
			wantMessages(t, s, "* "+name+" 1 small", "* "+name+" 2 "+large)
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		_, err := Dial(t.Context(), Config{Servers: []string{"nacks://" + ln.Addr().String()}})
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v, want a refusal of the certificate", err)
		}
	})
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestStarts(t *testing.T) {
	_, _, addr := serveLocal(t, ServerConfig{})
	c := dialTo(t, Config{Servers: []string{"nack://" + addr}})
	var at stream.Position
	for i := range 5 {
		p := mustPublish(t, c, "/s/a", fmt.Sprint("a", i+1))
		if i == 2 {
			at = p
		}
	}
	mustPublish(t, c, "/s/b", "b1")
	// One client each: a subject that a session follows keeps its stream.
	from := func(start nackproto.Start) *Subscription {
		t.Helper()
		return mustSubscribe(t, dialTo(t, Config{Servers: []string{"nack://" + addr}}), "/s/+", start)
	}
	for name, tc := range map[string]struct {
		start nackproto.Start
		want  []string
	}{
		"live":    {nackproto.Start{}, nil},
		"last":    {nackproto.Start{Kind: nackproto.StartLast}, []string{"snapshot /s/a 5 a5", "snapshot /s/b 1 b1"}},
		"history": {nackproto.Start{Kind: nackproto.StartHistory, Count: 2}, []string{"recovered /s/a 4 a4", "recovered /s/a 5 a5", "recovered /s/b 1 b1"}},
		"mark": {nackproto.Start{Marks: []nackproto.Mark{{Subject: "/s/a", Position: at}}},
			[]string{"recovered /s/a 4 a4", "recovered /s/a 5 a5"}},
		"index": {nackproto.Start{Kind: nackproto.StartIndex, Cluster: 1, Index: 4}, []string{"recovered /s/a 5 a5", "recovered /s/b 1 b1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := from(tc.start)
			wantMessages(t, s, tc.want...)
			p := mustPublish(t, c, "/fresh/"+name, "")
			if p.Seq != 1 {
				t.Errorf("the first message of a subject is at %v", p)
			}
		})
	}
}

// The positions bring a program back to where it was, also to what was new while
// it was away.
func TestPositionsSurviveARestart(t *testing.T) {
	_, _, addr := serveLocal(t, ServerConfig{Limits: session.Limits{Heartbeat: time.Second}})
	url := []string{"nack://" + addr}
	pub := dialTo(t, Config{Servers: url})
	c := dialTo(t, Config{Servers: url})
	s := mustSubscribe(t, c, "/s/#", nackproto.Start{})
	mustPublish(t, pub, "/s/a", "1")
	mustPublish(t, pub, "/s/a", "2")
	wantMessages(t, s, "* /s/a 1 1")
	stored, err := c.Positions()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	mustPublish(t, pub, "/s/a", "3")
	mustPublish(t, pub, "/s/new", "1")

	c = dialTo(t, Config{Servers: url, Positions: stored})
	s = mustSubscribe(t, c, "/s/#", nackproto.Start{})
	got := map[string]bool{}
	for range 3 {
		d := mustMessage(t, s)
		got[fmt.Sprintf("%v %s %s", d.Kind, d.Message.Subject, d.Message.Payload)] = true
	}
	for _, want := range []string{"recovered /s/a 2", "recovered /s/a 3", "recovered /s/new 1"} {
		if !got[want] {
			t.Errorf("%q did not come; %v did", want, got)
		}
	}
}

// The promise that gave the protocol its name, counted at the client's socket.
func TestSubscriberSendsNothing(t *testing.T) {
	_, _, addr := serveLocal(t, ServerConfig{Limits: session.Limits{Heartbeat: time.Second}})
	url := []string{"nack://" + addr}
	c, pub := dialTo(t, Config{Servers: url}), dialTo(t, Config{Servers: url})
	s := mustSubscribe(t, c, "/busy/+", nackproto.Start{})
	before := c.Stats()
	const messages = 10_000
	for i := range messages {
		p := stream.Publication{Subject: stream.Subject(fmt.Sprint("/busy/", i%10)), Payload: make([]byte, 64)}
		if err := pub.PublishAsync(t.Context(), p, func(stream.Position, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		mustMessage(t, s)
	}
	after := c.Stats()
	if after.BytesSent != before.BytesSent || after.FramesSent != before.FramesSent {
		t.Errorf("%d messages made the subscriber send %d frames, %d bytes; want none",
			messages, after.FramesSent-before.FramesSent, after.BytesSent-before.BytesSent)
	}
	perMessage := float64(after.BytesReceived-before.BytesReceived) / messages
	t.Logf("%.1f bytes a message of 64 bytes", perMessage)
	if perMessage > 72 {
		t.Errorf("a message of 64 bytes costs %.1f bytes, want at most 72", perMessage)
	}
}

// A server drains: its clients go to another member and miss nothing, while
// messages go on coming.
func TestDrainMovesClients(t *testing.T) {
	first, local, addr := serveLocal(t, ServerConfig{})
	second, err := NewServer(ServerConfig{Broker: local.Broker, Publisher: local, Node: "second"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := socket.Listen(t.Context(), "127.0.0.1:0", -1)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- second.Serve(context.Background(), ln) }()
	t.Cleanup(func() { second.Close(); <-served })

	const messages = 2000
	drained := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 10 {
		c := dialTo(t, Config{Servers: []string{"nack://" + addr, "nack://" + ln.Addr().String()}, FirstBackoff: time.Millisecond})
		s := mustSubscribe(t, c, "/load/a", nackproto.Start{})
		wg.Go(func() { checkComplete(t, i, s, 1, messages) })
	}
	pub := dialTo(t, Config{Servers: []string{"nack://" + addr, "nack://" + ln.Addr().String()}, FirstBackoff: time.Millisecond})
	for n := range messages {
		switch n {
		case messages / 4:
			go func() { first.Drain(t.Context(), 200*time.Millisecond); close(drained) }()
		case 3 * messages / 4:
			<-drained
		}
		err := pub.PublishAsync(t.Context(), stream.Publication{Subject: "/load/a", Payload: fmt.Append(nil, n+1)}, func(at stream.Position, err error) {
			if err != nil || int(at.Seq) != n+1 {
				t.Errorf("publish %d: %v, %v", n+1, at, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if n%100 == 0 {
			if err := pub.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pub.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if n := second.Connections(); n != 11 {
		t.Errorf("%d connections at the second server, want all 11", n)
	}
}

// A breaker is a connection that breaks after so many bytes in either direction,
// in the middle of a frame as likely as not.
type breaker struct {
	net.Conn
	left atomic.Int64
}

func (b *breaker) spend(n int) {
	if b.left.Add(-int64(n)) <= 0 {
		b.Conn.Close()
	}
}

func (b *breaker) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p[:min(len(p), max(int(b.left.Load()), 1))])
	b.spend(n)
	return n, err
}

func (b *breaker) Write(p []byte) (int, error) {
	n, err := b.Conn.Write(p)
	b.spend(n)
	return n, err
}

// breaking gives a dial whose connections break, the first so many of them.
func breaking(addr string, seed uint64, times int64, most int64) func(context.Context, string) (net.Conn, error) {
	r := rand.New(rand.NewPCG(seed, 7))
	left := times
	return func(ctx context.Context, _ string) (net.Conn, error) {
		nc, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", addr)
		if err != nil || left == 0 {
			return nc, err
		}
		left--
		b := &breaker{Conn: nc}
		b.left.Store(200 + r.Int64N(most))
		return b, nil
	}
}

// Fifty clients whose connections break twenty times each, under load: every
// stream is complete, and every publish has one place.
func TestThousandDisconnects(t *testing.T) {
	clients, breaks, messages := 50, 20, 1000
	if testing.Short() {
		clients, messages = 10, 300
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	// This machine may be slow and the connections many: a publish must not time out.
	_, _, addr := serveLocal(t, ServerConfig{Limits: session.Limits{Heartbeat: time.Second, PublishTimeout: time.Minute}})
	subjects := []string{"/load/a", "/load/b", "/load/c"}
	var wg sync.WaitGroup
	ready := make(chan struct{}, clients)
	var connections atomic.Uint64
	for i := range clients {
		wg.Go(func() {
			c, err := Dial(t.Context(), Config{
				Servers: []string{"nack://x", "nack://y", "nack://z"}, FirstBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
				dial: breaking(addr, seed+uint64(i), int64(breaks), int64(messages)*35/int64(breaks)),
			})
			if err != nil {
				t.Error(err)
				ready <- struct{}{}
				return
			}
			defer c.Close()
			defer func() { connections.Add(c.Stats().Connections) }()
			s, err := c.Subscribe(t.Context(), "/load/+", nackproto.Start{})
			ready <- struct{}{}
			if err != nil {
				t.Error(err)
				return
			}
			checkComplete(t, i, s, len(subjects), messages)
		})
	}
	for range clients {
		<-ready
	}
	// The publisher's connection breaks, too.
	pub, err := Dial(t.Context(), Config{
		Servers: []string{"nack://x", "nack://y"}, FirstBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
		dial: breaking(addr, seed-1, 5, int64(messages)*12),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	var places sync.Map
	for n := range messages {
		for _, name := range subjects {
			err := pub.PublishAsync(t.Context(), stream.Publication{Subject: stream.Subject(name), Payload: fmt.Append(nil, n+1)}, func(at stream.Position, err error) {
				if err != nil || at.IsZero() {
					t.Errorf("%s %d: placed at %v: %v", name, n+1, at, err)
				} else if _, twice := places.LoadOrStore(fmt.Sprint(name, at), n); twice {
					t.Errorf("%s %d: two publishes at %v", name, n+1, at)
				} else if int(at.Seq) != n+1 {
					t.Errorf("%s: publish %d is at %v: twice, or out of order", name, n+1, at)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pub.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	t.Logf("%d connections of subscribers, %d of the publisher", connections.Load(), pub.Stats().Connections)
	if n := connections.Load(); n < uint64(clients*breaks/2) {
		t.Errorf("only %d connections: did they break?", n)
	}
}

// checkComplete reads until each subject has had its messages, in order, whole
// and once.
func checkComplete(t *testing.T, client int, s *Subscription, subjects, messages int) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	last := map[stream.Subject]stream.Seq{}
	for open := subjects; open > 0; {
		e, err := s.Next(ctx)
		if err != nil {
			t.Errorf("client %d: %v, having %v", client, err, last)
			return
		}
		switch e := e.(type) {
		case *nackproto.Delivery:
			m := &e.Message
			if m.Position.Seq != last[m.Subject]+1 || string(m.Payload) != fmt.Sprint(m.Position.Seq) {
				t.Errorf("client %d: %v after %d", client, e, last[m.Subject])
				return
			}
			last[m.Subject] = m.Position.Seq
			if int(m.Position.Seq) == messages {
				open--
			}
		case *nackproto.Lost:
			t.Errorf("client %d: %v, although the cache holds all", client, e)
			return
		}
	}
}

// The same with a cache that is too small: what is missing was told, exactly.
func TestLossIsTold(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	_, _, addr := serveLocalLimits(t, ServerConfig{Limits: session.Limits{Heartbeat: time.Second}}, stream.Limits{CacheMessages: 100})
	const messages = 4000
	var wg sync.WaitGroup
	ready := make(chan struct{}, 10)
	var told atomic.Int64
	for i := range 10 {
		wg.Go(func() {
			c, err := Dial(t.Context(), Config{
				Servers: []string{"nack://x", "nack://y"}, FirstBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond, Buffer: 16,
				dial: breaking(addr, seed+uint64(i), 20, 10_000),
			})
			if err != nil {
				t.Error(err)
				ready <- struct{}{}
				return
			}
			defer c.Close()
			s, err := c.Subscribe(t.Context(), "/small/#", nackproto.Start{})
			ready <- struct{}{}
			if err != nil {
				t.Error(err)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for last := stream.Seq(0); last < messages; {
				e, err := s.Next(ctx)
				if err != nil {
					t.Errorf("client %d: %v at %d", i, err, last)
					return
				}
				switch e := e.(type) {
				case *nackproto.Delivery:
					if e.Message.Position.Seq != last+1 {
						t.Errorf("client %d: %v after %d", i, e, last)
						return
					}
					last++
				case *nackproto.Lost:
					told.Add(1)
					if e.Before.Seq != last && !e.Before.IsZero() || e.Next.Seq <= last+1 {
						t.Errorf("client %d: %v, but the last was %d", i, e, last)
					}
					last = e.Next.Seq - 1
				}
			}
		})
	}
	for range 10 {
		<-ready
	}
	pub := dialTo(t, Config{Servers: []string{"nack://" + addr}})
	for n := range messages {
		if err := pub.PublishAsync(t.Context(), stream.Publication{Subject: "/small/a", Payload: fmt.Append(nil, n)}, func(stream.Position, error) {}); err != nil {
			t.Fatal(err)
		}
		if n%50 == 0 {
			pub.Flush(t.Context())
		}
	}
	if err := pub.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	t.Logf("%d losses told", told.Load())
}

// BenchmarkPublishPipelined is a client that publishes into the void: the server
// places nothing, it only confirms.
func BenchmarkPublishPipelined(b *testing.B) {
	ours, theirs := net.Pipe()
	go confirmAll(theirs)
	c, err := Dial(b.Context(), Config{Servers: []string{"nack://x"}, dial: func(context.Context, string) (net.Conn, error) { return ours, nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := stream.Publication{Subject: "/sensor/temperature", Payload: make([]byte, 128)}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if err := c.PublishAsync(b.Context(), p, func(stream.Position, error) {}); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
}

// confirmAll answers what a client publishes, as cheaply as can be.
func confirmAll(nc net.Conn) {
	defer nc.Close()
	var dec nackproto.FromClient
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:n]...)
		var out []byte
		var confirm nackproto.Confirm
		taken := 0
		for {
			f, n, err := dec.Decode(in[taken:], 1<<20)
			if err != nil {
				break
			}
			taken += n
			switch f := f.(type) {
			case *nackproto.Hello:
				out = (&nackproto.Welcome{Version: 1, Heartbeat: time.Hour, MaxFrame: 1 << 20, MaxUnconfirmed: 4096, MaxAliases: 256}).AppendTo(out)
			case *nackproto.Publish:
				if confirm.Number == 0 {
					confirm = nackproto.Confirm{Number: f.Number, Runs: []nackproto.Run{{Code: nackproto.Placed, Position: stream.Position{Epoch: 1, Seq: stream.Seq(f.Number)}}}}
				}
				confirm.Runs[0].Count++
			case *nackproto.Close:
				return
			}
		}
		in = append(in[:0], in[taken:]...)
		if confirm.Number != 0 {
			out = confirm.AppendTo(out)
		}
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
		}
	}
}

// BenchmarkDeliver is one subscriber of one subject, from a server in the same
// process, over TCP.
func BenchmarkDeliver(b *testing.B) {
	_, _, addr := serveLocal(b, ServerConfig{})
	url := []string{"nack://" + addr}
	c, pub := dialTo(b, Config{Servers: url}), dialTo(b, Config{Servers: url})
	s := mustSubscribe(b, c, "/a", nackproto.Start{})
	payload := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			if pub.PublishAsync(b.Context(), stream.Publication{Subject: "/a", Payload: payload}, func(stream.Position, error) {}) != nil {
				return
			}
		}
	}()
	for range b.N {
		if _, err := s.NextMessage(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
