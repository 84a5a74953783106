package session_test

import (
	"fmt"
	"testing"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// lookAtOnce is how many subjects and messages one Flush looks at, at most. At
// some hundred nanoseconds each, the loop comes to its other duties within some
// hundredths of a second.
const lookAtOnce = 200_000

// many makes n subjects /s/0, /s/1, … of one message each, beside w.read.
func (w *world) many(n int) {
	w.t.Helper()
	items := make([]stream.Item, n)
	for i := range items {
		items[i].Publication = stream.Publication{Subject: stream.Subject(fmt.Sprintf("/s/%d", i)), Payload: []byte("x")}
	}
	w.place(items...)
}

// flush flushes until there is no more to do, and fails if one Flush looked at more
// than lookAtOnce.
func (w *world) flush() (times int) {
	w.t.Helper()
	for more := true; more; times++ {
		before := w.looked
		more = w.core.Flush(w.now)
		if n := w.looked - before; n > lookAtOnce {
			w.t.Fatalf("Flush %d looked at %d, want at most %d", times, n, lookAtOnce)
		}
		if times > 1_000_000 {
			w.t.Fatal("the core has work for ever")
		}
	}
	return times
}

// No matter what one client asks, the others are not kept waiting: what has to look
// at all subjects does it in turns.
func TestTurnsAreShort(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n = 5_000
	}
	snapshots := func(fs []nackproto.Frame) (got int) {
		for _, f := range fs {
			if m, ok := f.(*nackproto.MessageX); ok && m.Snapshot {
				got++
			}
		}
		return got
	}
	t.Run("wildcards that match nothing", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		w.many(n)
		w.pump(1024)
		id, _ := w.greet()
		before := w.looked
		for i := range 256 {
			w.send(id, &nackproto.Subscribe{Sub: uint64(i + 1), Filter: fmt.Sprintf("/none%d/+", i), Start: nackproto.Start{Kind: nackproto.StartLast}})
		}
		w.flush()
		if got := w.looked - before; got < 256*n {
			t.Errorf("looked at %d, want all %d subjects for each of 256", got, n)
		}
	})
	t.Run("one that matches all", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{}, session.Config{})
		w.many(n)
		w.pump(1024)
		id, c := w.greet()
		w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/#", Start: nackproto.Start{Kind: nackproto.StartLast}})
		w.flush()
		if got := snapshots(c.frames(t)); got != n {
			t.Errorf("got %d snapshots, want %d", got, n)
		}
	})
	t.Run("many that a lapse tells", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{CacheMessages: 10}, session.Config{})
		ids := make([]session.ID, 20)
		conns := make([]*conn, len(ids))
		for i := range ids {
			ids[i], conns[i] = w.greet()
			w.send(ids[i], &nackproto.Subscribe{Sub: 1, Filter: "/#", Start: nackproto.Start{Kind: nackproto.StartLast}})
		}
		w.many(n)
		w.pump(1024)
		w.flush()
		before := w.largest
		w.largest = 0
		w.many(n)
		w.many(n)
		w.pump(1024)
		w.flush()
		for _, c := range conns {
			resets := map[nackproto.Alias]bool{}
			for _, f := range c.frames(t) {
				if r, ok := f.(*nackproto.Reset); ok {
					resets[r.Alias] = true
				}
			}
			if len(resets) < n-10 {
				t.Fatalf("got RESET of %d subjects, want nearly %d", len(resets), n)
			}
		}
		if w.largest > 64<<10 {
			t.Errorf("the largest write had %d bytes, want about a turn's (%d before)", w.largest, before)
		}
	})
	t.Run("a slow session that the cache goes past", func(t *testing.T) {
		w := newWorld(t, 1, stream.Limits{CacheMessages: int64(n)}, session.Config{})
		id, c := w.greet()
		w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/#"})
		w.many(n)
		w.pump(1024)
		w.flush()
		c.frames(t)
		c.room = 0
		for range 3 {
			w.many(n)
			w.pump(1024)
		}
		c.room = -1
		w.core.Writable(id, w.now)
		w.flush()
		resets := 0
		for _, f := range c.frames(t) {
			if _, ok := f.(*nackproto.Reset); ok {
				resets++
			}
		}
		if resets < n-1 {
			t.Errorf("got %d RESETs, want one for each of nearly %d subjects", resets, n)
		}
	})
}

// While a session's streams end, or its heartbeat is made, others are served, and
// its own frames wait.
func TestWalksAreShared(t *testing.T) {
	const n = 20_000
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, c := w.greet()
	other, oc := w.greet()
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/s/+"})
	w.send(id, &nackproto.Subscribe{Sub: 2, Filter: "/t/+"})
	w.send(other, &nackproto.Subscribe{Sub: 1, Filter: "/o"})
	w.many(n)
	w.pump(1024)
	w.settle()
	c.frames(t)
	oc.frames(t)

	w.core.SetPace(100, 100)
	w.send(id, &nackproto.Unsubscribe{Sub: 1})
	w.send(id, &nackproto.Subscribe{Sub: 3, Filter: "/s/+"})
	w.say("now", "/o")
	w.pump(1024)
	w.core.Flush(w.now)
	if got := texts(oc.frames(t)); len(got) != 2 {
		t.Errorf("the other session got %q, want SUBJECT and MESSAGE at once", got)
	}
	if got := texts(c.frames(t)); len(got) != 0 {
		t.Errorf("got %q before the streams have ended", got)
	}
	w.say("gone", "/s/0")
	w.settle()
	w.say("again", "/s/0")
	w.settle()
	got := c.frames(t)
	var last []string
	for _, f := range got {
		if m, ok := f.(*nackproto.Message); !ok || string(m.Payload) != "gone" {
			last = append(last, fmt.Sprint(f)[:9])
		}
	}
	if want := "[SUBSCRIBE SUBJECT a MESSAGE a]"; fmt.Sprint(last) != want {
		t.Errorf("got %v, want %s", last, want)
	}
}

// A frame may ask for much, and many such frames may come at once: they wait for
// their session's turns, and none is lost.
func TestFramesWaitForTurns(t *testing.T) {
	const n = 40_000
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	id, c := w.greet()
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/s/+"})
	w.many(n)
	w.pump(1024)
	w.settle()
	c.frames(t)
	var b []byte
	for i := range 100 {
		b = (&nackproto.Unsubscribe{Sub: uint64(1000 + i)}).AppendTo(b) // looked for among all that it follows
	}
	b = (&nackproto.Subscribe{Sub: 2, Filter: "/after"}).AppendTo(b)
	w.core.Input(id, b, w.now)
	if !c.paused {
		t.Error("the frames were all taken at once")
	}
	if times := w.flush(); times < 2 {
		t.Errorf("the frames were taken in %d Flush", times)
	}
	if got := texts(c.frames(t)); len(got) != 1 || c.paused {
		t.Errorf("got %q, paused %v, want SUBSCRIBED", got, c.paused)
	}
}
