package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// badDisk makes the files of the log fail or wait when they are synced.
type badDisk struct{ sync func(name string) error }

func (b *badDisk) open(path string) (wal.Dir, func() error, error) {
	d, err := wal.OpenDir(path)
	if err != nil {
		return nil, nil, err
	}
	if filepath.Base(path) != logDir {
		return d, d.Close, nil
	}
	return &badDir{d, b}, d.Close, nil
}

type badDir struct {
	wal.Dir
	bad *badDisk
}

func (d *badDir) Create(name string, size int64) (wal.File, error) {
	f, err := d.Dir.Create(name, size)
	return &badFile{f, name, d.bad}, err
}

func (d *badDir) Open(name string) (wal.File, error) {
	f, err := d.Dir.Open(name)
	return &badFile{f, name, d.bad}, err
}

type badFile struct {
	wal.File
	name string
	bad  *badDisk
}

func (f *badFile) Sync() error {
	if strings.HasSuffix(f.name, ".wal") {
		if err := f.bad.sync(f.name); err != nil {
			return err
		}
	}
	return f.File.Sync()
}

// After a sync that failed nothing more is confirmed, everybody who waits is told,
// and the next start has all that was confirmed.
func TestFailedSync(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	bad := &badDisk{sync: func(string) error {
		if broken.Load() {
			return syscall.EIO
		}
		return nil
	}}
	m := open(t, Config{DataDir: dir, openDir: bad.open})
	first := publish(t, m, item("/a", 1, 1, "kept"))
	broken.Store(true)
	var told sync.WaitGroup
	for n := range 100 {
		told.Add(1)
		m.Publish(item("/a", 1, uint64(n+2), "lost"), func(_ stream.Place, err error) {
			if !errors.Is(err, broker.ErrStopped) {
				t.Errorf("number %d: got %v, want ErrStopped", n+2, err)
			}
			told.Done()
		})
	}
	told.Wait()
	<-m.Stopped()
	t.Log(m.Err())
	if !errors.Is(m.Err(), syscall.EIO) || strings.Contains(m.Err().Error(), "\n") {
		t.Errorf("it stopped because of %q, want one sentence with the cause", m.Err())
	}
	if got := m.Broker().Head(); got != 1 {
		t.Errorf("readers see up to index %d, but only 1 was synced", got)
	}
	if _, err := brokertest.PublishWait(context.Background(), m, item("/a", 1, 200, "x")); !errors.Is(err, broker.ErrStopped) {
		t.Errorf("a publication afterwards: %v, want ErrStopped", err)
	}
	if err := m.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close gave %v, want the cause", err)
	}
	m = open(t, Config{DataDir: dir})
	defer m.Close()
	if again := publish(t, m, item("/a", 1, 1, "kept")); again.Position != first.Position {
		t.Errorf("what was confirmed is at %v, was at %v", again.Position, first.Position)
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() != 0 || syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m") != nil {
		t.Skip("only root can make a small disk for this test")
	}
	defer syscall.Unmount(dir, 0)
	c := Config{DataDir: dir, SegmentBytes: 512 << 10}
	m := open(t, c)
	var last stream.Place
	for n := 1; ; n++ {
		at, err := brokertest.PublishWait(context.Background(), m, item("/a", 1, uint64(n), strings.Repeat("x", 50_000)))
		if err != nil {
			if !errors.Is(err, broker.ErrStopped) {
				t.Errorf("on a full disk: %v, want ErrStopped", err)
			}
			break
		}
		if last = at; n > 1000 {
			t.Fatal("the disk does not fill up")
		}
	}
	<-m.Stopped()
	t.Log(m.Err())
	if !errors.Is(m.Err(), syscall.ENOSPC) {
		t.Errorf("it stopped because of %v, want ENOSPC", m.Err())
	}
	m.Close()
	if err := os.WriteFile(dir+"/filler", make([]byte, 8<<20), 0o600); err == nil {
		t.Error("there is still space")
	}
	if m, err := Open(c); err == nil {
		m.Close() // what was left was enough
	} else if t.Log(err); !errors.Is(err, ErrDataDir) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a start without space: %v, want a refusal because of ENOSPC", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	os.Remove(dir + "/filler")
	m = open(t, c)
	defer m.Close()
	if got, ok := m.Broker().Last("/a"); !ok || got.Position.Seq < last.Position.Seq || got.Position.Epoch != last.Position.Epoch {
		t.Errorf("the newest is %v, but %v was confirmed", got.Position, last.Position)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() != 0 || syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m") != nil {
		t.Skip("only root can make a read-only file system for this test")
	}
	defer syscall.Unmount(dir, 0)
	m := open(t, Config{DataDir: dir + "/data", SegmentBytes: 64 << 10})
	m.Close()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/data", dir + "/new"} {
		m, err := Open(Config{DataDir: path})
		if err == nil {
			m.Close()
			t.Fatalf("%s was not refused", path)
		}
		if t.Log(err); !errors.Is(err, ErrDataDir) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("got %q, want a refusal that says read-only", err)
		}
	}
}

// While the disk hangs the queue fills up to its limit and no further; when it
// goes on, everybody gets an answer, and no publisher's order is turned round.
func TestBusyWhileTheDiskHangs(t *testing.T) {
	var hang sync.Mutex
	bad := &badDisk{sync: func(string) error { hang.Lock(); defer hang.Unlock(); return nil }}
	m := open(t, Config{DataDir: t.TempDir(), QueueBytes: 64 << 10, openDir: bad.open})
	defer m.Close()
	hang.Lock()
	var told sync.WaitGroup
	var mu sync.Mutex
	placed, busy, firstBusy := 0, 0, 1000
	publishAll := func(from, to int) {
		for n := from; n <= to; n++ {
			told.Add(1)
			m.Publish(item("/a", 1, uint64(n), strings.Repeat("x", 1000)), func(at stream.Place, err error) {
				defer told.Done()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && n < firstBusy && at.Position.Seq == stream.Seq(n):
					placed++
				case errors.Is(err, broker.ErrBusy) && n > placed:
					busy++
					firstBusy = min(firstBusy, n)
				default:
					t.Errorf("number %d: %+v, %v", n, at, err)
				}
			})
		}
	}
	publishAll(1, 50)
	hang.Unlock()
	told.Wait()
	mu.Lock()
	first := placed
	mu.Unlock()
	if first != 50 {
		t.Errorf("%d of 50 were placed; they had room", first)
	}
	hang.Lock()
	publishAll(51, 200)
	hang.Unlock()
	told.Wait()
	if mu.Lock(); busy == 0 || placed+busy != 200 {
		t.Errorf("%d were placed and %d refused, of 200 in a queue for 64", placed, busy)
	}
	mu.Unlock()
}

// Close finishes what was taken in, and answers afterwards.
func TestClose(t *testing.T) {
	m := open(t, Config{DataDir: t.TempDir()})
	var placed atomic.Int64
	for n := range 5000 {
		m.Publish(item("/a", 1, uint64(n+1), "x"), func(_ stream.Place, err error) {
			if err == nil {
				placed.Add(1)
			}
		})
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if got := placed.Load(); got != 5000 {
		t.Errorf("%d of 5000 were placed when Close returned", got)
	}
	if _, err := brokertest.PublishWait(context.Background(), m, item("/a", 1, 5001, "x")); !errors.Is(err, broker.ErrStopped) {
		t.Errorf("after Close: %v, want ErrStopped", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if m.Err() != nil {
		t.Errorf("a member that was closed says that it stopped: %v", m.Err())
	}
}

// A disk that hangs for ever keeps Close waiting, but nobody else: after
// CloseTimeout all are answered.
func TestCloseWhileTheDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var hangs atomic.Bool
		dir := t.TempDir()
		m := open(t, Config{DataDir: dir, CloseTimeout: time.Minute, openDir: (&badDisk{sync: func(string) error {
			if hangs.Load() {
				<-stuck
			}
			return nil
		}}).open})
		publish(t, m, item("/a", 1, 1, "x"))
		hangs.Store(true)
		start := time.Now()
		told := make(chan error, 1)
		m.Publish(item("/a", 1, 2, "x"), func(_ stream.Place, err error) { told <- err })
		closed := make(chan error, 1)
		go func() { closed <- m.Close() }()
		if err := <-told; !errors.Is(err, broker.ErrStopped) || time.Since(start) != time.Minute {
			t.Errorf("told %v after %v, want ErrStopped after a minute", err, time.Since(start))
		}
		close(stuck)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A member that has much to apply at once tells how far it is, and does not look
// idle meanwhile.
func TestStatusMovesWhileMuchIsApplied(t *testing.T) {
	var hang atomic.Bool
	goOn := make(chan struct{})
	bad := &badDisk{sync: func(string) error {
		if hang.Load() {
			<-goOn
		}
		return nil
	}}
	m := open(t, Config{DataDir: t.TempDir(), openDir: bad.open})
	defer m.Close()
	hang.Store(true)
	const items = 30_000
	applied := make(map[uint64]bool)
	var told sync.WaitGroup
	told.Add(items)
	for n := range items {
		m.Publish(item("/a", 1, uint64(n+1), strings.Repeat("x", 100)), func(_ stream.Place, err error) {
			if err != nil {
				t.Error(err)
			}
			applied[m.Status().Applied] = true // the loop calls it
			told.Done()
		})
	}
	close(goOn)
	told.Wait()
	// One write of 3 MB, of which a round applies half a megabyte.
	if len(applied) < 4 {
		t.Errorf("while %d publications were applied it told of %d states, want one a round", items, len(applied))
	}
}

func TestTooLarge(t *testing.T) {
	m := open(t, Config{DataDir: t.TempDir()})
	defer m.Close()
	big := item("/a", 1, 1, strings.Repeat("x", stream.MaxItemBytes))
	if _, err := brokertest.PublishWait(context.Background(), m, big); !errors.Is(err, broker.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	publish(t, m, item("/a", 1, 2, strings.Repeat("x", stream.MaxItemBytes-100)))
}

func TestRefusedByALimit(t *testing.T) {
	m := open(t, Config{DataDir: t.TempDir(), Limits: stream.Limits{Subjects: 16}})
	defer m.Close()
	for n := range 20 {
		_, err := brokertest.PublishWait(context.Background(), m, item(fmt.Sprintf("/%d", n), 1, uint64(n+1), "x"))
		if refused := errors.Is(err, broker.ErrRefused); refused != (n >= 16) {
			t.Errorf("subject %d of 16: %v", n+1, err)
		}
	}
}

// Limits are agreed on once, and again when they change.
func TestLimitsTravelInTheLog(t *testing.T) {
	dir := t.TempDir()
	entries := func(c Config) uint64 {
		m := open(t, c)
		publish(t, m, item("/a", 0, 0, "x"))
		m.Close() // so that the status is the last one
		if got := m.Broker().Limits().CacheBytes; c.Limits.CacheBytes != 0 && got != c.Limits.CacheBytes {
			t.Errorf("the cache may have %d bytes, want %d", got, c.Limits.CacheBytes)
		}
		return m.Status().Last
	}
	small := stream.Limits{CacheBytes: 1 << 20}
	a := entries(Config{DataDir: dir})
	b := entries(Config{DataDir: dir})
	c := entries(Config{DataDir: dir, Limits: small})
	d := entries(Config{DataDir: dir, Limits: small})
	// Each start has an entry of Raft's and one publication; a change has one more.
	if b-a != 2 || c-b != 3 || d-c != 2 {
		t.Errorf("the log had %d, %d, %d, %d entries", a, b, c, d)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := open(t, Config{DataDir: t.TempDir(), Registerer: reg})
	publish(t, m, item("/a", 1, 1, "x"))
	if err := m.Close(); err != nil { // a scrape may still come
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		switch x := f.GetMetric()[0]; {
		case x.GetHistogram() != nil:
			got[f.GetName()] = float64(x.GetHistogram().GetSampleCount())
		case x.GetCounter() != nil:
			got[f.GetName()] = x.GetCounter().GetValue()
		default:
			got[f.GetName()] = x.GetGauge().GetValue()
		}
	}
	for name, least := range map[string]float64{
		"nackmq_commit_seconds": 1, "nackmq_log_sync_seconds": 1, "nackmq_log_entries_total": 2, "nackmq_log_bytes_total": 32,
		"nackmq_log_entries": 2, "nackmq_cache_bytes": 1, "nackmq_log_index": 1, "nackmq_subjects": 1, "nackmq_leading": 1,
		"nackmq_queue_bytes": 0, "nackmq_retained_bytes": 0, "nackmq_snapshot_seconds": 0,
	} {
		if v, ok := got[name]; !ok || v < least {
			t.Errorf("%s is %v (there: %v), want at least %v", name, v, ok, least)
		}
	}
}
