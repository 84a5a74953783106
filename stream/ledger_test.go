package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var seedFlag = flag.Uint64("seed", 0, "replay the random tests from this seed")

// seeded gives a random source and prints its seed when the test fails.
func seeded(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with -seed=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// book drives a ledger by hand.
type book struct {
	*Ledger
	t      testing.TB
	number uint64
	now    int64
}

func newBook(t testing.TB, lim Limits) *book {
	b := &book{Ledger: NewLedger(0xc1), t: t, now: 1_000_000}
	b.entry(AppendLimits(nil, lim))
	return b
}

func (b *book) entry(data []byte) Applied {
	b.t.Helper()
	b.number++
	done, err := b.Apply(Entry{Number: b.number, Data: data})
	if err != nil {
		b.t.Fatal(err)
	}
	return done
}

func (b *book) publish(items ...Item) []Place {
	b.t.Helper()
	return b.entry(entryOf(Origin{}, b.now, items...)).Places
}

func say(s Subject, text string) Item {
	return Item{Publication: Publication{Subject: s, Payload: []byte(text)}}
}

func texts(ms []Message) (out []string) {
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%s %d %s", m.Subject, m.Position.Seq, m.Payload))
	}
	return out
}

func room(n int) []Message { return make([]Message, 0, n) }

func TestPlacesHaveNoHoles(t *testing.T) {
	b := newBook(t, Limits{})
	got := b.publish(say("/a", "1"), say("/b", "2"), say("/a", "3"))
	if got[0].Position.Seq != 1 || got[1].Position.Seq != 1 || got[2].Position.Seq != 2 {
		t.Errorf("seqs %v: each subject counts from 1", got)
	}
	if got[0].Index != 1 || got[1].Index != 2 || got[2].Index != 3 {
		t.Errorf("indexes %v: the log counts over all subjects", got)
	}
	if got[0].Position.Epoch != got[2].Position.Epoch || got[0].Position.Epoch == got[1].Position.Epoch {
		t.Errorf("epochs %v: one history each", got)
	}
	want := []string{"/a 1 1", "/b 1 2", "/a 2 3"}
	if d := cmp.Diff(want, texts(b.ReadLog(0, room(9)))); d != "" {
		t.Error(d)
	}
}

func TestEpochsOfClustersDiffer(t *testing.T) {
	seen := make(map[Epoch]bool)
	for c := ClusterID(1); c < 100; c++ {
		for i := Index(1); i < 100; i++ {
			if e := epochOf(c, i); seen[e] || e == 0 {
				t.Fatalf("epoch %v of cluster %d at %d was given before", e, c, i)
			} else {
				seen[e] = true
			}
		}
	}
}

func TestRepeatGetsTheFirstPlace(t *testing.T) {
	b := newBook(t, Limits{})
	num := func(n uint64, s Subject) Item { it := say(s, "x"); it.Publisher, it.Number = 9, n; return it }
	first := append([]Place(nil), b.publish(num(1, "/a"), num(2, "/b"), num(5, "/a"))...)
	head := b.Head()
	again := b.publish(num(2, "/b"), num(1, "/a"), num(5, "/a"), num(4, "/a"), num(6, "/a"))
	for i, want := range []Place{first[1], first[0], first[2]} {
		want.Outcome = Repeated
		if again[i] != want {
			t.Errorf("repeat %d got %+v, want the place of the first %+v", i, again[i], want)
		}
	}
	if again[3] != (Place{Outcome: PassedOver}) {
		t.Errorf("number 4 was left out before 5: got %+v, want that it was passed over", again[3])
	}
	if again[4].Outcome != Placed || b.Head() != head+1 {
		t.Errorf("number 6 is new: got %+v", again[4])
	}
	if got := b.publish(say("/a", "x"))[0]; got.Outcome != Placed {
		t.Errorf("nobody's items are not deduplicated: %+v", got)
	}
}

// A refusal whose answer was lost is asked for again. By then a later number may
// have its place, and "repeated" would confirm a message that is nowhere.
func TestWhatWasRefusedIsNotARepetition(t *testing.T) {
	b := newBook(t, Limits{Subjects: 1})
	num := func(n uint64, s Subject) Item { it := say(s, "x"); it.Publisher, it.Number = 9, n; return it }
	b.publish(say("/a", ""))
	got := append([]Place(nil), b.publish(num(1, "/new"), num(2, "/a"), num(3, "/new"), num(4, "/a"))...)
	if got[0].Outcome != TooManySubjects || got[2].Outcome != TooManySubjects {
		t.Fatalf("places %v: a second subject is refused", got)
	}
	for i, p := range b.publish(num(1, "/new"), num(2, "/a"), num(3, "/new"), num(4, "/a")) {
		want := Place{Position: got[i].Position, Index: got[i].Index, Outcome: Repeated}
		if got[i].Outcome != Placed {
			want = Place{Outcome: PassedOver}
		}
		if p != want {
			t.Errorf("number %d again: %+v, want %+v", i+1, p, want)
		}
	}
}

// TestRepeatedWindows has publishers take turns in repeating their windows, with
// numbers left out, and new messages and eviction in between.
func TestRepeatedWindows(t *testing.T) {
	rnd := seeded(t)
	const held = 500
	b := newBook(t, Limits{CacheMessages: held})
	type named struct {
		p PublisherID
		n uint64
	}
	first := map[named]Place{}
	last := map[PublisherID]uint64{}
	for range 3000 {
		p := PublisherID(rnd.Uint64N(5) + 1)
		it := say(Subject(fmt.Sprintf("/s/%d", rnd.IntN(3))), "x")
		it.Publisher, it.Number = p, last[p]+1+rnd.Uint64N(2)
		if last[p] > 0 && rnd.IntN(3) > 0 {
			it.Number = last[p] - min(last[p]-1, rnd.Uint64N(200))
		}
		got := b.publish(it)[0]
		at, known := first[named{p, it.Number}]
		switch {
		case it.Number > last[p]:
			if got.Outcome != Placed {
				t.Fatalf("number %d after %d: %+v", it.Number, last[p], got)
			}
			first[named{p, it.Number}], last[p] = got, it.Number
		case known && at.Index > b.Tail():
			if at.Outcome = Repeated; got != at {
				t.Fatalf("number %d was repeated: %+v, want the first place %+v", it.Number, got, at)
			}
		case known && got != (Place{Outcome: Repeated}):
			t.Fatalf("number %d: %+v, want a repeat without a place", it.Number, got)
		case !known && got != (Place{Outcome: Repeated}) && got != (Place{Outcome: PassedOver}):
			t.Fatalf("number %d was left out: %+v", it.Number, got)
		}
	}
}

func TestBatchesOfAnOriginApplyOnceAndInOrder(t *testing.T) {
	b := newBook(t, Limits{})
	at := func(life uint32, batch uint64) bool {
		return b.entry(entryOf(Origin{Node: 3, Life: life, Batch: batch}, b.now, say("/a", "x"))).Accepted
	}
	for i, step := range []struct {
		life  uint32
		batch uint64
		want  bool
		why   string
	}{
		{1, 2, false, "the first of a life is batch 1"},
		{1, 1, true, "first"},
		{1, 1, false, "applied before"},
		{1, 3, false, "2 is missing"},
		{1, 2, true, "next"},
		{2, 1, true, "a new life begins anew"},
		{1, 3, false, "the life before is over"},
		{2, 2, true, "next"},
	} {
		if got := at(step.life, step.batch); got != step.want {
			t.Errorf("step %d, life %d batch %d: accepted %v, want %v (%s)", i, step.life, step.batch, got, step.want, step.why)
		}
	}
	if b.Head() != 4 {
		t.Errorf("%d messages placed, want 4", b.Head())
	}
}

func TestReadSubjectAfter(t *testing.T) {
	b := newBook(t, Limits{CacheMessages: 6})
	for i := range 10 {
		b.publish(say("/a", fmt.Sprint(i)), say("/b", "-"))
	}
	// The cache holds the last six: /a 8, 9, 10 and /b 8, 9, 10.
	epoch := mustTop(t, b, "/a").Last.Epoch
	for _, tt := range []struct {
		name  string
		after Position
		want  []string
		err   error
	}{
		{"continues", Position{epoch, 8}, []string{"/a 9 8", "/a 10 9"}, nil},
		{"just held", Position{epoch, 7}, []string{"/a 8 7", "/a 9 8", "/a 10 9"}, nil},
		{"at the end", Position{epoch, 10}, nil, nil},
		{"one too old", Position{epoch, 6}, nil, ErrTrimmed},
		{"from the beginning", Position{}, nil, ErrTrimmed},
		{"another epoch", Position{epoch + 1, 8}, nil, ErrOther},
		{"ahead", Position{epoch, 11}, nil, ErrAhead},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := b.ReadSubject("/a", tt.after, 0, room(9))
			if !errors.Is(err, tt.err) || err == nil != (tt.err == nil) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, texts(got)); d != "" {
				t.Error(d)
			}
			var lost *LostError
			if errors.As(err, &lost) && (lost.First != Position{epoch, 8} || lost.Last != Position{epoch, 10}) {
				t.Errorf("it says first %v last %v, want 8 and 10", lost.First, lost.Last)
			}
		})
	}
	if _, err := b.ReadSubject("/new", Position{}, 0, room(1)); err != nil {
		t.Errorf("an unknown subject from its beginning: %v", err)
	}
	if _, err := b.ReadSubject("/new", Position{epoch, 1}, 0, room(1)); !errors.Is(err, ErrOther) {
		t.Errorf("an unknown subject after a position: %v, want ErrOther", err)
	}
	if got := texts(b.History("/a", 2, room(9))); len(got) != 2 || got[1] != "/a 10 9" {
		t.Errorf("history 2 = %q", got)
	}
	if got := b.History("/a", 99, room(9)); len(got) != 3 {
		t.Errorf("history 99 gave %d, the cache holds 3", len(got))
	}
}

func mustTop(t testing.TB, b *book, s Subject) Top {
	t.Helper()
	top, ok := b.Top(s)
	if !ok {
		t.Fatalf("%s is not known", s)
	}
	return top
}

func TestRetainedOutlivesTheCache(t *testing.T) {
	b := newBook(t, Limits{CacheMessages: 2})
	keep := say("/r", "kept")
	keep.Flags = Retain
	b.publish(keep)
	b.publish(say("/r", "passing"))
	for range 5 {
		b.publish(say("/x", "."))
	}
	if m, ok := b.Retained("/r"); !ok || string(m.Payload) != "kept" || m.Position.Seq != 1 || m.Index != 1 {
		t.Errorf("retained = %v %v: it outlives the cache with its place (S8)", m, ok)
	}
	if m, ok := b.Last("/r"); !ok || string(m.Payload) != "kept" {
		t.Errorf("last = %v %v: the newest is gone, the retained one is left", m, ok)
	}
	if m, _ := b.Last("/x"); m.Position.Seq != 5 {
		t.Errorf("last of /x = %v, want the newest", m)
	}
	clearing := Item{Publication: Publication{Subject: "/r", Flags: Retain}}
	if at := b.publish(clearing)[0]; at.Position.Seq != 3 {
		t.Errorf("clearing is a message like others: %v", at)
	}
	if _, ok := b.Retained("/r"); ok || b.Stats().RetainedBytes != 0 || b.Stats().Retained != 0 {
		t.Error("an empty retained payload must clear")
	}
}

func TestLimitsRefuse(t *testing.T) {
	b := newBook(t, Limits{Subjects: 2, RetainedBytes: 20})
	got := b.publish(say("/a", ""), say("/b", ""), say("/c", ""), say("/a", ""))
	if got[2].Outcome != TooManySubjects || got[3].Outcome != Placed {
		t.Errorf("places %v: a third subject is refused, a known one is not", got)
	}
	b.entry(AppendLimits(nil, Limits{SubjectBytes: 8, RetainedBytes: 20}))
	if got := b.publish(say("/d5678", ""), say("/d", ""), say("/e", ""), say("/f", "")); got[0].Outcome != TooManySubjects || got[1].Outcome != Placed || got[3].Outcome != TooManySubjects {
		t.Errorf("places %v: names of subjects are at most 8 bytes in all", got)
	}
	big := say("/a", "0123456789012345678")
	big.Flags = Retain
	if got := b.publish(big)[0]; got.Outcome != TooMuchRetained {
		t.Errorf("place %v, want TooMuchRetained", got)
	}
	if b.Head() != 5 {
		t.Errorf("head %d: what is refused takes no place", b.Head())
	}
}

// An entry of an older version lacks the limits that came later, and one of a newer
// version has some that this one cannot keep.
func TestLimitsOfOtherVersions(t *testing.T) {
	set := Limits{CacheBytes: 1 << 20, CacheAge: time.Hour}
	whole := AppendLimits(nil, set)
	l := NewLedger(1)
	if _, err := l.Apply(Entry{Number: 1, Data: whole[:len(whole)-8*(limitWords-3)]}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(set.WithDefaults(), l.Limits()); d != "" {
		t.Errorf("three limits, the others by default: %s", d)
	}
	for _, more := range []int{8, 1} {
		if _, err := l.Apply(Entry{Number: 2, Data: append(whole[:len(whole):len(whole)], make([]byte, more)...)}); !errors.Is(err, ErrEntry) {
			t.Errorf("%d bytes more: %v, want ErrEntry", more, err)
		}
	}
}

func TestSilentSubjectComesBackUnderANewEpoch(t *testing.T) {
	b := newBook(t, Limits{CacheAge: time.Minute, SubjectAge: time.Hour})
	keep := say("/kept", "r")
	keep.Flags = Retain
	first := b.publish(say("/gone", "1"), keep)[0].Position
	b.now += 2 * time.Hour.Milliseconds()
	for range 4 {
		b.publish(say("/tick", "."))
	}
	if _, ok := b.Top("/gone"); ok {
		t.Fatal("a subject silent for longer than SubjectAge is still known")
	}
	if _, ok := b.Top("/kept"); !ok {
		t.Error("a retained message keeps its subject")
	}
	if at := b.publish(say("/gone", "2"))[0].Position; at.Seq != 1 || at.Epoch == first.Epoch {
		t.Errorf("it came back at %v after %v: want a new epoch from 1 (S8)", at, first)
	}
	if _, err := b.ReadSubject("/gone", first, 0, room(1)); !errors.Is(err, ErrOther) {
		t.Errorf("reading after the old epoch: %v, want ErrOther", err)
	}
}

func TestTimeNeverRunsBack(t *testing.T) {
	b := newBook(t, Limits{})
	b.publish(say("/a", "1"))
	b.now -= 1000
	b.publish(say("/a", "2"))
	if ms := b.ReadLog(0, room(2)); ms[1].Time < ms[0].Time {
		t.Errorf("times %d, %d", ms[0].Time, ms[1].Time)
	}
}

// A leader stamps every entry, so every kind brings the time: followers keep their
// clocks by it.
func TestEveryKindOfEntryBringsTheTime(t *testing.T) {
	b := newBook(t, Limits{})
	limits := AppendLimits(nil, Limits{CacheMessages: 7})
	StampEntry(limits, b.now)
	b.entry(limits)
	if b.Time() != b.now {
		t.Errorf("a limits entry of %d leaves the time at %d", b.now, b.Time())
	}
	b.now += 1000
	b.entry(entryOf(Origin{Node: 3, Life: 1, Batch: 2}, b.now, say("/a", "x")))
	if b.Time() != b.now || b.Head() != 0 {
		t.Errorf("a batch that is not the next of its origin, of %d, leaves the time at %d and places %d", b.now, b.Time(), b.Head())
	}
}

// The log on disk goes back as far as the cache does. So what is logged and is no
// message makes the cache let go, too, as soon as it is as much as the cache may be.
func TestWhatIsNoMessageMovesTheFloor(t *testing.T) {
	b := newBook(t, Limits{CacheBytes: 1 << 20})
	again := say("/a", strings.Repeat("x", 50_000))
	again.Publisher, again.Number = 7, 1
	b.publish(again)
	logged := 0
	for b.Tail() == 0 {
		if got := b.publish(again)[0].Outcome; got != Repeated {
			t.Fatal(got)
		}
		if logged += again.EncodedLen(); logged > 2<<20 {
			t.Fatalf("%d bytes were logged behind entry %d, and the cache of 1 MiB holds it still", logged, b.Floor())
		}
	}
	if logged < 1<<20 {
		t.Errorf("the message was let go after %d bytes", logged)
	}
}

func TestMessagesOutliveEviction(t *testing.T) {
	b := newBook(t, Limits{CacheMessages: 1})
	b.publish(say("/a", "first"))
	held := b.ReadLog(0, room(1))[0]
	for i := range 10_000 {
		b.publish(say("/a", fmt.Sprint(i)))
	}
	if string(held.Payload) != "first" {
		t.Errorf("a held message became %q (S9)", held.Payload)
	}
}

// TestLedgersAgree runs random entries through a ledger, and again through ones
// that were restored from its snapshots: they end with equal bytes (S1), and
// with the cache of the first as soon as their snapshot may be a base.
func TestLedgersAgree(t *testing.T) {
	rnd := seeded(t)
	lim := Limits{CacheMessages: 200, CacheBytes: 64 << 10, CacheAge: time.Minute, SubjectAge: time.Hour, Subjects: 60, SubjectBytes: 250, Publishers: 16, RetainedBytes: 400}
	b := newBook(t, lim)
	var log []Entry
	type base struct {
		at   uint64
		snap []byte
	}
	bases := []base{}
	origins := map[NodeID]Origin{}
	for range 3000 {
		data := randomEntry(rnd, b, origins)
		b.entry(data)
		log = append(log, Entry{b.number, data})
		if rnd.IntN(100) == 0 {
			v := b.View()
			var buf bytes.Buffer
			if _, err := v.WriteTo(&buf); err != nil {
				t.Fatal(err)
			}
			bases = append(bases, base{v.Applied(), buf.Bytes()})
		}
	}
	want := snapshotOf(t, b.Ledger)
	for _, s := range bases {
		l, err := ReadSnapshot(bytes.NewReader(s.snap))
		if err != nil {
			t.Fatal(err)
		}
		if got := snapshotOf(t, l); !bytes.Equal(got, s.snap) {
			t.Fatalf("snapshot at %d: reading and writing it again changes it", s.at)
		}
		for _, e := range log {
			if e.Number > s.at {
				if _, err := l.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !bytes.Equal(snapshotOf(t, l), want) {
			t.Fatalf("a ledger restored at %d and replayed differs (S1)", s.at)
		}
		kept := 0
		l.Subjects("/#", 0, 1<<20, func(_ Subject, top Top) bool {
			if top.Retained {
				kept++
			}
			return true
		})
		if n := l.Stats().Retained; n != kept {
			t.Fatalf("%d retained messages are counted, %d are there", n, kept)
		}
		if s.at <= b.Floor() {
			all := int(b.Head())
			if d := cmp.Diff(b.ReadLog(b.Tail(), room(all)), l.ReadLog(b.Tail(), room(all))); d != "" || l.Floor() != b.Floor() {
				t.Fatalf("base %d, floor %d and %d: caches differ: %s", s.at, b.Floor(), l.Floor(), d)
			}
		}
	}
}

func snapshotOf(t testing.TB, l *Ledger) []byte {
	var buf bytes.Buffer
	if n, err := l.View().WriteTo(&buf); err != nil || n != int64(buf.Len()) {
		t.Fatal(n, err)
	}
	return buf.Bytes()
}

func randomEntry(rnd *rand.Rand, b *book, origins map[NodeID]Origin) []byte {
	b.now += rnd.Int64N(3000)
	if rnd.IntN(400) == 0 {
		b.now += rnd.Int64N(2 * time.Hour.Milliseconds())
	}
	var batch Batch
	o := origins[NodeID(rnd.Uint64N(3)+1)]
	o.Node, o.Life = NodeID(rnd.Uint64N(3)+1), max(o.Life, 1)
	if o = origins[o.Node]; rnd.IntN(10) > 0 {
		o.Batch++
	}
	o.Node, o.Life = max(o.Node, 1), max(o.Life, 1)
	origins[o.Node] = o
	batch.Reset(o)
	for range rnd.IntN(8) {
		if rnd.IntN(4) == 0 {
			it := randomSessionItem(rnd, b)
			batch.Add(&it)
			continue
		}
		it := say(Subject(fmt.Sprintf("/s/%d", rnd.IntN(80))), fmt.Sprint(rnd.Uint32()))
		if rnd.IntN(3) == 0 {
			it.Publisher, it.Number = PublisherID(rnd.Uint64N(30)+1), rnd.Uint64N(400)
		}
		if rnd.IntN(5) == 0 {
			it.Flags, it.Expiry = Retain, uint32(rnd.IntN(100))
			if rnd.IntN(3) == 0 {
				it.Payload = nil
			}
		}
		batch.Add(&it)
	}
	StampEntry(batch.Entry(), b.now)
	return batch.Entry()
}

// TestReadsAgreeWithAModel checks every way of reading against a plain list.
func TestReadsAgreeWithAModel(t *testing.T) {
	rnd := seeded(t)
	b := newBook(t, Limits{CacheMessages: 150})
	var model []Message
	for range 400 {
		var items []Item
		for range rnd.IntN(4) + 1 {
			items = append(items, say(Subject(fmt.Sprintf("/s/%d", rnd.IntN(12))), fmt.Sprint(rnd.Uint32())))
		}
		for i, at := range b.publish(items...) {
			model = append(model, Message{Publication: items[i].Publication, Position: at.Position, Index: at.Index})
		}
		held := model[max(0, len(model)-150):]
		s := Subject(fmt.Sprintf("/s/%d", rnd.IntN(12)))
		var want []Message
		for _, m := range held {
			if m.Subject == s {
				want = append(want, m)
			}
		}
		if len(want) == 0 {
			continue
		}
		k := rnd.IntN(len(want))
		after := want[k].Position
		after.Seq-- // so that want[k] is the first
		hint := Index(0)
		if k > 0 && rnd.IntN(2) == 0 {
			hint = want[k-1].Index
		}
		most := rnd.IntN(20) + 1
		got, err := b.ReadSubject(s, after, hint, room(most))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(texts(want[k:min(k+most, len(want))]), texts(got)); d != "" {
			t.Fatal(d)
		}
		if top := mustTop(t, b, s); top.First != want[0].Position.Seq || top.Last != want[len(want)-1].Position {
			t.Fatalf("top %+v, want %v to %v", top, want[0].Position, want[len(want)-1].Position)
		}
		if d := cmp.Diff(texts(held), texts(b.ReadLog(b.Tail(), room(1000)))); d != "" {
			t.Fatal(d)
		}
	}
}

// That a snapshot is damaged, its bytes do not tell by themselves: but one that is
// cut short is refused, and none makes the ledger panic.
func TestDamagedSnapshotDoesNoHarm(t *testing.T) {
	b := newBook(t, Limits{})
	keep := say("/r", "kept")
	keep.Flags, keep.Publisher, keep.Number = Retain, 5, 1
	b.publish(keep, say("/a", "1"))
	good := snapshotOf(t, b.Ledger)
	for n := range good {
		if _, err := ReadSnapshot(bytes.NewReader(good[:n])); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut at %d of %d: %v", n, len(good), err)
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[n] ^= 1 << bit
			readAndUse(t, bad)
		}
	}
}

// readAndUse reads a snapshot of any bytes. What it gives is a ledger like others.
func readAndUse(t *testing.T, data []byte) {
	l, err := ReadSnapshot(bytes.NewReader(data))
	if err != nil {
		if !errors.Is(err, ErrSnapshot) {
			t.Fatalf("it fails with %v, want ErrSnapshot", err)
		}
		return
	}
	snap := snapshotOf(t, l)
	if again, err := ReadSnapshot(bytes.NewReader(snap)); err != nil || !bytes.Equal(snapshotOf(t, again), snap) {
		t.Fatalf("it was read, but not what was written of it: %v", err)
	}
	names := []Item{{Publication: Publication{Subject: "/a", Payload: []byte("x")}, Publisher: 5, Number: 2}}
	for s := range l.ids {
		if s[0] == '/' && len(s) < 100 && len(names) < 100 {
			names = append(names, Item{Publication: Publication{Subject: s, Payload: []byte("x"), Flags: Retain}})
		}
	}
	for range 3 {
		if _, err := l.Apply(Entry{Number: l.Applied() + 1, Data: entryOf(Origin{}, 1<<40, names...)}); err != nil {
			return // the number of the last entry was the last there is
		}
	}
	for s := range l.ids {
		l.Retained(s)
		l.History(s, 9, room(9))
	}
	l.ReadLog(l.Tail(), room(99))
}

func TestSnapshotOfAnotherVersion(t *testing.T) {
	limits := len(snapshotMagic) + 1 + 1 // where the number of limits is, behind a short cluster
	good := snapshotOf(t, NewLedger(1))
	if good[limits] != limitWords {
		t.Fatalf("%d limits, want %d", good[limits], limitWords)
	}
	older := bytes.Clone(good)
	older[limits] = 0
	at := limits + 1
	for range limitWords {
		_, n := binary.Uvarint(good[at:])
		at += n
	}
	older = append(older[:limits+1], good[at:]...)
	if l, err := ReadSnapshot(bytes.NewReader(older)); err != nil || l.Limits() != (Limits{}).WithDefaults() {
		t.Errorf("one without limits: %v", err)
	}
	for _, at := range []int{limits, len(snapshotMagic)} {
		newer := bytes.Clone(good)
		newer[at]++
		if _, err := ReadSnapshot(bytes.NewReader(newer)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("byte %d one more: %v, want ErrSnapshot", at, err)
		}
	}
}

// An error of the reader is told as it is.
func TestSnapshotThatCannotBeRead(t *testing.T) {
	b := newBook(t, Limits{})
	b.publish(say("/a", "1"))
	good := snapshotOf(t, b.Ledger)
	broken := errors.New("broken")
	for n := range good {
		r := io.MultiReader(bytes.NewReader(good[:n]), iotest.ErrReader(broken))
		if _, err := ReadSnapshot(r); !errors.Is(err, broken) || errors.Is(err, ErrSnapshot) {
			t.Fatalf("broken at %d: %v", n, err)
		}
	}
}

func FuzzReadSnapshot(f *testing.F) {
	b := newBook(f, Limits{})
	b.publish(someItems...)
	f.Add(snapshotOf(f, b.Ledger))
	f.Fuzz(readAndUse)
}

func TestSubjectsPageThrough(t *testing.T) {
	b := newBook(t, Limits{})
	for i := range 1000 {
		b.publish(say(Subject(fmt.Sprintf("/d/%d/%d", i%2, i)), "x"))
	}
	seen := 0
	for from, more := SubjectID(0), true; more; {
		from, more = b.Subjects("/d/1/+", from, 7, func(s Subject, top Top) bool { seen++; return true })
	}
	if seen != 500 {
		t.Errorf("saw %d subjects, want 500", seen)
	}
	exact := 0
	b.Subjects("/d/1/1", 0, 1, func(Subject, Top) bool { exact++; return true })
	if exact != 1 {
		t.Errorf("an exact filter gave %d subjects", exact)
	}
}

func TestTracker(t *testing.T) {
	var tr Tracker
	for i, step := range []struct {
		at   Position
		want Verdict
	}{
		{Position{1, 1}, Deliver}, {Position{1, 2}, Deliver}, {Position{1, 2}, Duplicate}, {Position{1, 4}, Gap},
		{Position{1, 3}, Deliver}, {Position{2, 4}, Other}, {Position{1, 4}, Deliver},
	} {
		if got := tr.Observe(step.at); got != step.want {
			t.Errorf("step %d: %v at %v, want %v", i, got, step.at, step.want)
		}
	}
	tr.Reset(Position{2, 9})
	if got := tr.Observe(Position{2, 10}); got != Deliver {
		t.Errorf("after a reset: %v", got)
	}
}
