package stream

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var someItems = []Item{
	{Publication: Publication{Subject: "/a", Payload: []byte("x")}},
	{Publication: Publication{Subject: "/a/b", Flags: Retain}},
	{Publication: Publication{Subject: "/c", Payload: []byte("y"), Props: []byte{1, 2}, Expiry: 300, Flags: Flags(0).WithQoS(2)}, Publisher: 7, Number: 1 << 40},
	{Publication: Publication{Subject: "/d"}, Publisher: 1<<64 - 1},
}

func entryOf(o Origin, now int64, items ...Item) []byte {
	var b Batch
	b.Reset(o)
	for i := range items {
		if !b.Add(&items[i]) {
			panic("does not fit into one entry")
		}
	}
	StampEntry(b.Entry(), now)
	return b.Entry()
}

func (it rawItem) item() Item {
	return Item{
		Publication: Publication{Subject: Subject(it.subject), Payload: it.payload, Props: it.props, Expiry: it.expiry, Flags: it.flags},
		Publisher:   it.publisher, Number: it.number,
	}
}

func TestItemRoundTrip(t *testing.T) {
	for _, want := range someItems {
		b := want.appendTo(nil)
		if len(b) != want.EncodedLen() {
			t.Errorf("EncodedLen = %d, took %d", want.EncodedLen(), len(b))
		}
		raw, err := parseItem(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, raw.item(), cmp.Comparer(bytes.Equal)); d != "" {
			t.Error(d)
		}
	}
}

func TestEntryCutShortChangesNothing(t *testing.T) {
	data := entryOf(Origin{Node: 1, Life: 1, Batch: 1}, 1000, someItems...)
	l := NewLedger(1)
	for n := 1; n < len(data); n++ {
		if _, err := l.Apply(Entry{Number: 1, Data: data[:n]}); err == nil {
			t.Fatalf("an entry cut at byte %d of %d was applied", n, len(data))
		}
	}
	if _, err := l.Apply(Entry{Number: 1, Data: append(data[:len(data):len(data)], 0)}); err == nil {
		t.Error("an entry with a byte behind its last item was applied")
	}
	if l.Head() != 0 || l.Applied() != 0 || l.Time() != 0 {
		t.Errorf("refused entries left traces: head %d, applied %d, time %d", l.Head(), l.Applied(), l.Time())
	}
	if done, err := l.Apply(Entry{Number: 1, Data: data}); err != nil || len(done.Places) != len(someItems) {
		t.Errorf("the whole entry: %v, %v", done, err)
	}
}

func TestEntryOfNewerVersionStops(t *testing.T) {
	const flags = entryHeader + 1 // behind the length of the first item
	for at, v := range map[int]byte{0: entryVersion + 1, 1: 99, flags: 1 << 3} {
		data := entryOf(Origin{}, 1, someItems...)
		data[at] = v
		if _, err := NewLedger(1).Apply(Entry{Number: 1, Data: data}); !errors.Is(err, ErrEntry) {
			t.Errorf("byte %d = %d: %v, want ErrEntry", at, v, err)
		}
	}
}

// Flags that a member does not know may change what the item does, so it must not
// place the item as if they were not there (S1).
func TestFlagsThatAreNotKnownStop(t *testing.T) {
	it := Item{Publication: Publication{Subject: "/a"}}
	for _, bad := range []Flags{1 << 3, 1 << 4, qosLow | qosHigh, Retain | 1<<4} {
		data := it.appendTo(nil)
		data[0] |= byte(bad)
		if _, err := parseItem(data); !errors.Is(err, ErrEntry) {
			t.Errorf("flags %08b: %v, want ErrEntry", bad, err)
		}
	}
}

// What a publisher hands in by mistake must not stop the members.
func TestFlagsThatAreNotKnownAreNotWritten(t *testing.T) {
	it := Item{Publication: Publication{Subject: "/a", Flags: 0xff}}
	raw, err := parseItem(it.appendTo(nil))
	if want := Retain.WithQoS(2); err != nil || raw.flags != want {
		t.Errorf("flags %08b, %v, want %08b", raw.flags, err, want)
	}
}

func TestBatchClosesAtItsLimits(t *testing.T) {
	var b Batch
	b.Reset(Origin{})
	big := Item{Publication: Publication{Subject: "/big", Payload: make([]byte, 2*MaxEntryBytes)}}
	small := Item{Publication: Publication{Subject: "/s"}}
	if !b.Add(&big) {
		t.Error("an empty batch must have room for anything")
	}
	if b.Add(&small) {
		t.Error("a batch beyond its bytes took one more")
	}
	b.Reset(Origin{})
	for b.Add(&small) {
	}
	if b.Len() != MaxEntryItems {
		t.Errorf("a batch closed at %d items, want %d", b.Len(), MaxEntryItems)
	}
}

func FuzzApply(f *testing.F) {
	f.Add(entryOf(Origin{Node: 1, Life: 1, Batch: 1}, 5, someItems...))
	f.Add(AppendLimits(nil, Limits{}))
	f.Add(entryOf(Origin{}, 5, op(AttachSession(&Attachment{ID: "dev", Expiry: 9, Will: willOf("/w", "x")})),
		op(SubscribeSession("dev", 1, []SessionFilter{{Name: "a"}})), op(DetachSession("dev", 1, 0, false, nil))))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := NewLedger(1)
		before := l.Head()
		done, err := l.Apply(Entry{Number: 1, Data: data})
		if err != nil && (l.Head() != before || l.Applied() != 0) {
			t.Fatalf("a refused entry changed the ledger: %v", err)
		}
		if err == nil && len(data) > 0 && done.Accepted {
			for m := range l.Head() {
				l.message(m + 1)
			}
		}
	})
}
