package session_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// A model is a client that believes nothing: it checks every frame against what
// it knows of the log, as PROTOCOL.md §6 tells clients to.
type model struct {
	w       *world
	log     *record
	id      session.ID
	c       *conn
	subs    map[uint64]*modelSub
	streams map[stream.Subject]*modelStream
	alias   map[nackproto.Alias]stream.Subject
	dead    map[nackproto.Alias]bool
	index   stream.Index // of the last heartbeat
	asked   uint64
	resets  int
	trace   []string
}

type modelSub struct {
	filter stream.Filter
	start  nackproto.Start
	active bool
	begins stream.Index
}

type modelStream struct {
	pos      stream.Position
	known    bool
	resuming bool
	subject  bool       // the last frame was its SUBJECT with another position: RESET must follow
	asked    bool       // it sent a NACK: the answer may come when RESET has moved it on, and bring duplicates
	skipped  bool       // frames were ignored while no subscription was active
	dropped  bool       // was resuming when frames were ignored: the end may still come
	gap      bool       // something is missing: only what continues the position is taken
	upto     stream.Seq // what it has asked for again: the answer is not whole before
}

// A record is what was placed.
type record struct {
	payload map[string]string // by subject and position
	list    []placed
}

type placed struct {
	subject stream.Subject
	at      stream.Position
	index   stream.Index
}

func key(s stream.Subject, p stream.Position) string { return string(s) + "@" + p.String() }

func (m *model) fail(format string, args ...any) {
	m.w.t.Helper()
	tail := m.trace
	if want := os.Getenv("NACKSESSION_TRACE"); want != "" {
		tail = nil
		for _, l := range m.trace {
			if strings.HasPrefix(l, "MESSAGE alias") && want != "all" {
				continue
			}
			tail = append(tail, l)
		}
	} else if len(tail) > 40 {
		tail = tail[len(tail)-40:]
	}
	m.w.t.Fatalf("session %x: %s\n%s", uint64(m.id), fmt.Sprintf(format, args...), strings.Join(tail, "\n"))
}

// read checks what came.
func (m *model) read() {
	m.w.t.Helper()
	for _, f := range m.c.frames(m.w.t) {
		s := fmt.Sprint(f)
		m.trace = append(m.trace, s[:min(len(s), 150)])
		m.frame(f)
	}
}

func (m *model) stream(a nackproto.Alias) (stream.Subject, *modelStream) {
	m.w.t.Helper()
	name, ok := m.alias[a]
	if !ok {
		m.fail("alias %d was never announced", a)
	}
	if m.dead[a] || !m.wanted(name) {
		// Ignored until SUBJECT binds it again.
		m.dead[a] = true
		if s := m.streams[name]; s != nil {
			s.dropped = s.dropped || s.resuming
			s.skipped, s.resuming = true, false
		}
		return name, nil
	}
	return name, m.streams[name]
}

// wanted reports whether an active subscription matches. Until then what comes
// is what an UNSUBSCRIBE ended.
func (m *model) wanted(name stream.Subject) bool {
	for _, sub := range m.subs {
		if sub.active && sub.filter.Match(name) {
			return true
		}
	}
	return false
}

func (m *model) frame(f nackproto.Frame) {
	m.w.t.Helper()
	switch f := f.(type) {
	case *nackproto.Welcome, *nackproto.Confirm, *nackproto.Drain:
	case *nackproto.Subscribed:
		if f.Code != nackproto.SubscribeOK {
			m.fail("refused: %v", f)
		}
		if s := m.subs[f.Sub]; s != nil {
			s.active, s.begins = true, f.Index
		}
	case *nackproto.Subject:
		m.alias[f.Alias] = f.Name
		m.dead[f.Alias] = !m.wanted(f.Name)
		if m.dead[f.Alias] {
			return
		}
		s := m.streams[f.Name]
		if s == nil {
			s = &modelStream{}
			m.streams[f.Name] = s
		}
		at := stream.Position{Epoch: f.Epoch, Seq: f.After}
		if s.skipped {
			s.skipped, s.gap = false, s.gap || s.known && s.pos != at
		}
		if !s.known {
			s.pos, s.known = at, true
		} else if s.pos != at && !((s.gap || s.resuming || s.asked && at.Seq < s.pos.Seq) && s.pos.Epoch == f.Epoch) {
			s.subject = true
		}
	case *nackproto.Message:
		name, s := m.stream(f.Alias)
		if s == nil {
			return // unsubscribed
		}
		if uint16(s.pos.Seq+1) == f.Seq16 {
			m.take(name, s, s.pos.Seq+1, f.Payload)
		} else if d := f.Seq16 - uint16(s.pos.Seq+1); !s.gap && !(s.asked && d >= 1<<15) {
			m.fail("%s: MESSAGE %04x where %04x comes next", name, f.Seq16, uint16(s.pos.Seq+1))
		}
	case *nackproto.MessageX:
		name, s := m.stream(f.Alias)
		if s == nil {
			return
		}
		if f.Snapshot {
			if f.Seq > s.pos.Seq && !s.asked && !s.resuming {
				m.fail("%s: a snapshot of %d after %v", name, f.Seq, s.pos)
			}
			return
		}
		if f.Seq == s.pos.Seq+1 || !s.gap && !(s.asked && f.Seq <= s.pos.Seq) {
			m.take(name, s, f.Seq, f.Payload)
		}
	case *nackproto.Continuous:
		name, s := m.stream(f.Alias)
		if s == nil {
			return
		}
		if s.dropped {
			return
		}
		if !s.resuming {
			m.fail("%s: CONTINUOUS and no resume", name)
		}
		if !s.gap && s.pos.Seq != f.Seq || s.subject {
			m.fail("%s: CONTINUOUS at %d, the client is at %v", name, f.Seq, s.pos)
		}
		s.resuming = false
	case *nackproto.Reset:
		m.reset(f)
	case *nackproto.Heartbeat:
		m.heartbeat(f)
	default:
		m.fail("unexpected %v", f)
	}
}

func (m *model) take(name stream.Subject, s *modelStream, seq stream.Seq, payload []byte) {
	m.w.t.Helper()
	if s.subject {
		m.fail("%s: SUBJECT moved the stream and no RESET told why", name)
	}
	if seq != s.pos.Seq+1 {
		m.fail("%s: message %d after %v", name, seq, s.pos)
	}
	s.pos.Seq, s.gap = seq, false
	if want, ok := m.log.payload[key(name, s.pos)]; !ok || want != string(payload) {
		m.fail("%s: message %v is %q, want %q", name, s.pos, payload, want)
	}
}

func (m *model) reset(f *nackproto.Reset) {
	m.w.t.Helper()
	m.resets++
	if f.Alias == 0 {
		s := m.streams[f.Name]
		if !m.wanted(f.Name) {
			return
		}
		if s == nil || !s.resuming {
			m.fail("RESET of %s and no resume", f.Name)
		}
		s.resuming, s.known = false, false
		return
	}
	name, s := m.stream(f.Alias)
	if s == nil {
		return
	}
	if s.pos.Epoch == f.Epoch && f.Next <= s.pos.Seq && !s.subject && !s.resuming && !s.gap {
		if !s.asked {
			m.fail("%s: RESET goes back: next %d after %v", name, f.Next, s.pos)
		}
		return // nothing is lost
	}
	s.pos = stream.Position{Epoch: f.Epoch, Seq: f.Next - 1}
	s.resuming, s.subject, s.gap, s.known = false, false, false, true
}

func (m *model) heartbeat(f *nackproto.Heartbeat) {
	m.w.t.Helper()
	if f.Index < m.index {
		m.fail("the heartbeat's index fell from %d to %d", m.index, f.Index)
	}
	m.index = f.Index
	for _, t := range f.Tops {
		if name, s := m.stream(t.Alias); s != nil && !s.gap && s.pos.Seq < t.Seq {
			m.fail("%s: top %d, the client is at %v", name, t.Seq, s.pos)
		}
	}
	for _, dead := range m.dead {
		if dead {
			return // what it ignored, an UNSUBSCRIBE on its way has ended
		}
	}
	for _, sub := range m.subs {
		if !sub.active {
			continue
		}
		for _, p := range m.log.list {
			if p.index > f.Index {
				break
			}
			if p.index <= sub.begins || !sub.filter.Match(p.subject) {
				continue
			}
			s := m.streams[p.subject]
			if s == nil || !s.known || s.pos.Epoch == p.at.Epoch && s.pos.Seq < p.at.Seq && s.pos.Seq >= s.upto && !s.gap && !s.resuming {
				m.fail("heartbeat says %d, but %s of %s (%d) did not come: %+v", f.Index, p.at, p.subject, p.index, s)
			}
		}
	}
}

// complete checks that the client has all that it asked for.
func (m *model) complete() {
	m.w.t.Helper()
	last := map[stream.Subject]placed{}
	for _, p := range m.log.list {
		last[p.subject] = p
	}
	for num, sub := range m.subs {
		if !sub.active {
			m.fail("subscription %d was not answered", num)
		}
		for name, p := range last {
			if p.index <= sub.begins || !sub.filter.Match(name) {
				continue
			}
			s := m.streams[name]
			if s == nil || !s.known || s.pos != p.at {
				m.fail("%s is at %v (index %d), the client at %+v (subscription %v from %d)", name, p.at, p.index, s, sub.filter, sub.begins)
			}
		}
	}
	for name, s := range m.streams {
		if s.resuming {
			m.fail("the resume of %s has no end", name)
		}
		if s.subject {
			m.fail("%s: SUBJECT moved the stream and no RESET told why", name)
		}
	}
}

// A script drives a world at random.
type script struct {
	*world
	log      *record
	models   []*model
	subjects []stream.Subject
	said     int
	ended    []*model
}

func newScript(t testing.TB, seed uint64) *script {
	w := newWorld(t, seed, stream.Limits{}, session.Config{Limits: session.Limits{Heartbeat: 2 * time.Second, ControlBytes: 32 << 10}})
	w.apply(stream.AppendLimits(nil, stream.Limits{CacheMessages: []int64{20, 200, 2000, 20000}[w.rnd.IntN(4)]}))
	if w.rnd.IntN(2) == 0 {
		w.core.SetPace(1+w.rnd.IntN(3), 1+w.rnd.IntN(20))
	}
	s := &script{world: w, log: &record{payload: map[string]string{}}}
	for _, a := range []string{"/a", "/b", "/c/d", "/c/e", "//", "/$x/y"} {
		s.subjects = append(s.subjects, stream.Subject(a))
	}
	for i := range []int{0, 3, 30}[w.rnd.IntN(3)] {
		s.subjects = append(s.subjects, stream.Subject(fmt.Sprintf("/many/%d", i)))
	}
	return s
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func (s *script) publish(n int) {
	for range n {
		it := stream.Item{Publication: stream.Publication{Subject: s.subjects[s.rnd.IntN(len(s.subjects))]}}
		s.said++
		it.Payload = []byte(strconv.Itoa(s.said) + strings.Repeat("x", s.rnd.IntN(1+s.rnd.IntN(400))))
		if s.rnd.IntN(500) == 0 { // beyond ControlBytes, and far beyond the room of a connection
			it.Payload = append(it.Payload, make([]byte, 40<<10)...)
		}
		if s.rnd.IntN(10) == 0 {
			it.Flags |= stream.Retain
		}
		if s.rnd.IntN(10) == 0 {
			it.Expiry = 1000
		}
		at := s.place(it)[0]
		s.log.payload[key(it.Subject, at.Position)] = string(it.Payload)
		s.log.list = append(s.log.list, placed{it.Subject, at.Position, at.Index})
	}
}

func (s *script) connect(old *model) {
	id, c := s.open()
	m := &model{w: s.world, log: s.log, id: id, c: c, subs: map[uint64]*modelSub{}, streams: map[stream.Subject]*modelStream{}, alias: map[nackproto.Alias]stream.Subject{}, dead: map[nackproto.Alias]bool{}}
	s.models = append(s.models, m)
	s.input(m, &nackproto.Hello{Lowest: 1, Highest: 1, Incarnation: stream.PublisherID(id)})
	if old == nil {
		return
	}
	// It comes back with what it knows: marks, and the index of its heartbeats.
	for _, oldNum := range sorted(old.subs) {
		sub := old.subs[oldNum]
		m.asked++
		num := m.asked
		start := nackproto.Start{Kind: nackproto.StartIndex, Cluster: clusterID, Index: max(old.index, 0)}
		if !sub.active {
			start = sub.start
			start.Marks = nil
		} else if old.index < sub.begins {
			start.Index = sub.begins
		}
		for _, name := range sorted(old.streams) {
			st := old.streams[name]
			if st.known && sub.active && sub.filter.Match(name) && m.streams[name] == nil {
				start.Marks = append(start.Marks, nackproto.Mark{Subject: name, Position: st.pos})
				m.streams[name] = &modelStream{pos: st.pos, known: true, resuming: true}
			}
		}
		m.subs[num] = &modelSub{filter: sub.filter, start: start}
		s.input(m, &nackproto.Subscribe{Sub: num, Filter: string(sub.filter), Start: start})
	}
}

// input sends a frame in pieces.
func (s *script) input(m *model, f nackproto.Frame) {
	m.trace = append(m.trace, "> "+fmt.Sprint(f))
	b := f.AppendTo(nil)
	for len(b) > 0 {
		n := len(b)
		if s.rnd.IntN(3) == 0 {
			n = 1 + s.rnd.IntN(n)
		}
		piece := append([]byte(nil), b[:n]...)
		s.core.Input(m.id, piece, s.now)
		clear(piece) // borrowed for the call
		b = b[n:]
	}
}

func (s *script) subscribe(m *model) {
	filters := []string{"/a", "/b", "/c/d", "//", "/+", "/c/+", "/#", "/many/+", "/$x/#", "/many/1", "/c/#", "/many/#"}
	m.asked++
	num := m.asked // a number is not used again: its SUBSCRIBED could be the old one's
	if s.rnd.IntN(20) == 0 {
		num += 1 << 40
	}
	if len(m.subs) > 4 || len(m.subs) > 0 && s.rnd.IntN(4) == 0 {
		num = sorted(m.subs)[0]
		delete(m.subs, num)
		s.input(m, &nackproto.Unsubscribe{Sub: num})
		for name := range m.streams {
			matched := false
			for _, o := range m.subs {
				matched = matched || o.filter.Match(name)
			}
			if !matched {
				// What is on its way is ignored until SUBJECT comes again.
				delete(m.streams, name)
			}
		}
		return
	}
	sub := &modelSub{filter: stream.Filter(filters[s.rnd.IntN(len(filters))])}
	switch s.rnd.IntN(6) {
	case 0:
		sub.start.Kind = nackproto.StartLast
	case 1:
		sub.start = nackproto.Start{Kind: nackproto.StartHistory, Count: uint64(s.rnd.IntN(30))}
	case 2:
		sub.start = nackproto.Start{Kind: nackproto.StartIndex, Cluster: clusterID, Index: stream.Index(s.rnd.IntN(int(s.ledger.Head()) + 1))}
	}
	// A subject that is followed already keeps its stream; the model is told the
	// index of what it asked for only if nothing else matches.
	if sub.start.Kind == nackproto.StartIndex {
		for _, o := range m.subs {
			if overlap(s.subjects, o.filter, sub.filter) {
				sub.start = nackproto.Start{}
			}
		}
	}
	m.subs[num] = sub
	s.input(m, &nackproto.Subscribe{Sub: num, Filter: string(sub.filter), Start: sub.start})
}

func overlap(subjects []stream.Subject, a, b stream.Filter) bool {
	for _, s := range subjects {
		if a.Match(s) && b.Match(s) {
			return true
		}
	}
	return false
}

// nack has a client lose what came last, and ask for it.
func (s *script) nack(m *model) {
	for _, alias := range sorted(m.alias) {
		name := m.alias[alias]
		st := m.streams[name]
		if st == nil || st.resuming || st.subject || st.gap || st.pos.Seq == 0 || !st.known || m.dead[alias] || !m.wanted(name) {
			continue
		}
		top := st.pos.Seq
		st.pos.Seq, st.gap, st.asked, st.upto = stream.Seq(s.rnd.IntN(int(top))), true, true, top
		s.input(m, &nackproto.Nack{Alias: alias, Epoch: st.pos.Epoch, After: st.pos.Seq, Upto: top})
		return
	}
}

// repeat asks again for what is still missing, as a client does that was not
// answered.
func (s *script) repeat(m *model) {
	for _, alias := range sorted(m.alias) {
		name := m.alias[alias]
		if st := m.streams[name]; st != nil && st.gap && m.wanted(name) && !m.dead[alias] {
			s.input(m, &nackproto.Nack{Alias: alias, Epoch: st.pos.Epoch, After: st.pos.Seq, Upto: st.pos.Seq + 1})
		}
	}
}

// transport lets a connection take bytes, or not.
func (s *script) transport(m *model) {
	switch s.rnd.IntN(5) {
	case 0:
		m.c.room = -1
	case 1, 2:
		m.c.room = s.rnd.IntN(1 + s.rnd.IntN(3000))
	case 3:
		if m.c.flight == nil {
			m.c.later = !m.c.later
		}
	}
	s.give(m, false)
}

func (s *script) give(m *model, all bool) {
	if m.c.flight != nil && (all || s.rnd.IntN(2) == 0) {
		n := len(m.c.flight)
		if !all && s.rnd.IntN(4) == 0 {
			n = s.rnd.IntN(n + 1)
		}
		s.finish(m.id, n)
	}
	if m.c.room != 0 && m.c.flight == nil {
		s.core.Writable(m.id, s.now)
	}
}

func (s *script) step() {
	if len(s.models) == 0 || len(s.models) < 6 && s.rnd.IntN(10) == 0 {
		s.connect(nil)
	}
	m := s.models[s.rnd.IntN(len(s.models))]
	switch s.rnd.IntN(20) {
	case 0, 1:
		s.subscribe(m)
	case 2:
		s.nack(m)
	case 3:
		m.read()
		s.core.Closed(m.id)
		s.models = delModel(s.models, m)
		s.ended = append(s.ended, m)
		if s.rnd.IntN(3) > 0 {
			s.connect(m)
		}
	case 4, 5, 6, 7:
		s.transport(m)
	case 8:
		s.now += int64(s.rnd.IntN(500))
		s.core.Tick(s.now)
	case 9, 10, 11:
		s.core.Flush(s.now)
	case 12:
		m.read()
	case 13, 14, 15, 16:
		s.publish(s.rnd.IntN(1 + s.rnd.IntN(40)))
	default:
		s.pump(1 + s.rnd.IntN(64))
	}
}

func delModel(ms []*model, m *model) []*model {
	for i := range ms {
		if ms[i] == m {
			return append(ms[:i:i], ms[i+1:]...)
		}
	}
	return ms
}

func (s *script) end() {
	for range 10 {
		for _, m := range s.models {
			m.c.room, m.c.later = -1, false
			s.give(m, true)
		}
		s.settle()
	}
	for _, m := range s.models {
		m.read()
	}
	s.pass(4_000) // the linger, and a heartbeat
	for _, m := range s.models {
		m.read()
		s.repeat(m)
	}
	s.settle()
	s.pass(10_000) // heartbeats
	for _, m := range s.models {
		m.read()
		if m.c.closed {
			m.fail("was closed")
		}
		m.complete()
	}
}

func TestModel(t *testing.T) {
	first, n := uint64(1), uint64(150)
	if testing.Short() {
		n = 40
	}
	if v := os.Getenv("NACKSESSION_SEED"); v != "" {
		first, _ = strconv.ParseUint(v, 10, 64)
		n = 1
	}
	if v := os.Getenv("NACKSESSION_SEEDS"); v != "" {
		n, _ = strconv.ParseUint(v, 10, 64)
	}
	resets := 0
	for seed := first; seed < first+n; seed++ {
		ok := t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay: NACKSESSION_SEED=%d go test ./nackproto/session -run TestModel", seed)
				}
			}()
			s := newScript(t, seed)
			for range 400 {
				s.step()
			}
			s.end()
			for _, m := range append(s.models, s.ended...) {
				resets += m.resets
			}
		})
		if !ok {
			return
		}
	}
	if n > 50 && resets == 0 {
		t.Error("no seed led to a RESET: the scripts test too little")
	}
}
