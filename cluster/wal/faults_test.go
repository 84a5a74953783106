package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// scene is a log of several segments in a real directory, whose process was killed
// (nothing was closed) after the last Append had returned.
type scene struct {
	t    *testing.T
	path string
	es   []Entry // all confirmed
	segs []*segment
	// The guard before the last batch, and where in the last segment it began.
	olderGuard []byte
	lastBatch  int64
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, path: t.TempDir(), es: ents(1, 401, 2)}
	d := openDir(t, s.path)
	l := create(t, d, small)
	add(t, l, &State{Term: 2, Vote: 1, Commit: 3}, nil)
	for i := 0; i < 400; i += 10 {
		if i == 390 {
			s.olderGuard = s.read(guardName)
			s.lastBatch = l.x.segs[len(l.x.segs)-1].end
		}
		add(t, l, nil, s.es[i:i+10])
	}
	s.segs = l.x.segs
	if len(s.segs) < 5 || s.lastBatch == headerSize {
		t.Fatalf("%d segments, last batch at %d", len(s.segs), s.lastBatch)
	}
	for _, seg := range s.segs {
		seg.file.Close()
	}
	d.Close()
	return s
}

func (s *scene) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(s.path, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *scene) write(name string, b []byte) {
	if err := os.WriteFile(filepath.Join(s.path, name), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) edit(name string, f func(b []byte) []byte) { s.write(name, f(s.read(name))) }

func (s *scene) remove(name string) {
	if err := os.Remove(filepath.Join(s.path, name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) last() *segment { return s.segs[len(s.segs)-1] }
func (s *scene) mid() *segment  { return s.segs[len(s.segs)/2] }

func (g *segment) name() string { return segmentName(g.number) }

func flip(off int64) func([]byte) []byte {
	return func(b []byte) []byte { b[off] ^= 0x10; return b }
}

func zeros(lo, hi int64) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[lo:hi]); return b }
}

func cut(off int64) func([]byte) []byte {
	return func(b []byte) []byte { return b[:off] }
}

const (
	whole    = "whole"    // opens with all entries, nothing repaired
	repaired = "repaired" // opens with all entries but those of the last batch, and says so
)

// faults is the table of ADR 4: what is planted, and what Open makes of it.
var faults = []struct {
	name  string
	plant func(s *scene)
	want  string // whole, repaired, or what stands in the refusal
	file  func(s *scene) string
}{
	{"nothing", func(s *scene) {}, whole, nil},
	{"cut in the zeros behind the end", func(s *scene) { s.edit(s.last().name(), cut(s.last().end+1)) }, whole, nil},
	{"batch behind the guard", func(s *scene) { s.write(guardName, s.olderGuard) }, whole, nil},
	{"torn unsynced tail: cut", func(s *scene) {
		s.write(guardName, s.olderGuard)
		s.edit(s.last().name(), cut(s.last().end-100))
	}, repaired, (*scene).lastName},
	{"torn unsynced tail: sector of zeros", func(s *scene) {
		s.write(guardName, s.olderGuard)
		s.edit(s.last().name(), zeros(s.lastBatch+100, s.lastBatch+400))
	}, repaired, (*scene).lastName},
	{"torn unsynced tail: first sector missing", func(s *scene) {
		s.write(guardName, s.olderGuard)
		s.edit(s.last().name(), zeros(s.lastBatch, s.lastBatch+200))
	}, repaired, (*scene).lastName},
	{"synced tail cut", func(s *scene) { s.edit(s.last().name(), cut(s.last().end-100)) }, "was synced up to", (*scene).lastName},
	{"synced tail cut between batches", func(s *scene) { s.edit(s.last().name(), cut(s.lastBatch)) }, "was synced up to", (*scene).lastName},
	{"last segment empty", func(s *scene) { s.edit(s.last().name(), cut(0)) }, "does not begin with", (*scene).lastName},
	{"bit flip in the last batch", func(s *scene) { s.edit(s.last().name(), flip(s.last().end-50)) }, "was synced up to", (*scene).lastName},
	{"bit flip in the last segment", func(s *scene) { s.edit(s.last().name(), flip(headerSize+100)) }, "was synced up to", (*scene).lastName},
	{"bit flip in a middle segment", func(s *scene) { s.edit(s.mid().name(), flip(2000)) }, "is damaged at byte", (*scene).midName},
	{"bit flip in the last batch of a middle segment", func(s *scene) { s.edit(s.mid().name(), flip(s.mid().end-50)) }, "is damaged at byte", (*scene).midName},
	{"bit flip in the first segment", func(s *scene) { s.edit(s.segs[0].name(), flip(300)) }, "is damaged at byte", (*scene).firstName},
	{"bit flip in a segment header", func(s *scene) { s.edit(s.mid().name(), flip(50)) }, "damaged segment header", (*scene).midName},
	{"bit flip in a segment's magic", func(s *scene) { s.edit(s.mid().name(), flip(1)) }, "does not begin with", (*scene).midName},
	{"middle segment cut between batches", func(s *scene) {
		s.edit(s.mid().name(), func(b []byte) []byte { return b[:s.frames(s.mid())[2]] })
	}, "ends at byte", (*scene).midName},
	{"zeroed record header in the last segment", func(s *scene) {
		off := s.frames(s.last())[1]
		s.edit(s.last().name(), zeros(off, off+frameHeader))
	}, "was synced up to", (*scene).lastName},
	{"zeroed record header, and an old guard", func(s *scene) {
		s.write(guardName, s.olderGuard)
		off := s.frames(s.last())[len(s.frames(s.last()))-2]
		s.edit(s.last().name(), zeros(off, off+frameHeader))
	}, "was synced up to", (*scene).lastName},
	{"zeroed record header in a middle segment", func(s *scene) {
		off := s.frames(s.mid())[1]
		s.edit(s.mid().name(), zeros(off, off+frameHeader))
	}, "is damaged at byte", (*scene).midName},
	{"zeroed page in the last segment", func(s *scene) {
		s.edit(s.last().name(), zeros(0, min(4096, s.last().end)))
	}, "does not begin with", (*scene).lastName},
	{"zeroed page in a middle segment", func(s *scene) { s.edit(s.mid().name(), zeros(4096, 8192)) }, "is damaged at byte", (*scene).midName},
	{"all zeros behind the last segment's header", func(s *scene) {
		s.edit(s.last().name(), zeros(headerSize, s.last().end))
	}, "was synced up to", (*scene).lastName},
	{"all zeros behind a middle segment's header", func(s *scene) {
		s.edit(s.mid().name(), zeros(headerSize, s.mid().end))
	}, "ends at byte", (*scene).midName},
	{"last segment missing", func(s *scene) { s.remove(s.last().name()) }, "is missing", (*scene).lastName},
	{"middle segment missing", func(s *scene) { s.remove(s.mid().name()) }, "is missing", (*scene).midName},
	{"first segment missing", func(s *scene) { s.remove(s.segs[0].name()) }, "is missing", (*scene).firstName},
	{"all segments missing", func(s *scene) {
		for _, g := range s.segs {
			s.remove(g.name())
		}
	}, "is missing", (*scene).firstName},
	{"guard missing", func(s *scene) { s.remove(guardName) }, "is missing among the segments", (*scene).guardName},
	{"guard empty", func(s *scene) { s.write(guardName, nil) }, "is empty", (*scene).guardName},
	{"guard of zeros", func(s *scene) { s.edit(guardName, zeros(0, guardSize)) }, "is empty", (*scene).guardName},
	{"guard is garbage", func(s *scene) { s.edit(guardName, garbage) }, "is damaged in both slots", (*scene).guardName},
	{"guard's newer slot damaged", func(s *scene) { s.edit(guardName, flip(s.newerSlot()+40)) }, whole, nil},
	{"guard's older slot damaged", func(s *scene) { s.edit(guardName, flip(guardSlot-s.newerSlot()+40)) }, "is damaged in one slot", (*scene).guardName},
	{"guard's newer slot damaged and the last batch gone", func(s *scene) {
		s.edit(guardName, flip(s.newerSlot()+40))
		s.edit(s.last().name(), cut(s.lastBatch))
	}, "is damaged in one slot", (*scene).guardName},
	{"segment is garbage", func(s *scene) { s.edit(s.mid().name(), garbage) }, "does not begin with", (*scene).midName},
	{"segment under another's name", func(s *scene) { s.write(s.mid().name(), s.read(s.segs[1].name())) }, "under another name", (*scene).midName},
	{"segment that is none of ours", func(s *scene) { s.write("copy.wal", nil) }, "is not a segment", func(*scene) string { return "copy.wal" }},
	{"segment behind the guard", func(s *scene) {
		s.write(segmentName(s.last().number+1), s.read(s.last().name()))
	}, "the guard does not know it", func(s *scene) string { return segmentName(s.last().number + 1) }},
	{"segment of nothing behind the guard", func(s *scene) { // a crash while it was made
		s.write(segmentName(s.last().number+1), make([]byte, 8<<10))
	}, whole, nil},
	{"segment before the guard's first", func(s *scene) { s.write(segmentName(0x0), nil) }, "is not a segment", func(*scene) string { return segmentName(0) }},
	{"strange file", func(s *scene) { s.write("lost+found.txt", nil) }, whole, nil},
}

func garbage(b []byte) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (s *scene) lastName() string  { return s.last().name() }
func (s *scene) midName() string   { return s.mid().name() }
func (s *scene) firstName() string { return s.segs[0].name() }
func (s *scene) guardName() string { return guardName }

// newerSlot is the offset of the guard's newer slot; 512 minus it is the other's.
func (s *scene) newerSlot() int64 {
	b := s.read(guardName)
	g0, _ := decodeGuard(b[:headerSize], "", small)
	g1, _ := decodeGuard(b[guardSlot:][:headerSize], "", small)
	if g1.number > g0.number {
		return guardSlot
	}
	return 0
}

// frames returns where the frames of a segment begin.
func (s *scene) frames(g *segment) (offs []int64) {
	b := s.read(g.name())
	for off := int64(headerSize); off < g.end; {
		n, ok := frameLength(b[off:])
		if !ok {
			s.t.Fatalf("no frame at %d of %s", off, g.name())
		}
		offs = append(offs, off)
		off += align(int64(frameHeader + n))
	}
	return offs
}

func TestFaultTable(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s := newScene(t)
			f.plant(s)
			before := s.contents()
			l, rep, err := Open(openDir(t, s.path), small)
			if f.want == whole || f.want == repaired {
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				want := s.es
				if f.want == repaired {
					want = want[:390]
				}
				holds(t, l, 0, want)
				if rep.Repaired != (f.want == repaired) {
					t.Errorf("report = %+v", rep)
				}
				if rep.Repaired && (filepath.Base(rep.RepairedFile) != f.file(s) || rep.RepairedBytes == 0) {
					t.Errorf("report = %+v, want %s named", rep, f.file(s))
				}
				add(t, l, nil, ents(uint64(len(want))+1, 500, 3)) // and it goes on
				l.Close()
				l, rep = reopen(t, l.dir, small)
				holds(t, l, 0, append(slices.Clip(want), ents(uint64(len(want))+1, 500, 3)...))
				if rep.Repaired || rep.Guard != "" {
					t.Errorf("report after a clean end = %+v", rep)
				}
				return
			}
			var c *CorruptError
			if !errors.As(err, &c) {
				t.Fatalf("Open: %v, want a CorruptError", err)
			}
			if filepath.Base(c.File) != f.file(s) || !strings.Contains(c.Reason, f.want) {
				t.Errorf("Open: %v\nwant %s named, and %q", err, f.file(s), f.want)
			}
			if !strings.Contains(err.Error(), "rejoin under a new identity") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v\nis not one sentence that says what to do", err)
			}
			if after := s.contents(); !slices.Equal(before, after) {
				t.Error("a refused log was changed")
			}
		})
	}
}

// contents returns names and bytes of all files.
func (s *scene) contents() (all []string) {
	es, err := os.ReadDir(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range es {
		all = append(all, e.Name(), string(s.read(e.Name())))
	}
	return all
}

func TestForeignAndNewer(t *testing.T) {
	s := newScene(t)
	d := openDir(t, s.path)
	for _, c := range []Config{{ClusterID: 0xc2, NodeID: 1}, {ClusterID: 0xc1, NodeID: 2}} {
		if _, _, err := Open(d, c); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "node 1 of cluster c1") {
			t.Errorf("Open as %+v: %v", c, err)
		}
	}
	t.Run("foreign segment", func(t *testing.T) { // from another node's directory, guard and all else ours
		o := openDir(t, t.TempDir())
		l := create(t, o, Config{SegmentBytes: 8 << 10, ClusterID: 0xc1, NodeID: 9})
		l.Close()
		b, _ := os.ReadFile(o.Path(segmentName(1)))
		s.write(segmentName(1), b)
		if _, _, err := Open(d, small); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), segmentName(1)) {
			t.Error(err)
		}
	})
	newer := func(b []byte) []byte {
		b[8]++
		clear(b[12:16])
		binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:headerSize], castagnoli))
		return b
	}
	for _, name := range []string{segmentName(2), guardName} {
		s := newScene(t)
		s.edit(name, newer)
		if _, _, err := Open(openDir(t, s.path), small); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), name) {
			t.Errorf("newer %s: %v", name, err)
		}
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write anywhere")
	}
	s := newScene(t)
	for _, g := range s.segs {
		os.Chmod(filepath.Join(s.path, g.name()), 0o400)
	}
	if _, _, err := Open(openDir(t, s.path), small); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}

// TestTailCutAtEveryByte cuts the last batch, which the guard does not know, after
// each of its bytes, and zeroes it from each of its bytes on.
func TestTailCutAtEveryByte(t *testing.T) {
	d := NewMemDir(rand.NewPCG(1, 2))
	l := create(t, d, small)
	es := ents(1, 30, 1)
	add(t, l, nil, es[:20])
	from, before := l.x.segs[0].end, d.Bytes(guardName)
	add(t, l, nil, es[20:])
	to := l.x.segs[0].end
	seg := d.Bytes(segmentName(1))
	n, _ := frameLength(seg[from:])
	for at := from; at <= to; at++ {
		for _, b := range [][]byte{seg[:at], append(slices.Clone(seg[:at]), make([]byte, 100)...)} {
			d := NewMemDir(rand.NewPCG(1, 3))
			d.SetBytes(segmentName(1), b)
			d.SetBytes(guardName, before)
			l, rep, err := Open(d, small)
			if err != nil {
				t.Fatalf("cut at %d of %d to %d: %v", at, from, to, err)
			}
			want := es[:20]
			if at >= from+frameHeader+int64(n) {
				want = es // only padding was cut
			}
			holds(t, l, 0, want)
			if (at > from && len(want) == 20) != rep.Repaired {
				t.Errorf("cut at %d of %d to %d: report = %+v", at, from, to, rep)
			}
		}
	}
}

// TestZeroingIsLost: a start cuts a torn batch and its sync fails; the next start sees
// zeros that are on no disk. When the power goes, the rest of the batch is back, in a
// segment that is no longer the last. It is not damage.
func TestZeroingIsLost(t *testing.T) {
	d := NewMemDir(rand.NewPCG(1, 2))
	l := create(t, d, small)
	add(t, l, nil, ents(1, 5, 1))
	d.OnWrite = func(_ string, _ int64, n int) (int, error) { return n - 100, errPlanted }
	if err := l.Append(nil, ents(5, 60, 1)); !errors.Is(err, errPlanted) {
		t.Fatal(err)
	}
	d.OnWrite = nil
	for f := d.names[segmentName(1)]; slices.Contains(f.state, dirty); {
		d.settle(f) // all of the torn batch reaches the disk
	}
	d.Kill()
	d.OnSync = func(string) error {
		f := d.names[segmentName(1)]
		for i := range f.state {
			f.state[i] = lost // none of the zeros does
		}
		return errPlanted
	}
	if _, _, err := Open(d, small); !errors.Is(err, errPlanted) {
		t.Fatal(err)
	}
	d.OnSync = nil
	d.Kill()
	l, rep := reopen(t, d, small)
	if rep.Repaired {
		t.Fatal("the zeros cannot be read")
	}
	add(t, l, nil, ents(5, 6, 2))
	add(t, l, nil, ents(6, 80, 2)) // does not fit: a new segment
	if len(l.x.segs) != 2 {
		t.Fatalf("%d segments", len(l.x.segs))
	}
	d.Crash()
	if b := d.Bytes(segmentName(1))[l.x.segs[0].end:]; zero(b) {
		t.Fatal("nothing of the torn batch is back")
	}
	l, _ = reopen(t, d, small)
	holds(t, l, 0, append(ents(1, 5, 1), ents(5, 80, 2)...))
}

// TestTornBatchOfManyFrames: sectors of an unsynced batch may be lost in any order,
// so that later frames of it are whole. It is cut as a whole.
func TestTornBatchOfManyFrames(t *testing.T) {
	c := Config{ClusterID: 1, NodeID: 1, SegmentBytes: 1 << 20}
	d := NewMemDir(rand.NewPCG(1, 2))
	l := create(t, d, c)
	add(t, l, nil, ents(1, 20, 1))
	from, before := l.x.segs[0].end, d.Bytes(guardName)
	add(t, l, nil, ents(20, 2000, 1))
	to := l.x.segs[0].end
	if to-from < 3*frameBody {
		t.Fatalf("a batch of %d bytes is too small", to-from)
	}
	seg := d.Bytes(segmentName(1))
	r := rand.New(rand.NewPCG(1, 3))
	for range 20 {
		b := slices.Clone(seg)
		for range 1 + r.IntN(5) {
			at := (from + sector + r.Int64N(to-from-sector)) &^ (sector - 1)
			clear(b[max(at, from):min(at+sector, to)])
		}
		d := NewMemDir(rand.NewPCG(1, 4))
		d.SetBytes(segmentName(1), b)
		d.SetBytes(guardName, before)
		l, rep := reopen(t, d, c)
		holds(t, l, 0, ents(1, 20, 1))
		if !rep.Repaired {
			t.Error("the cut was not reported")
		}
	}
}

// TestOldGuardDamagedTail: after a power loss the guard may be old. Damage is then
// still found if a later batch can be read.
func TestOldGuardDamagedTail(t *testing.T) {
	d := NewMemDir(rand.NewPCG(1, 2))
	l := create(t, d, Config{ClusterID: 1, NodeID: 1, SegmentBytes: 64 << 10})
	before := d.Bytes(guardName)
	var ends []int64
	for i := uint64(1); i < 20; i++ {
		add(t, l, nil, ents(i, i+1, 1))
		ends = append(ends, l.x.segs[0].end)
	}
	seg := d.Bytes(segmentName(1))
	for at := int64(headerSize); at < ends[17]; at += 3 {
		if seg[at] == 0 && at%8 != 0 {
			continue // perhaps padding
		}
		b := slices.Clone(seg)
		b[at] ^= 0x40
		d.SetBytes(segmentName(1), b)
		d.SetBytes(guardName, before)
		_, _, err := Open(d, Config{ClusterID: 1, NodeID: 1})
		if c := (*CorruptError)(nil); !errors.As(err, &c) || !strings.Contains(c.Reason, "before batch") {
			t.Fatalf("flip at %d: %v", at, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	d := NewMemDir(rand.NewPCG(1, 2))
	d.Space = 50 << 10
	l := create(t, d, small)
	var sure uint64
	var err error
	for err == nil {
		if err = l.Append(nil, ents(sure+1, sure+2, 1)); err == nil {
			sure++
		}
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	if again := l.Append(nil, ents(sure+1, sure+2, 1)); again != err {
		t.Errorf("the next Append: %v, want %v", again, err)
	}
	holds(t, l, 0, ents(1, sure+1, 1)) // what was confirmed can be read
	d.Kill()
	for range 3 { // and opened, on the full disk too
		l, _ = reopen(t, d, small)
		holds(t, l, 0, ents(1, sure+1, 1))
		if err := l.Append(nil, ents(sure+1, sure+2, 1)); !errors.Is(err, ErrNoSpace) {
			t.Errorf("still full: %v", err)
		}
		d.Kill()
	}
	d.Space = 0
	l, _ = reopen(t, d, small)
	add(t, l, nil, ents(sure+1, sure+2, 1))
	holds(t, l, 0, ents(1, sure+2, 1))
}

func TestFailedSyncIsNeverTriedAgain(t *testing.T) {
	d := NewMemDir(rand.NewPCG(1, 2))
	l := create(t, d, small)
	add(t, l, nil, ents(1, 5, 1))
	syncs := 0
	d.OnSync = func(string) error {
		if syncs++; syncs == 1 {
			return errPlanted
		}
		return nil
	}
	err := l.Append(nil, ents(5, 6, 1))
	if !errors.Is(err, errPlanted) {
		t.Fatal(err)
	}
	for range 3 {
		if again := l.Append(nil, ents(5, 6, 1)); again != err {
			t.Errorf("Append: %v, want %v", again, err)
		}
		if again := l.Compact(2); again != err {
			t.Errorf("Compact: %v, want %v", again, err)
		}
		if again := l.Reset(9, 1, State{}); again != err {
			t.Errorf("Reset: %v, want %v", again, err)
		}
	}
	if again := l.Close(); again != err {
		t.Errorf("Close: %v, want %v", again, err)
	}
	if syncs != 1 {
		t.Errorf("%d syncs, want the failed one only", syncs)
	}
	// The batch can be read though the disk does not have it. A log that believes it
	// and loses it when the power goes would have voted for what it does not hold.
	d.Kill()
	l, _ = reopen(t, d, small)
	last := l.Last()
	d.Crash()
	l, _ = reopen(t, d, small)
	if l.Last() != last {
		t.Errorf("Last() = %d after the power loss, %d before", l.Last(), last)
	}
}

func TestShortWrite(t *testing.T) {
	for n := range 300 {
		d := NewMemDir(rand.NewPCG(1, 2))
		l := create(t, d, small)
		add(t, l, nil, ents(1, 5, 1))
		d.OnWrite = func(_ string, _ int64, size int) (int, error) { return min(n, size-1), nil }
		if err := l.Append(nil, ents(5, 9, 1)); err == nil {
			t.Fatal("a short write was confirmed")
		}
		d.OnWrite = nil
		d.Kill()
		l, _ = reopen(t, d, small)
		holds(t, l, 0, ents(1, 5, 1))
	}
}

// TestDamageWhileOpen: what the disk changes behind our back is not handed out.
func TestDamageWhileOpen(t *testing.T) {
	s := newScene(t)
	d := openDir(t, s.path)
	l, _ := reopen(t, d, small)
	s.editInPlace(s.mid().name(), 1000)
	var c *CorruptError
	if _, err := l.Entries(1, 401, 1<<30, nil); !errors.As(err, &c) || filepath.Base(c.File) != s.mid().name() {
		t.Errorf("Entries: %v", err)
	}
	if err := l.Replay(1, func(Entry) error { return nil }); !errors.As(err, &c) {
		t.Errorf("Replay: %v", err)
	}
}

func (s *scene) editInPlace(name string, off int64) {
	f, err := os.OpenFile(filepath.Join(s.path, name), os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	f.ReadAt(b, off)
	b[0] ^= 4
	f.WriteAt(b, off)
}

// TestTornBatchThatLooksLikeFrames: what a publisher wrote may look like thousands of
// long frames. A start reads a torn batch of it a few times, not once for each.
func TestTornBatchThatLooksLikeFrames(t *testing.T) {
	c := Config{ClusterID: 1, NodeID: 1, SegmentBytes: 4 << 20}
	d := NewMemDir(rand.NewPCG(1, 2))
	l := create(t, d, c)
	add(t, l, nil, ents(1, 20, 1))
	before := d.Bytes(guardName)
	var looks []byte
	for shift := range 8 { // frames begin at multiples of 8: one of these does
		looks = append(looks, make([]byte, shift)...)
		looks = append(looks, bytes.Repeat([]byte{'N', 'W', 'L', 0, 0, 0, 32, 0}, 64)...) // each says 2 MiB
	}
	add(t, l, nil, []Entry{{Index: 20, Term: 1, Data: looks}})
	end := l.x.segs[0].end
	seg := d.Bytes(segmentName(1))
	clear(seg[end-64 : end])
	d.SetBytes(segmentName(1), seg)
	d.SetBytes(guardName, before)
	counted := &countDir{Dir: d}
	l, rep, err := Open(counted, c)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, l, 0, ents(1, 20, 1))
	if !rep.Repaired {
		t.Error("the cut was not reported")
	}
	if most := 16 * int64(len(seg)); counted.read > most {
		t.Errorf("the start read %d bytes of a log of %d", counted.read, len(seg))
	}
}

// A countDir counts what is read of its files.
type countDir struct {
	Dir
	read int64
}

func (d *countDir) Open(name string) (File, error) {
	f, err := d.Dir.Open(name)
	return &countFile{f, d}, err
}

type countFile struct {
	File
	d *countDir
}

func (f *countFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.d.read += int64(n)
	return n, err
}
