package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// A member is an engine over a log in memory, driven by the test.
type member struct {
	t      *testing.T
	log    *wal.Log
	broker *broker.Broker
	queue  *Queue
	eng    *Engine
	now    Now
	answer []string // in the order in which they came
}

func newMember(t *testing.T, change func(*Config)) *member {
	t.Helper()
	m := &member{t: t, broker: broker.New(stream.NewLedger(1)), queue: NewQueue(1, 1, 1<<20), now: Now{Wall: 1_800_000_000_000}}
	var err error
	if m.log, err = wal.Create(wal.NewMemDir(rand.NewPCG(1, 1)), wal.Config{SegmentBytes: 64 << 10, ClusterID: 1, NodeID: 1}); err != nil {
		t.Fatal(err)
	}
	c := Config{Node: 1, Life: 1, Log: m.log, Base: Mark{Conf: &pb.ConfState{Voters: []uint64{1}}}, Machine: m.broker}
	if change != nil {
		change(&c)
	}
	if m.eng, err = New(c, m.now); err != nil {
		t.Fatal(err)
	}
	m.settle()
	return m
}

// publish adds items and proposes what the engine wants.
func (m *member) publish(payloads ...string) {
	for _, p := range payloads {
		it := stream.Item{Publication: stream.Publication{Subject: "/a", Payload: []byte(p)}}
		name := p[:min(len(p), 8)]
		m.queue.Add(&it, func(at stream.Place, err error) {
			m.answer = append(m.answer, fmt.Sprintf("%s at %d: %v", name, at.Index, err))
		}, m.now.Mono)
	}
	m.feed()
}

func (m *member) feed() {
	for m.eng.HandleFeed(m.queue.Feed(m.eng.PollWant())) {
	}
}

// write does one write, and gives the number of its entries.
func (m *member) write() int {
	w, ok := m.eng.PollWrite()
	if !ok {
		return -1
	}
	m.eng.HandleWritten(m.log.Append(w.State, w.Entries))
	return len(w.Entries)
}

// settle works until there is nothing to do.
func (m *member) settle() {
	for m.write() >= 0 || m.eng.Step() {
		m.feed()
	}
}

func TestNothingIsConfirmedBeforeItIsWritten(t *testing.T) {
	m := newMember(t, nil)
	m.publish("one")
	w, ok := m.eng.PollWrite()
	if !ok || len(w.Entries) != 1 {
		t.Fatalf("an idle engine waits with a publication: write %v of %d entries", ok, len(w.Entries))
	}
	for m.eng.Step() {
	}
	if len(m.answer) > 0 || m.broker.Head() > 0 {
		t.Errorf("before the write: answers %q, index %d", m.answer, m.broker.Head())
	}
	m.eng.HandleWritten(m.log.Append(w.State, w.Entries))
	for m.eng.Step() {
	}
	if diff := cmp.Diff(m.answer, []string{"one at 1: <nil>"}); diff != "" {
		t.Errorf("after the write (- got, + want):\n%s", diff)
	}
}

// What comes while a write is under way goes into the next one, together.
func TestGroupCommit(t *testing.T) {
	m := newMember(t, nil)
	m.publish("first")
	w, _ := m.eng.PollWrite()
	for n := range 1200 {
		m.publish(fmt.Sprint(n))
	}
	if _, ok := m.eng.PollWrite(); ok {
		t.Fatal("a second write was given while one is under way")
	}
	m.eng.HandleWritten(m.log.Append(w.State, w.Entries))
	m.feed()
	if n := m.write(); n != 3 {
		t.Errorf("1,200 publications went into the next write as %d entries, want 3 of at most %d", n, stream.MaxEntryItems)
	}
	m.settle()
	if len(m.answer) != 1201 {
		t.Errorf("%d of 1,201 were answered", len(m.answer))
	}
}

func TestInflightIsBounded(t *testing.T) {
	m := newMember(t, func(c *Config) { c.InflightBytes = 100 << 10 })
	for range 8 {
		m.publish(strings.Repeat("x", 50<<10))
	}
	if s := m.eng.Status(); s.WaitingBytes > 100<<10+stream.MaxEntryBytes {
		t.Errorf("%d bytes are in flight, at most %d and an entry may be", s.WaitingBytes, 100<<10)
	}
	m.settle()
	if len(m.answer) != 8 {
		t.Errorf("%d of 8 were answered", len(m.answer))
	}
}

func TestFailedWriteStops(t *testing.T) {
	m := newMember(t, nil)
	m.publish("lost")
	if _, ok := m.eng.PollWrite(); !ok {
		t.Fatal("nothing to write")
	}
	m.publish("too")
	disk := errors.New("disk on fire")
	m.eng.HandleWritten(disk)
	m.publish("late")
	if want := "lost at 0: " + broker.ErrStopped.Error(); len(m.answer) != 3 || m.answer[0] != want {
		t.Errorf("got %q, want three times %q", m.answer, want)
	}
	if _, ok := m.eng.PollWrite(); ok || m.eng.Step() || m.eng.Ready() {
		t.Error("it goes on after a failed write")
	}
	if !errors.Is(m.eng.Err(), disk) {
		t.Errorf("Err is %v, want the cause", m.eng.Err())
	}
}

// A log and a snapshot that do not fit are refused, where raft would panic.
func TestRefusesWhatDoesNotFit(t *testing.T) {
	m := newMember(t, nil)
	m.publish("one", "two")
	m.settle()
	conf := &pb.ConfState{Voters: []uint64{1}}
	last := m.log.Last()
	term, _ := m.log.Term(last)
	for name, tt := range map[string]struct {
		base  Mark
		state wal.State
		want  string
	}{
		"a snapshot behind the log":     {Mark{last + 1, term, conf}, m.log.State(), "before the snapshot"},
		"a snapshot of another term":    {Mark{last, term + 1, conf}, m.log.State(), "has term"},
		"a commit index behind the log": {Mark{0, 0, conf}, wal.State{Term: 1, Commit: last + 1}, "was committed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{Node: 1, Life: 2, Log: m.log, State: tt.state, Base: tt.base,
				Machine: broker.New(stream.NewLedger(1))}, m.now)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// Limits that no ledger takes must not get into the log.
func TestRefusesLimitsOutOfRange(t *testing.T) {
	m := newMember(t, nil)
	_, err := New(Config{Node: 1, Life: 2, Log: m.log, State: m.log.State(), Base: Mark{Conf: &pb.ConfState{Voters: []uint64{1}}},
		Machine: broker.New(stream.NewLedger(1)), Limits: stream.Limits{CacheBytes: 1}}, m.now)
	if err == nil || !strings.Contains(err.Error(), "cache bytes") {
		t.Errorf("got %v, want the limit that is out of range", err)
	}
}

// A life that was lived before has used its numbers up: the engine says so, instead
// of waiting for ever.
func TestStaleLifeIsTold(t *testing.T) {
	m := newMember(t, nil)
	m.publish("one")
	m.settle()
	again := &member{t: t, log: m.log, broker: broker.New(stream.NewLedger(1)), queue: NewQueue(1, 1, 1<<20), now: m.now}
	var err error
	again.eng, err = New(Config{Node: 1, Life: 1, Log: m.log, State: m.log.State(),
		Base: Mark{Conf: &pb.ConfState{Voters: []uint64{1}}}, Machine: again.broker}, again.now)
	if err != nil {
		t.Fatal(err)
	}
	again.settle()
	again.publish("two")
	again.settle()
	if err := again.eng.Err(); err == nil || !strings.Contains(err.Error(), "life 1") {
		t.Errorf("got %v, want an error that names the life", err)
	}
}

// A jump of the wall clock by a day leaves the cache alone.
func TestClockJumpKeepsTheCache(t *testing.T) {
	m := newMember(t, func(c *Config) { c.Limits = stream.Limits{CacheAge: time.Hour} })
	for n := range 100 {
		m.now.Mono += time.Second
		m.now.Wall += 1000
		switch n {
		case 30:
			m.now.Wall += 24 * 3600 * 1000
		case 60:
			m.now.Wall -= 48 * 3600 * 1000
		}
		m.eng.HandleTime(m.now)
		m.publish(fmt.Sprint(n))
		m.settle()
	}
	if got := m.broker.Tail(); got != 0 {
		t.Errorf("the cache lost everything up to index %d", got)
	}
	if gone := m.broker.Time() - 1_800_000_000_000; gone < 90_000 || gone > 110_000 {
		t.Errorf("after 100 s the log's clock has moved by %d ms", gone)
	}
}

// After a night without power the log's time goes on at the wall clock's, not where
// it stood in the evening.
func TestClockAfterAPause(t *testing.T) {
	m := newMember(t, nil)
	m.publish("evening")
	m.settle()
	evening := m.broker.Time()
	again := &member{t: t, log: m.log, broker: broker.New(stream.NewLedger(1)), queue: NewQueue(1, 2, 1<<20),
		now: Now{Wall: evening + 8*3600*1000}}
	var err error
	again.eng, err = New(Config{Node: 1, Life: 2, Log: m.log, State: m.log.State(),
		Base: Mark{Conf: &pb.ConfState{Voters: []uint64{1}}}, Machine: again.broker}, again.now)
	if err != nil {
		t.Fatal(err)
	}
	again.settle()
	again.publish("morning")
	again.settle()
	if got := again.broker.Time() - evening; got != 8*3600*1000 {
		t.Errorf("the morning's message comes %d ms after the evening's, want 8 hours", got)
	}
}

// A leader to which nobody says anything says what time it is when a session in the
// log ends by it, once.
func TestIdleLeaderSaysTheTimeWhenItIsDue(t *testing.T) {
	m := newMember(t, nil)
	will := stream.Publication{Subject: "/will", Payload: []byte("gone")}
	var fence stream.Fence
	say := func(op stream.SessionOp) {
		m.queue.Add(&stream.Item{Op: op}, func(at stream.Place, err error) {
			if fence = at.Fence; err != nil {
				t.Error(err)
			}
		}, m.now.Mono)
		m.feed()
		m.settle()
	}
	say(stream.AttachSession(&stream.Attachment{ID: "dev", Holder: 1, Expiry: 60, Will: &will, Delay: 10}))
	if _, ok := m.eng.Deadline(); ok {
		t.Error("a member of one wants to be woken with nothing due")
	}
	say(stream.DetachSession("dev", fence, 60, false, nil))
	for range 2 {
		woken := 0
		for before := m.broker.Due(); m.broker.Due() == before; woken++ {
			at, ok := m.eng.Deadline()
			if !ok || woken > 3 {
				t.Fatalf("due at %d, and woken %d times, wants to be woken: %v", before, woken, ok)
			}
			m.now.Wall += (at - m.now.Mono).Milliseconds()
			m.now.Mono = at
			m.eng.HandleTime(m.now)
			m.settle()
		}
	}
	if at, ok := m.eng.Deadline(); ok {
		t.Errorf("with nothing due it wants to be woken at %v", at)
	}
	if _, ok := m.broker.Session("dev"); ok || m.broker.Head() != 1 || m.now.Mono < time.Minute || m.now.Mono > 61*time.Second {
		t.Errorf("after %v the session is there: %v, and %d messages", m.now.Mono, ok, m.broker.Head())
	}
}
