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

// Who asks and does not read is closed, also while nothing can be written to it.
func TestAnswersThatAreNotRead(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, c := w.greet()
	c.room = 0
	w.core.SetStale(true)
	for i := range 10_000 {
		var b []byte
		for j := range 10 {
			b = (&nackproto.Subscribe{Sub: uint64(10*i + j), Filter: "bad"}).AppendTo(b)
		}
		w.core.Input(id, b, w.now)
		if i%100 == 0 {
			w.settle()
		}
		if kept, most := w.core.Kept(id), 3*(256<<10); kept > most {
			t.Fatalf("the core keeps %d bytes, want at most %d", kept, most)
		}
	}
	w.pass(3000)
	if !c.closed {
		t.Error("the session was not closed")
	}
}

// Filters are counted in bytes, too, and what a wildcard costs beside them.
func TestFiltersAreCountedInBytes(t *testing.T) {
	long := strings.Repeat("/"+strings.Repeat("x", 599), 100)
	deep := strings.Repeat("/x", 190)
	for name, filter := range map[string]func(i int) string{
		"exact": func(i int) string { return fmt.Sprintf("/%d%s", i, long) },
		"wild":  func(i int) string { return fmt.Sprintf("/%d%s/#", i, long) },
		"deep":  func(i int) string { return fmt.Sprintf("/%d%s/+", i, deep) },
		"same":  func(int) string { return long },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, stream.Limits{}, session.Config{})
			id, c := w.greet()
			ask := func(from int) (taken []uint64) {
				for i := range 256 {
					w.send(id, &nackproto.Subscribe{Sub: uint64(from + i), Filter: filter(i)})
				}
				w.settle()
				for _, f := range c.frames(t) {
					if s, ok := f.(*nackproto.Subscribed); !ok {
						t.Errorf("got %v", f)
					} else if s.Code == nackproto.SubscribeOK {
						taken = append(taken, s.Sub)
					} else if s.Code != nackproto.SubscribeTooMany {
						t.Errorf("got %v, want TOO_MANY", s)
					}
				}
				return taken
			}
			first := ask(1)
			if len(first) == 0 || len(first) == 256 {
				t.Errorf("%d of 256 were taken", len(first))
			}
			if kept, most := w.core.Kept(id), 1<<20+64<<10; kept > most {
				t.Errorf("the core keeps %d bytes, want at most %d", kept, most)
			}
			for _, sub := range first {
				w.send(id, &nackproto.Unsubscribe{Sub: sub})
			}
			if again := ask(1000); len(again) != len(first) {
				t.Errorf("%d were taken after %d had ended", len(again), len(first))
			}
		})
	}
}

// What ended while a session is behind still says where its streams are; so many of
// those, and the next SUBSCRIBE waits until the session has caught up.
func TestSubscriptionsThatEndWhileBehind(t *testing.T) {
	const n = 3000
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, c := w.greet()
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/#"})
	for i := range 50 {
		w.say("x", stream.Subject(fmt.Sprintf("/s/%d", i)))
	}
	w.settle()
	c.frames(t)
	c.room = 0
	w.say("x", "/s/1", "/s/2")
	w.settle()
	sent := 0
	for ; sent < n; sent++ {
		if c.paused {
			w.settle()
		}
		if c.paused {
			break
		}
		i, sub := sent, uint64(sent+2)
		if i%2 == 0 {
			w.send(id, &nackproto.Subscribe{Sub: sub, Filter: fmt.Sprintf("/s/%d/+/%d", i, i)})
		} else {
			w.send(id, &nackproto.Subscribe{Sub: sub, Filter: fmt.Sprintf("/s/%d", i%50)})
		}
		w.send(id, &nackproto.Unsubscribe{Sub: sub})
	}
	if kept, most := w.core.Kept(id), 256<<10; kept > most || sent > 600 {
		t.Errorf("the core keeps %d bytes after %d subscriptions, want at most %d, and that it waits", kept, sent, most)
	}
	c.room = -1
	w.core.Writable(id, w.now)
	w.settle()
	answered := 0
	for _, f := range c.frames(t) {
		if s, ok := f.(*nackproto.Subscribed); ok && s.Code == nackproto.SubscribeOK {
			answered++
		}
	}
	if answered != sent || c.paused {
		t.Errorf("%d were answered, paused %v, want %d", answered, c.paused, sent)
	}
	if kept := w.core.Kept(id); kept > 64<<10 {
		t.Errorf("the core keeps %d bytes when all is over", kept)
	}
}

// A heartbeat announces names again after an UNSUBSCRIBE: some at a time.
func TestHeartbeatsAnnounceInTurns(t *testing.T) {
	const n = 2000
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, c := w.greet()
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/#"})
	w.send(id, &nackproto.Subscribe{Sub: 2, Filter: "/y"})
	for i := range n {
		w.say("x", stream.Subject(fmt.Sprintf("/%d/%s", i, strings.Repeat("n", 2000))))
	}
	w.settle()
	w.send(id, &nackproto.Unsubscribe{Sub: 2})
	c.frames(t)
	w.largest = 0
	w.pass(31_000)
	subjects := 0
	for _, f := range c.frames(t) {
		if _, ok := f.(*nackproto.Subject); ok {
			subjects++
		}
	}
	if subjects != n {
		t.Errorf("%d subjects were announced, want %d", subjects, n)
	}
	if most := 40 << 10; w.largest > most {
		t.Errorf("the largest write had %d bytes, want at most %d", w.largest, most)
	}
}

// Each lapse has wildcard subscriptions look for new subjects again: they do not
// wait in a queue that grows.
func TestLapsesDoNotPileUp(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{CacheMessages: 4}, session.Config{})
	w.core.SetPace(1000, 10)
	id, _ := w.greet()
	for i := range 200 {
		w.send(id, &nackproto.Subscribe{Sub: uint64(i + 1), Filter: fmt.Sprintf("/s/+/%d", i)})
	}
	for i := range 50 {
		for j := range 10 {
			w.say("x", stream.Subject(fmt.Sprintf("/s/%d/%d", i, j)))
		}
		w.pump(64)
		w.core.Flush(w.now)
		if kept, most := w.core.Kept(id), 128<<10; kept > most {
			t.Fatalf("after %d lapses the core keeps %d bytes, want at most %d", i, kept, most)
		}
	}
	w.settle()
}

// A small rest of a large frame does not keep the large one's memory.
func TestPartialFramesKeepWhatTheyHold(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, _ := w.open()
	w.send(id, goodHello)
	b := (&nackproto.Publish{Number: 1, Name: "/x", Payload: make([]byte, 900_000)}).AppendTo(nil)
	w.core.Input(id, b[:1000], w.now)
	w.core.Input(id, append(b[1000:], 7), w.now)
	w.settle()
	if kept := w.core.Kept(id); kept > 64<<10 {
		t.Errorf("the core keeps %d bytes for one byte of a frame", kept)
	}
}
