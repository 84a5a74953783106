package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/stream"
)

// used makes a data directory in which some messages and snapshots are.
func used(t *testing.T) (dir string, c Config) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	c = Config{DataDir: dir, SegmentBytes: 64 << 10, SnapshotBytes: 128 << 10,
		Limits: stream.Limits{CacheBytes: 64 << 20}}
	m := open(t, c)
	for n := range 60 {
		publish(t, m, item("/a", 1, uint64(n+1), strings.Repeat("x", 4000)))
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, c
}

// edit changes the newest file that matches.
func edit(t *testing.T, dir, pattern string, change func([]byte) []byte) {
	t.Helper()
	name := newest(t, dir, pattern)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newest(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, pattern))
	if len(names) == 0 {
		t.Fatalf("nothing in %s matches %s", dir, pattern)
	}
	return names[len(names)-1]
}

func remove(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.RemoveAll(n); err != nil {
			t.Fatal(err)
		}
	}
}

func swap(old, new string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
}

func flipAt(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

// Each directory that does not fit together is refused with one sentence that names
// the file and says what to do, and nothing in it is changed.
func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  []string
	}{
		"no node.json": {func(t *testing.T, dir string) { remove(t, dir+"/node.json") },
			[]string{"node.json is missing, but ", "put back"}},
		"node.json is not JSON": {func(t *testing.T, dir string) { edit(t, dir, "node.json", func([]byte) []byte { return []byte("{") }) },
			[]string{"node.json is damaged", "put back"}},
		"node.json is empty": {func(t *testing.T, dir string) { edit(t, dir, "node.json", func([]byte) []byte { return nil }) },
			[]string{"node.json is damaged", "put back"}},
		"another life in node.json": {func(t *testing.T, dir string) { edit(t, dir, "node.json", swap(`"life": 1`, `"life": 7`)) },
			[]string{"node.json is damaged", "put back"}},
		"a newer node.json": {func(t *testing.T, dir string) { edit(t, dir, "node.json", swap(`"format": 1`, `"format": 2`)) },
			[]string{"node.json has format 2", "start the version that wrote it"}},
		"node.json of another node": {func(t *testing.T, dir string) {
			other := newIdentity()
			other.Life = 1
			if err := other.write(dir + "/node.json"); err != nil {
				t.Fatal(err)
			}
		}, []string{"/log/", "belongs to"}},
		"no log directory": {func(t *testing.T, dir string) { remove(t, dir+"/log") },
			[]string{"/log is missing", "put back"}},
		"an empty log directory": {func(t *testing.T, dir string) { remove(t, dir+"/log"); os.Mkdir(dir+"/log", 0o700) },
			[]string{"/log holds no log", "put back"}},
		"a file in place of the log directory": {func(t *testing.T, dir string) { remove(t, dir+"/log"); os.WriteFile(dir+"/log", nil, 0o600) },
			[]string{"/log is missing", "put back"}},
		"the last segment is gone": {func(t *testing.T, dir string) { remove(t, newest(t, dir, "log/*.wal")) },
			[]string{"/log/", "put back"}},
		"a bit of the log is flipped": {func(t *testing.T, dir string) {
			names, _ := filepath.Glob(dir + "/log/*.wal")
			edit(t, dir, "log/"+filepath.Base(names[1]), flipAt(3000))
		}, []string{"/log/", "is damaged", "put back"}},
		"no snapshot directory": {func(t *testing.T, dir string) { remove(t, dir+"/snap") },
			[]string{"/snap is missing", "put back"}},
		"no snapshot": {func(t *testing.T, dir string) { remove(t, dir+"/snap"); os.Mkdir(dir+"/snap", 0o700) },
			[]string{"/snap", "holds no snapshot", "put back"}},
		"the snapshot is damaged": {func(t *testing.T, dir string) { edit(t, dir, "snap/00000000000000000000.snap", flipAt(70)) },
			[]string{"00000000000000000000.snap is damaged at byte", "put back"}},
		"the snapshot is cut short": {func(t *testing.T, dir string) {
			edit(t, dir, "snap/00000000000000000000.snap", func(b []byte) []byte { return b[:len(b)-5] })
		}, []string{"00000000000000000000.snap is cut short", "put back"}},
		"a newer snapshot": {func(t *testing.T, dir string) {
			edit(t, dir, "snap/00000000000000000000.snap", func(b []byte) []byte { b[11] = 9; return b })
		}, []string{"00000000000000000000.snap has format 9", "start the version that wrote it"}},
		"a snapshot of another cluster": {func(t *testing.T, dir string) {
			other, _ := used(t)
			b, err := os.ReadFile(other + "/snap/00000000000000000000.snap")
			if err != nil {
				t.Fatal(err)
			}
			edit(t, dir, "snap/00000000000000000000.snap", func([]byte) []byte { return b })
		}, []string{"00000000000000000000.snap belongs to cluster", "its own data directory"}},
		"a snapshot under another name": {func(t *testing.T, dir string) {
			os.Rename(dir+"/snap/00000000000000000000.snap", dir+"/snap/00000000000000000003.snap")
		}, []string{"00000000000000000003.snap is of entry 0", "put back"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, c := used(t)
			tt.spoil(t, dir)
			before := contents(t, dir)
			m, err := Open(c)
			if err == nil {
				m.Close()
				t.Fatal("it was not refused")
			}
			if !errors.Is(err, ErrDataDir) {
				t.Errorf("%v is not ErrDataDir", err)
			}
			t.Log(err)
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), dir) > 3 {
				t.Errorf("%q is not one sentence", err)
			}
			if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
				t.Errorf("the directory was changed:\n%s", diff)
			}
		})
	}
}

// contents gives every file, and its size and sum: but the lock, and the log's
// guard, which a start that finds the log in order brings up to date.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile || d.Name() == "guard" {
			return err
		}
		b, err := os.ReadFile(p)
		out[strings.TrimPrefix(p, dir)] = fmt.Sprintf("%d bytes, %x", len(b), sumOf(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sumOf(b []byte) (h uint64) {
	for _, c := range b {
		h = h*1099511628211 ^ uint64(c)
	}
	return h
}

func TestRefusedPaths(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		c    Config
		want string
	}{
		"no path":          {Config{}, "there is no data directory"},
		"a file":           {Config{DataDir: file}, file + " is not a directory"},
		"below a file":     {Config{DataDir: file + "/data"}, "is not a directory"},
		"limits":           {Config{DataDir: t.TempDir(), Limits: stream.Limits{CacheBytes: 1}}, "cache bytes"},
		"a negative size":  {Config{DataDir: t.TempDir(), QueueBytes: -1}, "must not be negative"},
		"not for a member": {Config{DataDir: "/proc/self/fd"}, "/proc/self/fd"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Open(tt.c)
			if err == nil {
				m.Close()
				t.Fatal("it was not refused")
			}
			t.Log(err)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	m := open(t, Config{DataDir: dir})
	defer m.Close()
	_, err := Open(Config{DataDir: dir})
	if want := fmt.Sprintf("in use by process %d", os.Getpid()); !errors.Is(err, ErrDataDir) || !strings.Contains(err.Error(), want) {
		t.Errorf("a second member in the same directory: %v, want %q in it", err, want)
	}
}

// A first start that ended before it was complete is begun again.
func TestFirstStartCutShort(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(dir+"/log", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := newIdentity().write(dir + "/node.json"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"/log/guard", "/log/0000000000000001.wal"} {
		if err := os.WriteFile(dir+f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, Config{DataDir: dir})
	defer m.Close()
	publish(t, m, item("/a", 1, 1, "x"))
}

// A process that is killed leaves the directory as it is at some moment.
func TestReopenWithoutClose(t *testing.T) {
	dir, c := used(t)
	m := open(t, c)
	defer m.Close()
	want := publish(t, m, item("/a", 1, 61, "the last"))
	image := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c.DataDir = image
	again := open(t, c)
	defer again.Close()
	if got, ok := again.Broker().Last("/a"); !ok || got.Position != want.Position || string(got.Payload) != "the last" {
		t.Errorf("got %v, want %v", got.Position, want.Position)
	}
	if next := publish(t, again, item("/a", 1, 62, "y")); next.Position.Seq != want.Position.Seq+1 {
		t.Errorf("seq goes on at %d after %d", next.Position.Seq, want.Position.Seq)
	}
}

// What was being written when the node stopped is put right, and told.
func TestRepairs(t *testing.T) {
	dir, c := used(t)
	m := open(t, c) // so that the log ends in this segment
	publish(t, m, item("/a", 1, 61, "kept"))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	// Half a batch behind the last one, and half a snapshot.
	edit(t, dir, "log/*.wal", func(b []byte) []byte {
		end := len(bytes.TrimRight(b, "\x00"))
		copy(b[(end+7)/8*8:], bytes.Repeat([]byte{0xaa}, 100))
		return b
	})
	whole := newest(t, dir, "snap/*.snap")
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "snap", "00000000000000000066.snap")
	if err := os.WriteFile(half, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c.Log = zerolog.New(&log)
	m = open(t, c)
	defer m.Close()
	if got, ok := m.Broker().Last("/a"); !ok || string(got.Payload) != "kept" {
		t.Errorf("the last message is %q, want %q", got.Payload, "kept")
	}
	for _, want := range []string{"removed the end of the log", "removed a snapshot"} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("the log says %d times %q, want once:\n%s", strings.Count(log.String(), want), want, log.String())
		}
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half snapshot is still there (%v)", err)
	}
}
