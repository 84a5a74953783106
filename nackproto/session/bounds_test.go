package session_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// greet opens a session that only subscribes.
func (w *world) greet() (session.ID, *conn) {
	w.t.Helper()
	id, c := w.open()
	w.send(id, &nackproto.Hello{Lowest: 1, Highest: 1})
	w.settle()
	c.frames(w.t)
	return id, c
}

// trickle lets a connection take so many bytes each tenth of a second, until it
// is closed or time is up.
func (w *world) trickle(id session.ID, c *conn, bytes, times int) {
	w.t.Helper()
	for range times {
		c.room = bytes
		w.core.Writable(id, w.now)
		w.settle()
		if c.closed {
			return
		}
		w.pass(100)
	}
	c.room = -1
	w.core.Writable(id, w.now)
	w.settle()
}

// A link that takes bytes is not stuck, however long one message takes on it: the
// rest of a message is not an answer that is not read.
func TestLargeMessageOnASlowLink(t *testing.T) {
	payload := strings.Repeat("x", 900_000)
	for _, start := range []nackproto.StartKind{nackproto.StartLive, nackproto.StartLast} {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		id, c := w.greet()
		c.room = 100
		if start == nackproto.StartLast {
			w.say(payload, "/x")
			w.settle()
		}
		w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/x", Start: nackproto.Start{Kind: start}})
		w.settle()
		if start == nackproto.StartLive {
			w.say(payload, "/x")
			w.settle()
		}
		w.trickle(id, c, 10_000, 400) // longer than the stuck timeout
		whole := 0
		for _, f := range c.frames(t) {
			switch f := f.(type) {
			case *nackproto.Message:
				whole += len(f.Payload)
			case *nackproto.MessageX:
				whole += len(f.Payload)
			case *nackproto.Close:
				t.Fatalf("start %d: got %v", start, f)
			}
		}
		if whole != len(payload) || c.closed {
			t.Errorf("start %d: got %d bytes of payload, closed %v, want %d once", start, whole, c.closed, len(payload))
		}
	}
}

// Snapshots are read when there is room for them, one after the other, like all
// else that a session is behind with: asking for a thousand at once keeps none.
func TestSnapshotsAreNotQueued(t *testing.T) {
	const size = 300_000
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	for i := range 100 {
		w.say(strings.Repeat("x", size), stream.Subject(fmt.Sprintf("/x/%d", i)))
	}
	w.settle()
	id, c := w.greet()
	c.room = 0
	for i := range 100 {
		w.send(id, &nackproto.Subscribe{Sub: uint64(i + 1), Filter: fmt.Sprintf("/x/%d", i), Start: nackproto.Start{Kind: nackproto.StartLast}})
	}
	w.send(id, &nackproto.Subscribe{Sub: 1000, Filter: "/x/#", Start: nackproto.Start{Kind: nackproto.StartLast}})
	w.settle()
	w.trickle(id, c, size, 2)
	got := 0
	for _, f := range c.frames(t) {
		if m, ok := f.(*nackproto.MessageX); ok && m.Snapshot {
			got++
		}
	}
	if got != 100 {
		t.Errorf("got %d snapshots, want 100", got)
	}
	if most := size + 64<<10; w.largest > most {
		t.Errorf("the core kept %d bytes for one session, want at most %d", w.largest, most)
	}
}
