package wal

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// closedLog is the files of a log of several segments that was closed in peace.
func closedLog(tb testing.TB) (files map[string][]byte, want model) {
	d := NewMemDir(rand.NewPCG(4, 4))
	l, err := Create(d, small)
	if err != nil {
		tb.Fatal(err)
	}
	step := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	for i := uint64(1); i < 200; i += 4 {
		es := ents(i, i+4, 1+i/50)
		st := &State{Term: 1 + i/50, Commit: i}
		step(l.Append(st, es))
		want = want.append(st, es)
	}
	es := ents(150, 160, 9)
	step(l.Append(nil, es))
	want = want.append(nil, es)
	step(l.Compact(40))
	want = want.compact(40)
	step(l.Close())
	files = make(map[string][]byte)
	names, _ := d.List()
	for _, n := range names {
		files[n] = d.Bytes(n)
	}
	if len(files) < 5 {
		tb.Fatalf("%d files are too few", len(files))
	}
	return files, want
}

// FuzzDamage damages a closed log. It is refused, or holds all that was confirmed:
// never less, never something else. Each four bytes of the input are one damage:
// which file, where, and what.
func FuzzDamage(f *testing.F) {
	files, want := closedLog(f)
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	f.Add([]byte{0, 0, 0, 1})
	f.Add([]byte{1, 2, 3, 0xff})
	f.Add([]byte{2, 1, 0, 0xfe, 3, 4, 4, 4})
	f.Add([]byte{0, 0, 0, 0xfe, 0, 2, 0, 0xfe})
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		b := make([]byte, 4*(1+r.IntN(4)))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := NewMemDir(rand.NewPCG(1, 1))
		for _, n := range names {
			d.SetBytes(n, files[n])
		}
		for ; len(in) >= 4; in = in[4:] {
			name := names[int(in[0])%len(names)]
			b := d.Bytes(name)
			off := int(in[1])<<8 | int(in[2])
			if len(b) == 0 {
				continue
			}
			off %= len(b)
			switch in[3] {
			case 0xff:
				b = b[:off]
			case 0xfe:
				clear(b[off:min(off+512, len(b))])
			case 0xfd:
				clear(b[off&^4095 : min(off&^4095+4096, len(b))])
			case 0xfc:
				copy(b[off:], b[:len(b)-off]) // what lies elsewhere
			case 0xfb:
				b = append(b, b[off:]...)
			default:
				b[off] ^= in[3]
			}
			d.SetBytes(name, b)
		}
		l, _, err := Open(d, small)
		if err != nil {
			if c := (*CorruptError)(nil); !errors.As(err, &c) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrForeign) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if err := want.differs(l); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRecords feeds a frame's body to the decoder.
func FuzzRecords(f *testing.F) {
	f.Add(appendBase(appendState(appendEntry(nil, &Entry{7, 3, 1, []byte("data")}), State{1, 2, 3}), 5, 6))
	f.Add([]byte{recordEntry})
	f.Add([]byte{recordEntry, 0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			rec, rest, ok := next(b)
			if !ok {
				return
			}
			var again []byte
			switch rec.tag {
			case recordEntry:
				again = appendEntry(nil, &rec.entry)
			case recordState:
				again = appendState(nil, rec.state)
			case recordBase:
				again = appendBase(nil, rec.base, rec.term)
			}
			if got, _, ok := next(again); !ok || !same(got.entry, rec.entry) || got.state != rec.state || got.base != rec.base || got.term != rec.term {
				t.Fatalf("%+v became %+v", rec, got)
			}
			b = rest
		}
	})
}
