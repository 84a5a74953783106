package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// A world is a core with everything around it: a ledger, a driver whose
// connections take as many bytes as the test lets them, and a clock.
type world struct {
	t      testing.TB
	rnd    *rand.Rand
	ledger *stream.Ledger
	core   *session.Core
	conns  map[session.ID]*conn
	now    int64
	ahead  int64 // the log's clock before ours
	number uint64
	read   stream.Index // the loop's reader
	queued []queuedItem
	claims map[stream.PublisherID]session.ID
	hold   bool // publishes wait for commit
	code   nackproto.PublishCode

	looked  int // subjects and messages that the core has asked the source for
	largest int // bytes that the core had a connection take at once
}

type queuedItem struct {
	id  session.ID
	tag uint64
	it  stream.Item
}

// A conn is the driver's end of a connection: it takes room bytes at once, all
// if room is negative.
type conn struct {
	got    []byte // what went out
	room   int
	later  bool   // answers Later
	flight []byte // while it does
	closed bool
	paused bool
}

const clusterID = 0xabcdef0123456789

func newWorld(t testing.TB, seed uint64, l stream.Limits, cf session.Config) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 0)), ledger: stream.NewLedger(clusterID),
		conns: map[session.ID]*conn{}, claims: map[stream.PublisherID]session.ID{}, now: 1_000_000,
	}
	w.apply(stream.AppendLimits(nil, l))
	w.restart(cf)
	return w
}

// restart begins with a core that knows nothing but the log.
func (w *world) restart(cf session.Config) {
	cf.Driver, cf.Source, cf.Cluster, cf.Node = w, source{w.ledger, w}, clusterID, "n1"
	w.core = session.New(cf, w.now)
	w.read = w.core.Head()
}

func (w *world) apply(data []byte) stream.Applied {
	w.t.Helper()
	w.number++
	stream.StampEntry(data, w.now+w.ahead)
	a, err := w.ledger.Apply(stream.Entry{Number: w.number, Data: data})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// place brings publications into the log.
func (w *world) place(items ...stream.Item) []stream.Place {
	w.t.Helper()
	var b stream.Batch
	var out []stream.Place
	b.Reset(stream.Origin{})
	for i := range items {
		for !b.Add(&items[i]) {
			out = append(out, w.apply(b.Entry()).Places...)
			b.Reset(stream.Origin{})
		}
	}
	return append(out, w.apply(b.Entry()).Places...)
}

// say places one message with this payload on each subject.
func (w *world) say(payload string, subjects ...stream.Subject) {
	w.t.Helper()
	for _, s := range subjects {
		w.place(stream.Item{Publication: stream.Publication{Subject: s, Payload: []byte(payload)}})
	}
}

// pump hands the log on to the core, at most n messages at a time.
func (w *world) pump(n int) {
	for {
		if w.read < w.ledger.Tail() {
			w.read = w.ledger.Tail()
			w.core.Lapped(w.read, w.now)
			continue
		}
		ms := w.ledger.ReadLog(w.read, make([]stream.Message, 0, n))
		if len(ms) == 0 {
			return
		}
		w.read += stream.Index(len(ms))
		w.core.Messages(ms, w.now)
	}
}

// settle lets the core do everything that it can do.
func (w *world) settle() {
	w.t.Helper()
	for i := 0; ; i++ {
		w.commit()
		w.pump(64)
		if !w.core.Flush(w.now) && len(w.queued) == 0 && w.read == w.ledger.Head() {
			return
		}
		if i > 100000 {
			w.t.Fatal("the core has work for ever")
		}
	}
}

// commit places what was published.
func (w *world) commit() {
	if w.hold {
		return
	}
	q := w.queued
	w.queued = nil
	for _, p := range q {
		if w.code != nackproto.Placed {
			w.core.Placed(p.id, p.tag, stream.Position{}, w.code, w.now)
			continue
		}
		at := w.place(p.it)[0]
		w.core.Placed(p.id, p.tag, at.Position, nackproto.Placed, w.now)
	}
}

// pass lets time go by, in ticks of a tenth of a second.
func (w *world) pass(milliseconds int64) {
	for end := w.now + milliseconds; w.now < end; {
		w.now = min(w.now+100, end)
		w.core.Tick(w.now)
		w.settle()
	}
}

func (w *world) open() (session.ID, *conn) {
	id := w.core.Open(w.now)
	c := &conn{room: -1}
	w.conns[id] = c
	return id, c
}

func (w *world) send(id session.ID, f nackproto.Frame) {
	w.core.Input(id, f.AppendTo(nil), w.now)
}

// Write implements session.Driver.
func (w *world) Write(id session.ID, b []byte) int {
	c := w.conns[id]
	if c.flight != nil {
		panic("two writes at a time")
	}
	if c.closed || len(b) == 0 {
		panic("write to a closed connection, or of nothing")
	}
	w.largest = max(w.largest, len(b))
	if c.later {
		c.flight = b
		return session.Later
	}
	n := len(b)
	if c.room >= 0 {
		n = min(n, c.room)
		c.room -= n
	}
	c.got = append(c.got, b[:n]...)
	return n
}

// finish completes a write that the driver went on with.
func (w *world) finish(id session.ID, n int) {
	c := w.conns[id]
	if c.flight == nil {
		return
	}
	n = min(n, len(c.flight))
	c.got = append(c.got, c.flight[:n]...)
	c.flight = nil
	w.core.Wrote(id, n, w.now)
}

// Close implements session.Driver.
func (w *world) Close(id session.ID) { w.conns[id].closed = true }

// PauseRead implements session.Driver.
func (w *world) PauseRead(id session.ID) { w.conns[id].paused = true }

// ResumeRead implements session.Driver.
func (w *world) ResumeRead(id session.ID) { w.conns[id].paused = false }

// Publish implements session.Driver.
func (w *world) Publish(id session.ID, tag uint64, it stream.Item) {
	w.queued = append(w.queued, queuedItem{id, tag, it})
}

// Claim implements session.Driver.
func (w *world) Claim(id session.ID, p stream.PublisherID) {
	old, ok := w.claims[p]
	w.claims[p] = id
	if ok && !w.conns[old].closed {
		defer w.core.Replaced(old, w.now)
	}
}

// source reads the ledger as a broker does, and counts what is looked at.
type source struct {
	*stream.Ledger
	w *world
}

var errLapped = errors.New("lapped")

func (s source) ReadLog(after stream.Index, buf []stream.Message) ([]stream.Message, error) {
	if after < s.Tail() {
		return nil, errLapped
	}
	ms := s.Ledger.ReadLog(after, buf)
	s.w.looked += len(ms)
	return ms, nil
}

func (s source) Subjects(f stream.Filter, from stream.SubjectID, yield func(stream.Subject, stream.Top) bool) (stream.SubjectID, bool) {
	next, more := s.Ledger.Subjects(f, from, 7, yield)
	if s.w.looked++; !f.IsExact() {
		s.w.looked += int(next - from)
	}
	return next, more
}

func (s source) Top(name stream.Subject) (stream.Top, bool) {
	s.w.looked++
	return s.Ledger.Top(name)
}

func (s source) ReadSubject(name stream.Subject, after stream.Position, hint stream.Index, buf []stream.Message) ([]stream.Message, error) {
	ms, err := s.Ledger.ReadSubject(name, after, hint, buf)
	s.w.looked += 1 + len(ms)
	return ms, err
}

// frames takes apart what a connection got, and leaves the rest.
func (c *conn) frames(t testing.TB) (out []nackproto.Frame) {
	t.Helper()
	for {
		f, n, err := nackproto.Decode(c.got, 1<<30)
		if errors.Is(err, nackproto.ErrIncomplete) {
			return out
		}
		if err != nil {
			t.Fatalf("the core sent %x: %v", c.got[:min(len(c.got), 64)], err)
		}
		out = append(out, f)
		c.got = c.got[n:]
	}
}

func texts(fs []nackproto.Frame) (out []string) {
	for _, f := range fs {
		out = append(out, fmt.Sprint(f))
	}
	return out
}
