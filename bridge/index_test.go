package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nackmq/nackmq/stream"
)

// The index finds what stream.Filter says, while filters come and go.
func TestIndexAgainstFilter(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	segments := []string{"a", "b", "", "$x", "+", "#"}
	name := func(most int) string {
		var b strings.Builder
		for range 1 + rng.IntN(3) {
			b.WriteString("/" + segments[rng.IntN(most)])
		}
		return b.String()
	}
	x := newIndex()
	var in []*subscription
	sessions := make([]*session, 10)
	for i := range sessions {
		sessions[i] = newSession(fmt.Sprint(i))
	}
	for step := range 20_000 {
		switch {
		case rng.IntN(10) < 2:
			if f, err := stream.ParseFilter(name(6)); err == nil && len(in) < 100 {
				s := &subscription{session: sessions[rng.IntN(len(sessions))], filter: f, id: uint32(step + 1)}
				x.add(s)
				in = append(in, s)
			}
		case rng.IntN(10) < 2 && len(in) > 0:
			i := rng.IntN(len(in))
			x.remove(in[i])
			in = slices.Delete(in, i, i+1)
		default:
			s, err := stream.ParseSubject(name(4))
			if err != nil {
				continue
			}
			m := stream.Message{Index: 1, ID: stream.SubjectID(len(s)), Position: stream.Position{Epoch: epochOf(s)}}
			m.Subject = s
			want := map[string][]uint32{}
			for _, sub := range in {
				if sub.filter.Match(s) {
					want[sub.session.id] = append(want[sub.session.id], sub.id)
				}
			}
			got := map[string][]uint32{}
			for _, t := range x.match(&m).targets {
				got[t.session.id] = t.ids
			}
			for _, ids := range want {
				slices.Sort(ids)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, step %d, subject %q: %s", seed, step, s, diff)
			}
		}
	}
	for _, s := range in {
		x.remove(s)
	}
	if n := x.filters.Len(); n != 0 {
		t.Errorf("the empty index holds %d filters", n)
	}
}

func epochOf(s stream.Subject) stream.Epoch { return stream.Epoch(originOf(string(s))) }

// The window against a plain model: an id follows from the index and is used once,
// what is done frees room, the order is kept.
func TestWindow(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	w := window{limit: 20}
	var open []uint16
	index := stream.Index(65000)
	for step := range 300_000 {
		index += stream.Index(rng.IntN(20000))
		if w.open < w.limit && w.room(index) == slices.Contains(open, idOf(index)) {
			t.Fatalf("seed %d, step %d: room for index %d: %v, with %v open", seed, step, index, w.room(index), open)
		}
		switch {
		case rng.IntN(1000) == 0:
			w.rewind()
			var again []uint16
			for {
				s, ok := w.again()
				if !ok {
					break
				}
				again = append(again, s.id)
				w.sentAgain()
			}
			if diff := cmp.Diff(open, again); diff != "" && len(open)+len(again) > 0 {
				t.Fatalf("seed %d, step %d: %s", seed, step, diff)
			}
		case w.room(index) && rng.IntN(2) == 0:
			id := w.add(sent{index: index})
			if id != idOf(index) {
				t.Fatalf("seed %d, step %d: index %d has id %d", seed, step, index, id)
			}
			if rng.IntN(10) == 0 {
				w.drop()
				continue
			}
			if slices.Contains(open, id) || id == 0 {
				t.Fatalf("seed %d, step %d: id %d is in use", seed, step, id)
			}
			open = append(open, id)
		case len(open) > 0:
			k := rng.IntN(len(open))
			if rng.IntN(2) == 0 {
				k = 0
			}
			i, ok := w.find(open[k])
			if !ok || w.at(i).id != open[k] {
				t.Fatalf("seed %d, step %d: id %d is not found", seed, step, open[k])
			}
			w.done(i)
			if _, ok := w.find(open[k]); ok {
				t.Fatalf("seed %d, step %d: id %d is found when done", seed, step, open[k])
			}
			open = slices.Delete(open, k, k+1)
		}
		if w.open != len(open) {
			t.Fatalf("seed %d, step %d: %d open, want %d", seed, step, w.open, len(open))
		}
	}
}
