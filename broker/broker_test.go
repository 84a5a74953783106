package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

func item(s stream.Subject, text string) stream.Item {
	return stream.Item{Publication: stream.Publication{Subject: s, Payload: []byte(text)}}
}

// TestReaderSeesEverythingOnce runs in a bubble, so that a lost wake-up is a
// deadlock that names who waits, not a test that hangs now and then.
func TestReaderSeesEverythingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers, publishers, each = 4, 3, 200
		local := brokertest.NewLocal(t, stream.Limits{})
		var wg sync.WaitGroup
		for range readers {
			r := local.Broker.NewReader()
			wg.Go(func() {
				defer r.Close()
				next := stream.Index(1)
				buf := make([]stream.Message, 0, 7)
				for next <= publishers*each {
					ms, err := r.Next(buf)
					if err != nil {
						t.Error(err)
						return
					}
					if len(ms) == 0 {
						<-r.Wake()
					}
					for _, m := range ms {
						if m.Index != next {
							t.Errorf("index %d, want %d", m.Index, next)
						}
						next++
					}
				}
			})
		}
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					if _, err := brokertest.PublishWait(t.Context(), local, item(stream.Subject(fmt.Sprintf("/p/%d", p)), fmt.Sprint(i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestSlowReaderIsToldOnce(t *testing.T) {
	local := brokertest.NewLocal(t, stream.Limits{CacheMessages: 10})
	r := local.Broker.NewReader()
	defer r.Close()
	for i := range 30 {
		if _, err := brokertest.PublishWait(t.Context(), local, item("/a", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]stream.Message, 0, 100)
	if _, err := r.Next(buf); !errors.Is(err, broker.ErrLapped) {
		t.Fatalf("Next = %v, want ErrLapped: twenty messages are gone", err)
	}
	ms, err := r.Next(buf)
	if err != nil || len(ms) != 10 || ms[0].Position.Seq != 21 {
		t.Errorf("then %d messages, %v: want the ten that are held", len(ms), err)
	}
	if _, err := local.Broker.ReadLog(3, buf); !errors.Is(err, broker.ErrLapped) {
		t.Errorf("ReadLog below the tail = %v, want ErrLapped", err)
	}
}

func TestPublishWaitGivesUpWithItsContext(t *testing.T) {
	local := brokertest.NewLocal(t, stream.Limits{})
	hold := make(chan struct{})
	local.Hold = func() { <-hold }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := brokertest.PublishWait(ctx, local, item("/a", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	close(hold)
}

// A publisher may hold a lock that its done takes.
func TestClosedLocalAnswersFromAnotherGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := brokertest.NewLocal(t, stream.Limits{})
		local.Close()
		var mu sync.Mutex
		told := make(chan error, 1)
		mu.Lock()
		local.Publish(item("/a", "x"), func(_ stream.Place, err error) {
			mu.Lock()
			defer mu.Unlock()
			told <- err
		})
		mu.Unlock()
		if err := <-told; !errors.Is(err, broker.ErrStopped) {
			t.Errorf("told %v, want ErrStopped", err)
		}
	})
}

func TestSubjectsStopsWhereItIsTold(t *testing.T) {
	local := brokertest.NewLocal(t, stream.Limits{})
	for i := range 50 {
		if _, err := brokertest.PublishWait(t.Context(), local, item(stream.Subject(fmt.Sprintf("/d/%d", i)), "x")); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[stream.Subject]int{}
	for from, more := stream.SubjectID(0), true; more; {
		n := 0
		from, more = local.Broker.Subjects("/d/+", from, func(s stream.Subject, _ stream.Top) bool {
			seen[s]++
			n++
			return n < 7
		})
	}
	if len(seen) != 50 {
		t.Errorf("saw %d subjects, want 50", len(seen))
	}
	for s, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", s, n)
		}
	}
}

// BenchmarkReaders tells what readers cost a commit: n loops that follow.
func BenchmarkReaders(b *testing.B) {
	for _, n := range []int{0, 2, 16} {
		b.Run(fmt.Sprintf("readers=%d", n), func(b *testing.B) {
			br := broker.New(stream.NewLedger(1))
			for range n {
				defer br.NewReader().Close()
			}
			var batch stream.Batch
			it := item("/a", "21.5")
			number := uint64(0)
			for b.Loop() {
				number++
				batch.Reset(stream.Origin{})
				batch.Add(&it)
				if _, err := br.Apply(stream.Entry{Number: number, Data: batch.Entry()}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
