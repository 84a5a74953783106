package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

func TestQueuePacks(t *testing.T) {
	add := func(q *Queue, n, size int) {
		for range n {
			it := stream.Item{Publication: stream.Publication{Subject: "/a", Payload: make([]byte, size)}}
			q.Add(&it, func(stream.Place, error) {}, 0)
		}
	}
	for name, tt := range map[string]struct {
		n, size int
		want    string // items of the batches that are full, and of the one that is not
	}{
		"nothing":        {0, 0, ""},
		"one":            {1, 10, "+1"},
		"just full":      {512, 10, "512"},
		"full and a bit": {513, 10, "512+1"},
		"by bytes":       {100, 4000, "16 16 16 16 16 16+4"},
		"large ones":     {3, 100_000, "1 1+1"},
	} {
		t.Run(name, func(t *testing.T) {
			q := NewQueue(1, 1, 1<<30)
			add(q, tt.n, tt.size)
			var full []string
			number := uint64(0)
			next := func(partial bool) *Batch {
				b := q.take(partial)
				if b != nil {
					if number++; b.Origin != (stream.Origin{Node: 1, Life: 1, Batch: number}) {
						t.Errorf("batch %d is %+v", number, b.Origin)
					}
				}
				return b
			}
			for b := next(false); b != nil; b = next(false) {
				full = append(full, fmt.Sprint(len(b.Dones)))
			}
			got := strings.Join(full, " ")
			if b := next(true); b != nil {
				got += fmt.Sprint("+", len(b.Dones))
			}
			if got != tt.want || !q.Empty() {
				t.Errorf("got batches of %q, want %q", got, tt.want)
			}
		})
	}
}

// After "try again" everything is refused until that was told: otherwise a
// publisher's later number could be placed and its earlier one never again.
func TestQueueKeepsAPublishersOrder(t *testing.T) {
	q := NewQueue(1, 1, 1000)
	var busy []int
	add := func(n, size int) {
		it := stream.Item{Publication: stream.Publication{Subject: "/a", Payload: make([]byte, size)}, Publisher: 1, Number: uint64(n)}
		q.Add(&it, func(_ stream.Place, err error) {
			if !errors.Is(err, broker.ErrBusy) {
				t.Errorf("number %d: %v, want ErrBusy", n, err)
			}
			busy = append(busy, n)
		}, 0)
	}
	add(1, 600)
	add(2, 600) // no room
	add(3, 10)  // would fit
	told := q.Refused()
	add(4, 10) // comes while they are told
	for _, r := range told {
		r.Done(stream.Place{}, r.Err)
	}
	for _, r := range q.Refused() {
		r.Done(stream.Place{}, r.Err)
	}
	if len(q.Refused()) > 0 {
		t.Error("there is something left to tell")
	}
	add(5, 10)
	if fmt.Sprint(busy) != "[2 3 4]" || len(q.Refused()) > 0 {
		t.Errorf("refused were %v, want [2 3 4]", busy)
	}
	if b := q.take(true); len(b.Dones) != 2 {
		t.Errorf("the batch has %d items, want numbers 1 and 5", len(b.Dones))
	}
}

// What no ledger takes must not get into the log: every member would stop at it.
func TestQueueRefusesWhatTheLedgerWouldStopAt(t *testing.T) {
	q := NewQueue(1, 1, 64<<20)
	for name, op := range map[string]stream.SessionOp{
		"a huge state":    stream.SaveSession("s", 1, make([]byte, stream.MaxSessionState+1)),
		"an endless name": stream.EndSession(string(make([]byte, stream.MaxSessionID+1))),
		"nothing":         {},
	} {
		q.Add(&stream.Item{Op: op}, func(stream.Place, error) {}, 0)
		if r := q.Refused(); len(r) != 1 || !errors.Is(r[0].Err, broker.ErrTooLarge) {
			t.Errorf("%s: refused %v", name, r)
		}
		q.Refused()
	}
}
