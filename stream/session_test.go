package stream

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func op(o SessionOp) Item { return Item{Op: o} }

// attachOf attaches a session to member 1, and gives its fence.
func (b *book) attachOf(a Attachment) (f Fence, resumed bool) {
	b.t.Helper()
	if a.Holder == 0 {
		a.Holder = 1
	}
	p := b.publish(op(AttachSession(&a)))[0]
	if p.Outcome != Placed && p.Outcome != Resumed || p.Fence == 0 {
		b.t.Fatalf("attach: %+v", p)
	}
	return p.Fence, p.Outcome == Resumed
}

func (b *book) do(o SessionOp) Outcome {
	b.t.Helper()
	return b.publish(op(o))[0].Outcome
}

// later lets log time go on, and applies an entry with nothing in it.
func (b *book) later(d time.Duration) {
	b.t.Helper()
	b.now += d.Milliseconds()
	b.publish()
}

func (b *book) has(id string) bool { _, ok := b.Session(id); return ok }

func willOf(s Subject, text string) *Publication {
	return &Publication{Subject: s, Payload: []byte(text)}
}

func TestSessionIsTakenOver(t *testing.T) {
	b := newBook(t, Limits{})
	first, resumed := b.attachOf(Attachment{ID: "dev", Expiry: 60})
	if resumed {
		t.Error("a session that was never there was resumed")
	}
	b.publish(say("/a", "1"), say("/a", "2"))
	if got := b.do(SubscribeSession("dev", first, []SessionFilter{{Name: "z", Options: 7}, {Name: "a", Options: 1}, {Name: "z", Options: 8}})); got != Placed {
		t.Fatal(got)
	}
	b.publish(say("/a", "3"))
	b.do(SubscribeSession("dev", first, []SessionFilter{{Name: "a", Options: 2}, {Name: "m", Options: 3}}))
	b.do(SaveSession("dev", first, []byte("so far")))

	second, resumed := b.attachOf(Attachment{ID: "dev", Holder: 2, Expiry: 90})
	if !resumed || second <= first {
		t.Errorf("resumed %v under fence %d after %d", resumed, second, first)
	}
	for name, o := range map[string]SessionOp{
		"save": SaveSession("dev", first, []byte("too late")), "detach": DetachSession("dev", first, 0, true, nil),
		"subscribe": SubscribeSession("dev", first, []SessionFilter{{Name: "q"}}), "unsubscribe": UnsubscribeSession("dev", first, []string{"a"}),
		"release": ReleaseSession("dev", first, 1),
	} {
		if got := b.do(o); got != Fenced {
			t.Errorf("%s of the one that was before: %v, want fenced (S10)", name, got)
		}
	}
	b.do(UnsubscribeSession("dev", second, []string{"z", "never"}))
	got, _ := b.Session("dev")
	want := Session{ID: "dev", Fence: second, Holder: 2, Expiry: 90, State: []byte("so far"),
		Filters: []SessionFilter{{"a", 2, 2}, {"m", 3, 3}}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Session{})); d != "" {
		t.Error("the session that goes on:", d)
	}

	if _, resumed := b.attachOf(Attachment{ID: "dev", Clean: true}); resumed {
		t.Error("a clean session was resumed")
	}
	if s, _ := b.Session("dev"); len(s.Filters)+len(s.State) > 0 {
		t.Errorf("a clean session has %v", s)
	}
}

func TestSessionEndsByLogTime(t *testing.T) {
	b := newBook(t, Limits{})
	for _, id := range []string{"minute", "ever", "never"} {
		f, _ := b.attachOf(Attachment{ID: id})
		b.do(DetachSession(id, f, map[string]uint32{"minute": 60, "ever": ForEver}[id], true, []byte("bye")))
		if got := b.do(SaveSession(id, f, nil)); got != Fenced {
			t.Errorf("%s: a save that came after the end: %v", id, got)
		}
	}
	if b.has("never") {
		t.Error("a session without expiry outlived its connection")
	}
	if got, want := b.Due(), b.now+60_000; got != want {
		t.Errorf("due at %d, want %d", got, want)
	}
	b.later(59 * time.Second)
	if s, _ := b.Session("minute"); string(s.State) != "bye" || s.Holder != 0 {
		t.Errorf("before its end the session is %+v", s)
	}
	b.later(time.Second)
	b.later(1000 * 24 * time.Hour)
	if b.has("minute") || !b.has("ever") || b.Due() != 0 {
		t.Error("a session ends at its time, and one that is for ever does not")
	}
	if st := b.Stats(); st.Sessions != 1 {
		t.Errorf("%d sessions", st.Sessions)
	}
	b.do(EndSession("ever"))
	b.do(EndSession("ever"))
	if st := b.Stats(); st.Sessions != 0 || st.SessionBytes != 0 {
		t.Errorf("nothing is left, but it counts as %+v", st)
	}
}

// A will goes out once, at its moment, or not at all (S12).
func TestWill(t *testing.T) {
	for name, c := range map[string]struct {
		expiry, delay uint32
		story         func(b *book, f Fence)
		after         time.Duration // from attaching to the will; 0: none
	}{
		"the connection breaks":   {0, 0, func(b *book, f Fence) { b.later(time.Second); b.do(DetachSession("dev", f, 0, false, nil)) }, time.Second},
		"the client says goodbye": {0, 0, func(b *book, f Fence) { b.do(DetachSession("dev", f, 0, true, nil)) }, 0},
		"delayed":                 {60, 10, func(b *book, f Fence) { b.do(DetachSession("dev", f, 60, false, nil)) }, 10 * time.Second},
		"not beyond the session":  {5, 10, func(b *book, f Fence) { b.do(DetachSession("dev", f, 5, false, nil)) }, 5 * time.Second},
		"no session, no delay":    {0, 10, func(b *book, f Fence) { b.do(DetachSession("dev", f, 0, false, nil)) }, 1},
		"the client is back in time": {60, 10, func(b *book, f Fence) {
			b.do(DetachSession("dev", f, 60, false, nil))
			b.later(9 * time.Second)
			b.attachOf(Attachment{ID: "dev", Expiry: 60})
		}, 0},
		"taken over without delay": {60, 0, func(b *book, f Fence) { b.attachOf(Attachment{ID: "dev", Expiry: 60}) }, 1},
		"taken over with delay":    {60, 10, func(b *book, f Fence) { b.attachOf(Attachment{ID: "dev", Expiry: 60}) }, 0},
		"begun anew while delayed": {60, 10, func(b *book, f Fence) {
			b.do(DetachSession("dev", f, 60, false, nil))
			b.later(time.Second)
			b.attachOf(Attachment{ID: "dev", Clean: true})
		}, time.Second},
		"the member is gone":         {60, 10, func(b *book, f Fence) { b.do(SessionsGone(1)) }, 10 * time.Second},
		"another member is gone":     {60, 10, func(b *book, f Fence) { b.do(SessionsGone(2)) }, 0},
		"ended while it was delayed": {60, 10, func(b *book, f Fence) { b.do(DetachSession("dev", f, 60, false, nil)); b.do(EndSession("dev")) }, 1},
		"gone twice":                 {60, 0, func(b *book, f Fence) { b.do(SessionsGone(1)); b.do(DetachSession("dev", f, 60, false, nil)) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, Limits{})
			begin := b.now
			f, _ := b.attachOf(Attachment{ID: "dev", Expiry: c.expiry, Will: willOf("/will", "gone"), Origin: 9, Delay: c.delay})
			c.story(b, f)
			for range 300 {
				b.later(time.Second)
			}
			got := b.ReadLog(0, room(10))
			switch {
			case c.after == 0 && len(got) > 0:
				t.Errorf("a will went out: %v", texts(got))
			case c.after > 0 && len(got) != 1:
				t.Errorf("%d wills went out, want one", len(got))
			case c.after > 0 && (got[0].Time != begin+c.after.Milliseconds() || got[0].Publisher != 9 || string(got[0].Payload) != "gone"):
				t.Errorf("after %d ms: %+v", got[0].Time-begin, got[0])
			}
		})
	}
}

// A number that a session gives is placed once until it is released (S11).
func TestSessionNumbersPublications(t *testing.T) {
	b := newBook(t, Limits{})
	first, _ := b.attachOf(Attachment{ID: "dev", Expiry: 60})
	publish := func(f Fence, n uint16, text string) Outcome {
		it := say("/a", text)
		it.Session, it.Fence, it.Packet = "dev", f, n
		return b.publish(it)[0].Outcome
	}
	for _, step := range []struct {
		got, want Outcome
	}{
		{publish(first, 7, "one"), Placed},
		{publish(first, 7, "one"), Repeated},
		{publish(first, 3, "two"), Placed},
		{b.do(ReleaseSession("dev", first, 7)), Placed},
		{b.do(ReleaseSession("dev", first, 7)), NoSuchNumber},
		{publish(first, 7, "three"), Placed},
		{publish(first, 3, "two"), Repeated},
	} {
		if step.got != step.want {
			t.Errorf("%v, want %v", step.got, step.want)
		}
	}
	second, _ := b.attachOf(Attachment{ID: "dev", Expiry: 60})
	if got := publish(first, 9, "old"); got != Fenced {
		t.Errorf("from the connection before: %v", got)
	}
	if got := publish(second, 3, "two"); got != Repeated {
		t.Errorf("again on the next connection: %v", got)
	}
	if s, _ := b.Session("dev"); !cmp.Equal(s.Pending, []uint16{3, 7}) {
		t.Errorf("pending: %v", s.Pending)
	}
	if d := cmp.Diff([]string{"/a 1 one", "/a 2 two", "/a 3 three"}, texts(b.ReadLog(0, room(9)))); d != "" {
		t.Error(d)
	}
}

func TestSessionLimits(t *testing.T) {
	b := newBook(t, Limits{Sessions: 2, SessionBytes: 1000})
	f, _ := b.attachOf(Attachment{ID: "a", Expiry: 1})
	b.attachOf(Attachment{ID: "b", Expiry: 1})
	if got := b.do(AttachSession(&Attachment{ID: "c", Holder: 1})); got != TooManySessions {
		t.Errorf("the third of two: %v", got)
	}
	if got := b.do(SubscribeSession("a", f, []SessionFilter{{Name: string(make([]byte, 700))}})); got != TooManySessions {
		t.Errorf("filters beyond the bytes: %v", got)
	}
	if s, _ := b.Session("a"); len(s.Filters) != 0 {
		t.Error("refused filters are there")
	}
	if got := b.do(SubscribeSession("a", f, []SessionFilter{{Name: "short"}})); got != Placed {
		t.Error(got)
	}
}

func TestSessionsPageThrough(t *testing.T) {
	b := newBook(t, Limits{})
	for i := range 10 {
		b.attachOf(Attachment{ID: fmt.Sprint(i), Expiry: 1})
	}
	b.do(EndSession("4"))
	seen := 0
	for next, more := uint32(0), true; more; {
		next, more = b.Sessions(next, 3, func(s Session) bool { seen++; return true })
	}
	if seen != 9 {
		t.Errorf("%d sessions seen, want 9", seen)
	}
}

// What is cut or unknown is an error, and changes nothing.
func TestUnreadableSessionItems(t *testing.T) {
	it := say("/w", "x")
	will := it.Publication
	for _, o := range []SessionOp{
		AttachSession(&Attachment{ID: "dev", Holder: 3, Clean: true, Expiry: 300, Will: &will, Origin: 4, Delay: 200}),
		SubscribeSession("dev", 300, []SessionFilter{{Name: "abc", Options: 5000}, {Name: "d"}}),
		UnsubscribeSession("dev", 300, []string{"abc", "d"}),
		ReleaseSession("dev", 300, 5), EndSession("dev"), SessionsGone(3),
	} {
		if _, err := parseOp(o); err != nil {
			t.Errorf("% x: %v", []byte(o), err)
		}
		for n := 1; n < len(o); n++ {
			if _, err := parseOp(o[:n]); !errors.Is(err, ErrEntry) {
				t.Errorf("% x cut to %d: %v", []byte(o), n, err)
			}
		}
		if _, err := parseOp(append(bytes.Clone(o), 0)); !errors.Is(err, ErrEntry) {
			t.Errorf("% x with a byte more: %v", []byte(o), err)
		}
	}
	numbered := Item{Publication: will, Publisher: 1, Number: 2}
	for name, o := range map[string]SessionOp{
		"no name":         EndSession(""),
		"a newer kind":    newOp(99, "dev", 0),
		"an endless name": EndSession(string(make([]byte, MaxSessionID+1))),
		"a huge state":    SaveSession("dev", 1, make([]byte, MaxSessionState+1)),
		"a will that is numbered": func() SessionOp {
			o := AttachSession(&Attachment{ID: "dev"})
			o = append(o[:len(o)-1], byte(numbered.EncodedLen()))
			return numbered.appendTo(o)
		}(),
	} {
		b := newBook(t, Limits{})
		_, err := b.Apply(Entry{Number: 2, Data: entryOf(Origin{}, b.now, op(o))})
		if !errors.Is(err, ErrEntry) || b.Applied() != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// randomSessionItem gives something that happens to one of a few sessions, mostly
// under the fence that it has.
func randomSessionItem(rnd *rand.Rand, b *book) Item {
	id := fmt.Sprintf("dev%d", rnd.IntN(6))
	s, _ := b.Session(id)
	f := s.Fence
	if rnd.IntN(8) == 0 {
		f = Fence(rnd.Uint64N(20))
	}
	name := func() string { return fmt.Sprintf("f%d", rnd.IntN(9)) }
	switch rnd.IntN(10) {
	case 0, 1:
		a := Attachment{ID: id, Holder: NodeID(rnd.Uint64N(3) + 1), Clean: rnd.IntN(4) == 0, Expiry: uint32(rnd.IntN(20)), Delay: uint32(rnd.IntN(9))}
		if rnd.IntN(2) == 0 {
			a.Will, a.Origin = willOf(Subject("/will/"+id), "w"), 5
		}
		return op(AttachSession(&a))
	case 2:
		return op(DetachSession(id, f, uint32(rnd.IntN(20)), rnd.IntN(2) == 0, []byte(name())))
	case 3:
		return op(SaveSession(id, f, []byte(name())))
	case 4:
		return op(SubscribeSession(id, f, []SessionFilter{{Name: name(), Options: rnd.Uint64N(9)}, {Name: name()}}))
	case 5:
		return op(UnsubscribeSession(id, f, []string{name(), name()}))
	case 6:
		return op(ReleaseSession(id, f, uint16(rnd.IntN(5))))
	case 7:
		if rnd.IntN(10) == 0 {
			return op(SessionsGone(NodeID(rnd.Uint64N(3) + 1)))
		}
		return op(EndSession(id))
	}
	it := say("/q2", "x")
	it.Session, it.Fence, it.Packet = id, f, uint16(rnd.IntN(5))
	return it
}

// BenchmarkSessions is what it costs to save the state of one of 100,000 sessions.
func BenchmarkSessions(b *testing.B) {
	bk := newBook(b, Limits{})
	fences := make([]Fence, 100_000)
	for i := range fences {
		fences[i], _ = bk.attachOf(Attachment{ID: fmt.Sprintf("device-%06d", i), Expiry: 3600})
	}
	state := make([]byte, 24)
	b.ResetTimer()
	for n := 0; n < b.N; {
		var items []Item
		for ; n < b.N && len(items) < MaxEntryItems; n++ {
			i := n % len(fences)
			items = append(items, op(SaveSession(fmt.Sprintf("device-%06d", i), fences[i], state)))
		}
		b.StopTimer()
		data := entryOf(Origin{}, bk.now, items...)
		b.StartTimer()
		bk.entry(data)
	}
}

// A session that is there comes back also where the limits are reached, and what it
// saves stays within them.
func TestSessionComesBackAtTheLimit(t *testing.T) {
	b := newBook(t, Limits{SessionBytes: 1000})
	var fences []Fence
	for i := 0; ; i++ {
		p := b.publish(op(AttachSession(&Attachment{ID: fmt.Sprint(i), Holder: 1, Expiry: 100})))[0]
		if p.Outcome == TooManySessions {
			break
		}
		fences = append(fences, p.Fence)
	}
	if got := b.do(SaveSession("0", fences[0], make([]byte, 500))); got != TooManySessions {
		t.Errorf("a save beyond the limit: %v", got)
	}
	for i := range fences {
		if _, resumed := b.attachOf(Attachment{ID: fmt.Sprint(i), Expiry: 100}); !resumed {
			t.Errorf("session %d was not there", i)
		}
	}
	if got := b.do(AttachSession(&Attachment{ID: "0", Holder: 1, Expiry: 100, Will: willOf("/w", string(make([]byte, 2000)))})); got != TooManySessions {
		t.Errorf("a will beyond the limit: %v", got)
	}
	if s, ok := b.Session("0"); !ok || s.Holder == 0 {
		t.Error("the refusal has changed the session")
	}
}
