package session_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// heard gives what a subscriber of filter on /x hears, without the epochs: what was
// told lost as -N, and the seqs that came. It fails if they leave a hole, or if a
// heartbeat's index is beyond what came.
func heard(t *testing.T, w *world, c *conn) (seqs []int) {
	t.Helper()
	var epoch stream.Epoch
	at := stream.Seq(0)
	known := stream.Subject("")
	alias := map[nackproto.Alias]stream.Subject{}
	for _, f := range c.frames(t) {
		switch f := f.(type) {
		case *nackproto.Subject:
			alias[f.Alias] = f.Name
			if f.Name != "/x" {
				continue
			}
			if known == "" || epoch != f.Epoch {
				known, epoch, at = f.Name, f.Epoch, f.After
			}
		case *nackproto.Reset:
			if alias[f.Alias] != "/x" {
				continue
			}
			seqs = append(seqs, -int(f.Next-1))
			epoch, at = f.Epoch, f.Next-1
		case *nackproto.Message:
			if alias[f.Alias] != "/x" {
				continue
			}
			at++
			if uint16(at) != f.Seq16 {
				t.Errorf("MESSAGE %d where %d comes next", f.Seq16, at)
			}
			seqs = append(seqs, int(at))
		case *nackproto.MessageX:
			if alias[f.Alias] != "/x" {
				continue
			}
			if f.Seq != at+1 {
				t.Errorf("MESSAGE_X %d where %d comes next", f.Seq, at+1)
			}
			at = f.Seq
			seqs = append(seqs, int(at))
		case *nackproto.Heartbeat:
			if top, ok := w.ledger.Top("/x"); ok && f.Index >= top.Index && (top.Last.Epoch != epoch || top.Last.Seq != at) {
				t.Errorf("HEARTBEAT says %d, but %v is told of %d:%d", f.Index, top.Last, epoch, at)
			}
		}
	}
	return seqs
}

// What is published while the loop is behind the cache is told lost, also of a
// subject that had no message before: nobody knows of it, so nothing else would.
func TestLapseOfASubjectThatIsBorn(t *testing.T) {
	for _, filter := range []string{"/x", "/+", "/#"} {
		t.Run(filter, func(t *testing.T) {
			w := newWorld(t, 1, stream.Limits{CacheMessages: 4}, session.Config{})
			id, c := w.greet()
			w.send(id, &nackproto.Subscribe{Sub: 1, Filter: filter})
			w.settle()
			w.say("lost", "/x", "/x", "/x")
			w.say("other", "/y", "/y", "/y", "/y", "/y", "/y")
			w.settle()
			w.pass(31_000)
			w.say("four", "/x")
			w.settle()
			if d := cmp.Diff([]int{-3, 4}, heard(t, w, c)); d != "" {
				t.Errorf("want 1 to 3 told, then 4 (-want +got):\n%s", d)
			}
		})
	}
}

// The same of a subject that was forgotten and came back meanwhile.
func TestLapseOfASubjectThatIsReborn(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{CacheMessages: 4, CacheAge: time.Second, SubjectAge: 2 * time.Second}, session.Config{})
	id, c := w.greet()
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/x"})
	w.say("1", "/x")
	w.settle()
	w.now += 10_000
	for range 10 {
		w.say("other", "/y", "/y")
	}
	if _, ok := w.ledger.Top("/x"); ok {
		t.Fatal("/x is not forgotten")
	}
	w.say("lost", "/x", "/x", "/x")
	w.say("other", "/y", "/y", "/y", "/y", "/y", "/y")
	w.settle()
	w.pass(31_000)
	if d := cmp.Diff([]int{1, -3}, heard(t, w, c)); d != "" {
		t.Errorf("want 1 of the old history, and 1 to 3 of the other told (-want +got):\n%s", d)
	}
}

// When the loop was behind, what the cache still holds is delivered, and nobody
// is told of a loss who has none.
func TestLapseLosesNoMoreThanTheCacheDid(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{CacheMessages: 4}, session.Config{})
	id, c := w.greet()
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/x"})
	w.say("1", "/x")
	w.settle()
	w.say("other", "/y", "/y", "/y")
	w.say("2", "/x")
	w.say("other", "/y")
	w.settle() // only /y lost something
	w.say("lost", "/x", "/x", "/x")
	w.say("held", "/x", "/x", "/x", "/x")
	w.settle()
	if d := cmp.Diff([]int{1, 2, -5, 6, 7, 8, 9}, heard(t, w, c)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
