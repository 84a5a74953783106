package nacknet

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

const testEpoch = stream.Epoch(1)

// A network is a server's side made of pipes: each connection that a client
// dials comes out of accept. Servers in down are not reached.
type network struct {
	t      *testing.T
	accept chan *scripted
	down   map[string]bool // set before the client dials
}

func newNetwork(t *testing.T) *network {
	return &network{t: t, accept: make(chan *scripted, 16), down: map[string]bool{}}
}

func (n *network) dial(_ context.Context, url string) (net.Conn, error) {
	if n.down[url] {
		return nil, errors.New("unreachable")
	}
	ours, theirs := net.Pipe()
	n.accept <- &scripted{t: n.t, url: url, net: theirs}
	return ours, nil
}

// dialClient gives a client whose first connection was welcomed, and the peer at
// the other end.
func (n *network) dialClient(c Config) (*Client, *scripted) {
	n.t.Helper()
	if c.Servers == nil {
		c.Servers = []string{"nack://one"}
	}
	c.dial = n.dial
	c.Incarnation = 0x11
	type result struct {
		client *Client
		err    error
	}
	ch := make(chan result, 1)
	go func() {
		client, err := Dial(n.t.Context(), c)
		ch <- result{client, err}
	}()
	p := n.next()
	p.welcome()
	r := <-ch
	if r.err != nil {
		n.t.Fatal(r.err)
	}
	return r.client, p
}

func (n *network) next() *scripted {
	n.t.Helper()
	select {
	case p := <-n.accept:
		return p
	case <-time.After(time.Hour):
		n.t.Error("no client dialled within an hour")
		ours, _ := net.Pipe()
		ours.Close()
		return &scripted{t: n.t, net: ours}
	}
}

// A scripted server plays the server, frame by frame. It may do so in a goroutine
// of its own, so what goes wrong does not end the test.
type scripted struct {
	t   *testing.T
	url string
	net net.Conn
	dec nackproto.FromClient
	in  []byte
}

// frame reads the next frame; nil: the connection ended.
func (p *scripted) frame(wait time.Duration) (nackproto.ClientFrame, error) {
	p.net.SetReadDeadline(time.Now().Add(wait))
	for {
		f, n, err := p.dec.Decode(p.in, 1<<20)
		if err == nil {
			p.in = p.in[n:]
			return f, nil
		}
		if err != nackproto.ErrIncomplete {
			p.t.Error(err)
			return nil, err
		}
		buf := make([]byte, 4096)
		n, err = p.net.Read(buf)
		p.in = append(p.in, buf[:n]...)
		if err != nil {
			return nil, err
		}
	}
}

func (p *scripted) want(reason, text string) {
	p.t.Helper()
	f, err := p.frame(time.Minute)
	if err != nil {
		p.t.Errorf("%s: %v, want %s", reason, err, text)
		return
	}
	if f.String() != text {
		p.t.Errorf("%s:\n got %s\nwant %s", reason, f, text)
	}
}

// wantIdle says that the client sends nothing for so long.
func (p *scripted) wantIdle(reason string, d time.Duration) {
	p.t.Helper()
	if f, err := p.frame(d); err == nil {
		p.t.Fatalf("%s: got %v, want nothing", reason, f)
	} else if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		p.t.Fatalf("%s: %v, want a connection that stays", reason, err)
	}
}

func (p *scripted) wantEnd(reason string) {
	p.t.Helper()
	if f, err := p.frame(time.Minute); err == nil {
		p.t.Fatalf("%s: got %v, want the end of the connection", reason, f)
	}
	p.net.Close()
}

func (p *scripted) send(frames ...nackproto.ServerFrame) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = f.AppendTo(b)
	}
	p.net.SetWriteDeadline(time.Now().Add(time.Minute))
	if _, err := p.net.Write(b); err != nil {
		p.t.Errorf("the client does not read: %v", err)
	}
}

func (p *scripted) welcome(servers ...string) {
	p.t.Helper()
	p.want("a connection begins with HELLO", `HELLO versions=1..1 incarnation=0000000000000011 name="" token=0 bytes`)
	p.send(&nackproto.Welcome{
		Version: 1, Cluster: 0xc1, Index: 100, Heartbeat: 30 * time.Second, MaxFrame: 1 << 20,
		MaxUnconfirmed: 4, MaxSubscriptions: 10, MaxAliases: 10, Node: "n", Servers: servers,
	})
}

// subscribed answers the first subscription and begins a stream of /a after 41.
func (p *scripted) subscribed() {
	p.t.Helper()
	p.want("Subscribe asks", `SUBSCRIBE sub=1 filter="/a" start=live`)
	p.send(&nackproto.Subscribed{Sub: 1, Index: 100}, &nackproto.Subject{Alias: 7, Epoch: testEpoch, After: 41, Upto: 41, Name: "/a"})
}

func message(seq int) nackproto.ServerFrame {
	return &nackproto.Message{Alias: 7, Seq16: uint16(seq), Payload: []byte("x")}
}

// subscribe subscribes to /a while p agrees.
func subscribe(t *testing.T, c *Client, p *scripted) *Subscription {
	t.Helper()
	agreed := make(chan struct{})
	go func() { p.subscribed(); close(agreed) }()
	s, err := c.Subscribe(t.Context(), "/a", nackproto.Start{})
	<-agreed
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantEvent(t *testing.T, s *Subscription, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	e, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("%v, want %s", err, text)
	}
	if e.String() != text {
		t.Fatalf("event\n got %s\nwant %s", e, text)
	}
}

func live(seq string) string { return "live /a 0000000000000001:" + seq + ` payload="x"` }
