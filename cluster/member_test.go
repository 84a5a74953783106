package cluster

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

func open(t testing.TB, c Config) *Member {
	t.Helper()
	m, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func item(subject string, publisher, number uint64, payload string) stream.Item {
	return stream.Item{
		Publication: stream.Publication{Subject: stream.Subject(subject), Payload: []byte(payload)},
		Publisher:   stream.PublisherID(publisher), Number: number,
	}
}

func publish(t testing.TB, m *Member, it stream.Item) stream.Place {
	t.Helper()
	p, err := brokertest.PublishWait(context.Background(), m, it)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPublishAndReopen(t *testing.T) {
	dir := t.TempDir()
	m := open(t, Config{DataDir: dir})
	first := publish(t, m, item("/a", 7, 1, "one"))
	if first.Position.Seq != 1 || first.Index != 1 {
		t.Fatalf("the first message got %+v", first)
	}
	if again := publish(t, m, item("/a", 7, 1, "one")); again.Position != first.Position || again.Outcome != stream.Repeated {
		t.Errorf("a repetition got %+v, want the place of the first, %v", again, first.Position)
	}
	id := m.Status()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	m = open(t, Config{DataDir: dir})
	defer m.Close()
	if s := m.Status(); s.Cluster != id.Cluster || s.Node != id.Node || s.Life != 2 {
		t.Errorf("came back as %v/%v life %d, was %v/%v", s.Cluster, s.Node, s.Life, id.Cluster, id.Node)
	}
	if got, ok := m.Broker().Last("/a"); !ok || string(got.Payload) != "one" || got.Position != first.Position {
		t.Errorf("after a restart /a is %+v, want %v", got, first.Position)
	}
	if again := publish(t, m, item("/a", 7, 1, "one")); again.Position != first.Position {
		t.Errorf("a repetition after a restart got %v, want %v", again.Position, first.Position)
	}
	if next := publish(t, m, item("/a", 7, 2, "two")); next.Position != (stream.Position{Epoch: first.Position.Epoch, Seq: 2}) {
		t.Errorf("the next message got %v, want seq 2 of the same epoch", next.Position)
	}
}

// Many publishers at once: every done comes once, each publisher's items keep
// their order, and a restart has them all.
func TestManyPublishers(t *testing.T) {
	dir := t.TempDir()
	m := open(t, Config{DataDir: dir})
	const publishers, each = 16, 500
	var wg sync.WaitGroup
	var mu sync.Mutex
	places := make(map[string]stream.Place)
	for p := range publishers {
		wg.Go(func() {
			var all sync.WaitGroup
			subject := fmt.Sprintf("/p/%d", p)
			for n := range each {
				all.Add(1)
				m.Publish(item(subject, uint64(p+1), uint64(n+1), fmt.Sprint(n)), func(at stream.Place, err error) {
					defer all.Done()
					mu.Lock()
					defer mu.Unlock()
					key := fmt.Sprintf("%s %d", subject, n)
					if _, ok := places[key]; ok || err != nil || at.Position.Seq != stream.Seq(n+1) {
						t.Errorf("%s: got %+v, %v, twice: %v", key, at, err, ok)
					}
					places[key] = at
				})
			}
			all.Wait()
		})
	}
	wg.Wait()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, Config{DataDir: dir})
	defer m.Close()
	if got := m.Broker().Head(); got != publishers*each {
		t.Fatalf("the log has %d messages after a restart, want %d", got, publishers*each)
	}
	msgs, err := m.Broker().ReadLog(0, make([]stream.Message, 0, publishers*each))
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range msgs {
		key := fmt.Sprintf("%s %s", msg.Subject, msg.Payload)
		if places[key].Position != msg.Position || places[key].Index != msg.Index {
			t.Fatalf("%s came back at %v, was confirmed at %v", key, msg.Position, places[key].Position)
		}
	}
}

func TestSnapshotsAndCompaction(t *testing.T) {
	dir := t.TempDir()
	c := Config{DataDir: dir, SegmentBytes: 256 << 10, SnapshotBytes: 256 << 10,
		Limits: stream.Limits{CacheBytes: 1 << 20, CacheMessages: 1000}}
	m := open(t, c)
	payload := string(bytes.Repeat([]byte("x"), 1000))
	var all sync.WaitGroup
	var last stream.Place
	for n := range 10_000 {
		all.Add(1)
		m.Publish(item(fmt.Sprintf("/s/%d", n%100), 1, uint64(n+1), payload), func(at stream.Place, err error) {
			if err != nil {
				t.Error(err)
			}
			last = at
			all.Done()
		})
		if n%500 == 0 {
			all.Wait()
		}
	}
	all.Wait()
	s := m.Status()
	if s.Base == 0 || s.First <= s.Base {
		t.Errorf("10 MB of log with a cache of 1 MB: base %d, first entry %d; the log was not compacted", s.Base, s.First)
	}
	tail := m.Broker().Tail()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, c)
	defer m.Close()
	if m.Broker().Head() != last.Index || m.Broker().Tail() != tail {
		t.Errorf("after a restart the cache is (%d, %d], was (%d, %d]", m.Broker().Tail(), m.Broker().Head(), tail, last.Index)
	}
	if next := publish(t, m, item("/s/99", 1, 10_001, "x")); next.Position.Seq != 101 {
		t.Errorf("seq goes on at %d, want 101", next.Position.Seq)
	}
}
