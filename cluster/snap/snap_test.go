package snap

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/nackmq/nackmq/cluster/wal"
)

func newDir() *wal.MemDir { return wal.NewMemDir(rand.NewPCG(1, 1)) }

func header(index uint64) Header {
	return Header{Cluster: 7, Index: index, Term: 3, Conf: &pb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{9}}}
}

func body(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// whole reads a snapshot to its end.
func whole(dir wal.Dir, index uint64) (got []byte, h Header, err error) {
	h, err = Load(dir, index, 7, func(r io.Reader) (err error) {
		got, err = io.ReadAll(r)
		return err
	})
	return got, h, err
}

func TestWriteAndLoad(t *testing.T) {
	for _, n := range []int{0, 1, 1000, maxChunk - 1, maxChunk, maxChunk + 1, 3*maxChunk + 17, syncEvery + maxChunk} {
		dir, want := newDir(), body(n)
		size, err := Write(dir, header(42), bytes.NewReader(want))
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if got := len(dir.Bytes(Name(42))); int64(got) != size {
			t.Errorf("%d bytes: the file has %d bytes, Write says %d", n, got, size)
		}
		dir.Crash() // it is durable
		got, h, err := whole(dir, 42)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d back, %v", n, len(got), err)
		}
		if w := header(42); h.Index != w.Index || h.Term != w.Term || h.Cluster != w.Cluster || !proto.Equal(h.Conf, w.Conf) {
			t.Errorf("%d bytes: the header is %+v", n, h)
		}
	}
}

// A snapshot that lacks any byte, or has any byte changed, is not taken for one.
func TestDamage(t *testing.T) {
	dir := newDir()
	if _, err := Write(dir, header(42), bytes.NewReader(body(200))); err != nil {
		t.Fatal(err)
	}
	file := dir.Bytes(Name(42))
	bits := 8
	if testing.Short() {
		bits = 1
	}
	for n := range file {
		dir.SetBytes(Name(42), file[:n])
		if _, _, err := whole(dir, 42); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d of %d: %v, want ErrDamaged", n, len(file), err)
		}
		for bit := range bits {
			spoilt := bytes.Clone(file)
			spoilt[n] ^= 1 << bit
			dir.SetBytes(Name(42), spoilt)
			_, _, err := whole(dir, 42)
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("bit %d of byte %d flipped: %v, want ErrDamaged", bit, n, err)
			}
		}
	}
	// Whole chunks that changed places.
	if _, err := Write(dir, header(43), bytes.NewReader(body(2*maxChunk))); err != nil {
		t.Fatal(err)
	}
	file = dir.Bytes(Name(43))
	from := bytes.Index(file, body(2 * maxChunk)[:16]) - 8
	a, b := file[from:from+8+maxChunk], file[from+8+maxChunk:from+2*(8+maxChunk)]
	dir.SetBytes(Name(43), bytes.Join([][]byte{file[:from], b, a, file[from+2*(8+maxChunk):]}, nil))
	if _, _, err := whole(dir, 43); !errors.Is(err, ErrDamaged) {
		t.Errorf("chunks that changed places: %v, want ErrDamaged", err)
	}
}

// What fails leaves nothing behind, and nothing that was there is lost.
func TestFailedWrite(t *testing.T) {
	disk := errors.New("disk on fire")
	for at := 1; ; at++ {
		dir := newDir()
		if _, err := Write(dir, header(1), bytes.NewReader(body(100))); err != nil {
			t.Fatal(err)
		}
		n := 0
		fail := func() error {
			if n++; n == at {
				return disk
			}
			return nil
		}
		dir.OnSync = func(string) error { return fail() }
		dir.OnWrite = func(_ string, _ int64, size int) (int, error) {
			if fail() != nil {
				return size / 2, disk
			}
			return size, nil
		}
		_, err := Write(dir, header(2), bytes.NewReader(body(3*maxChunk)))
		if n < at {
			if err != nil {
				t.Errorf("nothing failed, but: %v", err)
			}
			return
		}
		if !errors.Is(err, disk) {
			t.Errorf("operation %d failed, Write says %v", at, err)
		}
		if all, _ := List(dir); len(all) != 1 || all[0] != 1 {
			t.Errorf("operation %d failed and left snapshots %v, want 1 only", at, all)
		}
	}
}

// A whole snapshot whose last sync failed can be read, and is on no disk: Survey
// makes it durable before anybody relies on it.
func TestSurveyMakesDurable(t *testing.T) {
	for seed := range uint64(50) {
		dir := wal.NewMemDir(rand.NewPCG(seed, 0))
		if _, err := Write(dir, header(1), bytes.NewReader(body(10))); err != nil {
			t.Fatal(err)
		}
		syncs := 0
		dir.OnSync = func(string) error {
			if syncs++; syncs >= 2 {
				return errors.New("the process ends here")
			}
			return nil
		}
		dir.OnMake = func(string) error { // … so it removes nothing
			if syncs >= 2 {
				return errors.New("gone")
			}
			return nil
		}
		if _, err := Write(dir, header(2), bytes.NewReader(body(2000))); err == nil {
			t.Fatal("the write succeeded")
		}
		dir.OnSync, dir.OnMake = nil, nil
		dir.Kill()
		s, err := Survey(dir, 7, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		dir.Crash()
		for _, i := range s.Younger {
			if _, _, err := whole(dir, i); err != nil {
				t.Fatalf("seed %d: Survey gave snapshot %d, and after a power loss: %v", seed, i, err)
			}
		}
	}
}

func TestSurvey(t *testing.T) {
	for name, tt := range map[string]struct {
		have        []uint64
		torn        uint64
		first, last uint64
		want        Set
		err         string
	}{
		"new":                      {[]uint64{0}, 99, 1, 0, Set{Base: 0}, ""},
		"base and two":             {[]uint64{5, 8, 9}, 99, 6, 20, Set{Base: 5, Younger: []uint64{8, 9}}, ""},
		"a log that begins before": {[]uint64{5, 8}, 99, 2, 20, Set{Base: 5, Younger: []uint64{8}}, ""},
		"left over":                {[]uint64{1, 5, 8}, 99, 6, 20, Set{Base: 5, Younger: []uint64{8}, Stale: []uint64{1}}, ""},
		"torn":                     {[]uint64{5, 8}, 8, 6, 20, Set{Base: 5, Torn: []uint64{8}}, ""},
		"none":                     {nil, 99, 1, 0, Set{}, "no snapshot that the log goes on from"},
		"all too old":              {[]uint64{1, 2}, 99, 6, 20, Set{}, "no snapshot that the log goes on from"},
		"base behind the log":      {[]uint64{30}, 99, 6, 20, Set{}, "no snapshot that the log goes on from"},
		"one behind the log":       {[]uint64{5, 30}, 99, 6, 20, Set{}, "the log ends at entry 20"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir()
			for _, i := range tt.have {
				if _, err := Write(dir, header(i), bytes.NewReader(body(50))); err != nil {
					t.Fatal(err)
				}
				if i == tt.torn {
					dir.SetBytes(Name(i), dir.Bytes(Name(i))[:80])
				}
			}
			got, err := Survey(dir, 7, tt.first, tt.last)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Base != tt.want.Base || !equal(got.Younger, tt.want.Younger) || !equal(got.Stale, tt.want.Stale) || !equal(got.Torn, tt.want.Torn) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func equal(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func FuzzLoad(f *testing.F) {
	dir := newDir()
	if _, err := Write(dir, header(42), bytes.NewReader(body(300))); err != nil {
		f.Fatal(err)
	}
	f.Add(dir.Bytes(Name(42)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := newDir()
		dir.SetBytes(Name(42), file)
		got, _, err := whole(dir, 42)
		if err == nil && len(got) > len(file) {
			t.Errorf("%d bytes came out of %d", len(got), len(file))
		}
	})
}
