package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

var goodHello = &nackproto.Hello{Lowest: 1, Highest: 1, Incarnation: 7, Name: "test"}

// A conversation as a client leads it.
func conversation() (b []byte) {
	for _, f := range []nackproto.Frame{
		goodHello,
		&nackproto.Subscribe{Sub: 1, Filter: "/a/+"},
		&nackproto.Subscribe{Sub: 2, Filter: "/a/b", Start: nackproto.Start{Kind: nackproto.StartHistory, Count: 3}},
		&nackproto.Publish{Number: 1, Alias: 1, Name: "/a/b", Payload: []byte("one")},
		&nackproto.Publish{Number: 2, Alias: 1, Payload: []byte("two"), Retain: true, Expiry: 9},
		&nackproto.Unsubscribe{Sub: 2},
		&nackproto.Nack{Alias: 1, Epoch: 1, After: 0, Upto: 1},
		&nackproto.Close{},
	} {
		b = f.AppendTo(b)
	}
	return b
}

// Bytes may come in any pieces.
func TestByteByByte(t *testing.T) {
	answer := func(piece int) []string {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		id, c := w.open()
		w.hold = true
		for b := conversation(); len(b) > 0; {
			n := min(piece, len(b))
			w.core.Input(id, b[:n], w.now)
			b = b[n:]
		}
		w.hold = false
		w.settle()
		if !c.closed {
			t.Error("CLOSE did not close")
		}
		return texts(c.frames(t))
	}
	whole := answer(1 << 20)
	for piece := 1; piece < 40; piece++ {
		got := answer(piece)
		if len(got) > len(whole) {
			t.Fatalf("in pieces of %d: %q, want %q", piece, got, whole)
		}
	}
}

// Behind a publish that is to come again every answer is the same, until it has
// come: also for what got its place after that, or could never get one.
func TestNothingIsAnsweredPastARefusal(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, c := w.open()
	w.send(id, goodHello)
	publish := func(number uint64, name string) {
		w.send(id, &nackproto.Publish{Number: number, Name: name, Payload: []byte("x")})
	}
	publish(1, "/a")
	publish(2, "bad")
	slow := w.queued
	w.queued = nil
	w.pass(3000)
	publish(3, "/a")
	slow = append(slow, w.queued...)
	w.queued = nil
	w.pass(3000) // 1 was given up
	w.queued = slow
	w.settle()
	for n, name := range []string{"/a", "bad", "/a"} {
		publish(uint64(n+1), name)
	}
	w.settle()
	got := texts(c.frames(t))[1:]
	epoch, _ := w.ledger.Top("/a")
	want := []string{
		"CONFIRM number=1 2xUNKNOWN retry=500ms",
		"CONFIRM number=3 1xUNKNOWN retry=500ms",
		fmt.Sprintf("CONFIRM number=1 1xPLACED@%v:1 1xBAD_SUBJECT 1xPLACED@%v:2", epoch.Last.Epoch, epoch.Last.Epoch),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A filter with a wildcard costs a node of the tree for each segment, many times the
// bytes that it came in. One without is only a name.
func TestFiltersOfManyLevels(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, c := w.open()
	w.send(id, goodHello)
	deep := strings.Repeat("/a", nackproto.MaxLevels)
	for i, filter := range []string{deep + "/#", deep[2:] + "/#", deep + deep} {
		w.send(id, &nackproto.Subscribe{Sub: uint64(i + 1), Filter: filter})
	}
	w.settle()
	got := texts(c.frames(t))[1:]
	want := []string{"SUBSCRIBED sub=1 BAD_FILTER index=0", "SUBSCRIBED sub=2 OK index=0", "SUBSCRIBED sub=3 OK index=0"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A NACK for an alias that stands for nothing in the session is ignored: it may
// have stood for a subject that the log has forgotten since.
func TestNackForNothing(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{CacheAge: time.Second, SubjectAge: time.Second}, session.Config{})
	id, c := w.open()
	w.send(id, goodHello)
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/a"})
	w.say("m", "/a", "/a")
	w.settle()
	top, _ := w.ledger.Top("/a")
	w.pass(10_000)
	w.say("m", "/b") // has /a be forgotten
	w.say("m", "/c")
	w.settle()
	if now, ok := w.ledger.Top("/c"); !ok || now.ID != top.ID {
		t.Fatalf("/c is subject %d, want %d, which /a was", now.ID, top.ID)
	}
	c.frames(t)
	for _, a := range []nackproto.Alias{nackproto.AliasOf(top.ID), 99, nackproto.MaxAlias} {
		w.send(id, &nackproto.Nack{Alias: a, Epoch: top.Last.Epoch, After: 1, Upto: 2})
	}
	w.settle()
	if got := texts(c.frames(t)); len(got) > 0 || c.closed {
		t.Errorf("got %v, closed %v, want nothing", got, c.closed)
	}
}

func TestHostile(t *testing.T) {
	frame := func(f nackproto.Frame) []byte { return f.AppendTo(nil) }
	hello := frame(goodHello)
	with := func(fs ...nackproto.Frame) []byte {
		b := append([]byte(nil), hello...)
		for _, f := range fs {
			b = f.AppendTo(b)
		}
		return b
	}
	subscriber := (&nackproto.Hello{Lowest: 1, Highest: 1}).AppendTo(nil)
	for name, c := range map[string]struct {
		in   []byte
		code nackproto.CloseCode
	}{
		"publish before hello":         {frame(&nackproto.Publish{Number: 1, Name: "/a"}), nackproto.CloseProtocol},
		"subscribe before hello":       {frame(&nackproto.Subscribe{Sub: 1, Filter: "/a"}), nackproto.CloseProtocol},
		"nack before hello":            {frame(&nackproto.Nack{Alias: 1, Epoch: 1, Upto: 1}), nackproto.CloseProtocol},
		"two hellos":                   {with(goodHello), nackproto.CloseProtocol},
		"version from the future":      {frame(&nackproto.Hello{Lowest: 9, Highest: 12}), nackproto.CloseVersion},
		"a server's frame":             {with(&nackproto.Heartbeat{Index: 1}), nackproto.CloseProtocol},
		"welcome":                      {with(&nackproto.Welcome{Version: 1, Heartbeat: 1e9}), nackproto.CloseProtocol},
		"publish without incarnation":  {append(subscriber, frame(&nackproto.Publish{Number: 1, Name: "/a"})...), nackproto.CloseProtocol},
		"unbound alias":                {with(&nackproto.Publish{Number: 1, Alias: 3}), nackproto.CloseProtocol},
		"alias over the limit":         {with(&nackproto.Publish{Number: 1, Alias: 257, Name: "/a"}), nackproto.CloseProtocol},
		"number that jumps":            {with(&nackproto.Publish{Number: 1, Name: "/a"}, &nackproto.Publish{Number: 3, Name: "/a"}), nackproto.CloseProtocol},
		"number again":                 {with(&nackproto.Publish{Number: 1, Name: "/a"}, &nackproto.Publish{Number: 1, Name: "/a"}), nackproto.CloseProtocol},
		"sub in use":                   {with(&nackproto.Subscribe{Sub: 1, Filter: "/a"}, &nackproto.Subscribe{Sub: 1, Filter: "/b"}), nackproto.CloseProtocol},
		"sub in use, wild":             {with(&nackproto.Subscribe{Sub: 1, Filter: "/+"}, &nackproto.Subscribe{Sub: 1, Filter: "/b"}), nackproto.CloseProtocol},
		"mark of another filter":       {with(&nackproto.Subscribe{Sub: 1, Filter: "/a", Start: nackproto.Start{Marks: []nackproto.Mark{{Subject: "/b", Position: stream.Position{Epoch: 1, Seq: 1}}}}}), nackproto.CloseProtocol},
		"hello over its limit":         {[]byte{0xff, 0xff, 0x7f}, nackproto.CloseTooLarge},
		"frame over the limit":         {append(with(), 0xff, 0xff, 0xff, 0x7f), nackproto.CloseTooLarge},
		"unknown type":                 {append(with(), 1, 0x33), nackproto.CloseProtocol},
		"trailing bytes":               {append(with(), 3, 0x03, 1, 1), nackproto.CloseProtocol},
		"length of zero":               {append(with(), 0), nackproto.CloseProtocol},
		"index that was never reached": {with(&nackproto.Subscribe{Sub: 1, Filter: "/a", Start: nackproto.Start{Kind: nackproto.StartIndex, Cluster: clusterID, Index: 1 << 60}}), nackproto.CloseBehind},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, stream.Limits{}, session.Config{})
			w.say("x", "/a")
			w.pump(1)
			id, conn := w.open()
			w.core.Input(id, c.in, w.now)
			w.settle()
			w.pass(7000)
			fs := conn.frames(t)
			if len(fs) == 0 {
				t.Fatal("nothing was answered")
			}
			last, ok := fs[len(fs)-1].(*nackproto.Close)
			if !ok || last.Code != c.code {
				t.Fatalf("got %v, want CLOSE %v", texts(fs), c.code)
			}
			if !conn.closed || w.core.Sessions() != 0 {
				t.Error("the connection was not closed")
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	closedWith := func(t *testing.T, c *conn, code nackproto.CloseCode) {
		t.Helper()
		fs := c.frames(t)
		if last, ok := fs[len(fs)-1].(*nackproto.Close); !ok || last.Code != code || !c.closed {
			t.Fatalf("got %v, want CLOSE %v", texts(fs), code)
		}
	}
	t.Run("no hello", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		id, c := w.open()
		for range 11 { // a byte a second is no HELLO
			w.core.Input(id, goodHello.AppendTo(nil)[:1], w.now)
			w.pass(1000)
			if c.closed {
				break
			}
		}
		closedWith(t, c, nackproto.CloseHelloTimeout)
	})
	t.Run("a frame that never ends", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		id, c := w.open()
		w.send(id, goodHello)
		w.core.Input(id, []byte{0xff, 0x7f, 4}, w.now)
		for range 40 {
			w.core.Input(id, []byte{0}, w.now)
			w.pass(1000)
			if c.closed {
				break
			}
		}
		closedWith(t, c, nackproto.CloseFlood)
	})
	t.Run("stuck", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		id, c := w.open()
		w.send(id, goodHello)
		w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/a"})
		w.settle()
		c.room = 3
		w.say("hello", "/a")
		w.pass(40_000)
		if !c.closed || w.core.Sessions() != 0 {
			t.Fatal("a connection that takes nothing was not closed")
		}
	})
	t.Run("nacks without end", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		id, c := w.open()
		w.send(id, goodHello)
		w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/a"})
		w.say("hello", "/a")
		w.settle()
		top, _ := w.ledger.Top("/a")
		for i := range 1002 {
			w.send(id, &nackproto.Nack{Alias: nackproto.AliasOf(top.ID), Epoch: top.Last.Epoch, After: stream.Seq(i % 2), Upto: 2})
		}
		w.settle()
		closedWith(t, c, nackproto.CloseFlood)
	})
}

// FuzzInput: whatever a client sends, in whatever pieces, the core neither panics
// nor keeps more than its limits allow, and another client is served.
func FuzzInput(f *testing.F) {
	f.Add(conversation(), uint8(3))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		w.say("before", "/a/b", "/a")
		w.pump(10)
		good, gc := w.open()
		w.send(good, &nackproto.Hello{Lowest: 1, Highest: 1})
		w.send(good, &nackproto.Subscribe{Sub: 1, Filter: "/good"})
		for _, greeted := range []bool{false, true} {
			id, c := w.open()
			if greeted {
				w.send(id, goodHello)
			}
			for rest := b; len(rest) > 0 && !c.closed; {
				n := min(int(piece)+1, len(rest))
				w.core.Input(id, rest[:n], w.now)
				rest = rest[n:]
				w.settle()
			}
			w.pass(1000)
			c.frames(t) // what it answers can be read
		}
		gc.frames(t)
		w.say("after", "/good")
		w.settle()
		if got := texts(gc.frames(t)); len(got) != 2 {
			t.Fatalf("the other client got %q", got)
		}
	})
}
