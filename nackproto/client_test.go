package nackproto

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nackmq/nackmq/stream"
)

// Whatever a server sends: what the session delivers is without a hole that it
// did not tell of, nothing is delivered twice within a history, and a resume ends
// at most once.
func TestStreamsAreCompleteOrTold(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		if err := playRandom(r); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func playRandom(r *rand.Rand) error {
	s, err := NewClientSession(ClientConfig{Incarnation: 1, MaxSubjects: 1 + r.IntN(4)})
	if err != nil {
		return err
	}
	now := time.UnixMilli(0)
	names := []stream.Subject{"/a", "/b", "/c", "/d"}
	pick := func() stream.Subject { return names[r.IntN(len(names))] }
	at := map[stream.Subject]stream.Position{}
	awaited := map[stream.Subject]bool{}
	var trace []string
	for step := range 300 {
		now = now.Add(time.Duration(r.IntN(500)) * time.Millisecond)
		alias, epoch, seq := Alias(1+r.IntN(3)), stream.Epoch(1+r.IntN(2)), stream.Seq(r.IntN(12))
		var f ServerFrame
		switch r.IntN(20) {
		case 0:
			if s.State() == StateDown {
				s.HandleConnected(now)
			}
		case 1:
			s.HandleDisconnected(now)
			clear(awaited)
		case 2:
			s.Subscribe([]stream.Filter{"/a", "/b", "/+", "/#"}[r.IntN(4)], Start{Kind: StartKind(r.IntN(4))})
		case 3:
			if r.IntN(4) == 0 {
				s.Unsubscribe(uint64(r.IntN(5)))
			}
		case 4, 5:
			f = &Welcome{Version: 1, Cluster: stream.ClusterID(1 + r.IntN(2)), Heartbeat: 30 * time.Second, MaxFrame: 1 << uint(8+r.IntN(8)), MaxUnconfirmed: 4, MaxAliases: 2}
		case 6, 7:
			f = &Subscribed{Sub: s.lastSub - uint64(r.IntN(2)), Index: stream.Index(seq)}
		case 8, 9:
			f = &Subject{alias, epoch, seq, seq + stream.Seq(r.IntN(3)), pick()}
		case 10, 11, 12, 13:
			f = &Message{alias, uint16(seq), nil}
		case 14:
			f = &MessageX{Alias: alias, Seq: seq + 1, Index: 1, Snapshot: r.IntN(2) == 0}
		case 15:
			f = &Continuous{alias, seq}
		case 16:
			f = &Reset{Alias: alias, Reason: Trimmed, Epoch: epoch, First: seq + 1, Last: seq + 2, Next: seq + 1 + stream.Seq(r.IntN(3))}
		case 17:
			f = &Reset{Reason: Other, Name: pick()}
		case 18:
			f = &Heartbeat{Index: stream.Index(step), Tops: []Top{{alias, seq}}}
		case 19:
			s.HandleTimeout(now)
		}
		if f != nil && s.State() != StateDown {
			trace = append(trace, f.String())
			_ = s.HandleFrame(now, f)
		}
		for {
			out, ok := s.PollFrame(now)
			if !ok {
				break
			}
			trace = append(trace, "→ "+out.String())
			if sub, ok := out.(*Subscribe); ok {
				for _, m := range sub.Start.Marks {
					if awaited[m.Subject] {
						return fmt.Errorf("two marks of %s at a time\n%s", m.Subject, strings.Join(trace, "\n"))
					}
					awaited[m.Subject] = true
				}
			}
		}
		for {
			e, ok := s.PollEvent()
			if !ok {
				break
			}
			trace = append(trace, "· "+e.String())
			wrong := ""
			switch e := e.(type) {
			case *Delivery:
				p := e.Message.Position
				if e.Kind == Snapshot {
					break
				}
				// A subject that nobody followed in between begins anew.
				if last, ok := at[e.Message.Subject]; ok && s.subjects.byName[e.Message.Subject] != nil && last != (stream.Position{Epoch: p.Epoch, Seq: p.Seq - 1}) && last != p {
					wrong = fmt.Sprintf("delivered after %v", last)
				}
				at[e.Message.Subject] = p
			case *Lost:
				awaited[e.Subject] = false
				if e.Next.IsZero() {
					delete(at, e.Subject)
				} else {
					at[e.Subject] = stream.Position{Epoch: e.Next.Epoch, Seq: e.Next.Seq - 1}
				}
			case *Continued:
				if !awaited[e.Subject] {
					wrong = "nobody asked"
				}
				awaited[e.Subject] = false
				if last, ok := at[e.Subject]; ok && last != e.Position {
					wrong = fmt.Sprintf("the user is at %v", last)
				}
			}
			if wrong != "" {
				return fmt.Errorf("%v: %s\n%s", e, wrong, strings.Join(trace, "\n"))
			}
		}
		// What the session holds is what the user was told; a subject that was
		// forgotten, or that it has just met, starts over.
		for _, name := range names {
			k := s.subjects.byName[name]
			if k == nil {
				delete(at, name)
				delete(awaited, name)
			} else if last, ok := at[name]; !ok {
				at[name] = k.tracker.Last()
			} else if last != k.tracker.Last() {
				return fmt.Errorf("%s: the user is at %v, the session at %v\n%s", name, last, k.tracker.Last(), strings.Join(trace, "\n"))
			}
		}
		if n := len(s.subjects.all); n != len(s.subjects.byName) || n > s.config.MaxSubjects {
			return fmt.Errorf("%d subjects in order, %d by name, at most %d", n, len(s.subjects.byName), s.config.MaxSubjects)
		}
		for a, k := range s.subjects.byAlias {
			if k.alias != a {
				return fmt.Errorf("alias %d is bound to a subject with alias %d", a, k.alias)
			}
		}
	}
	return nil
}

func TestPositionsAreChecked(t *testing.T) {
	s, _ := NewClientSession(ClientConfig{})
	s.Subscribe("/a/#", Start{})
	s.HandleConnected(time.UnixMilli(0))
	for _, f := range []ServerFrame{
		&Welcome{Version: 1, Cluster: 7, Heartbeat: time.Second, MaxFrame: 1 << 20},
		&Subscribed{Sub: 1, Index: 9},
		&Subject{1, testEpoch, 4, 4, "/a/b"},
		&Subject{2, testEpoch, 6, 6, "/a/c"},
	} {
		if err := s.HandleFrame(time.UnixMilli(0), f); err != nil {
			t.Fatal(err)
		}
	}
	whole := s.Positions(map[stream.Subject]stream.Position{
		"/a/c":    {Epoch: testEpoch, Seq: 5}, // the application is not that far
		"/a/gone": {Epoch: testEpoch, Seq: 1}, // it was not told yet that this is lost
	})
	again, err := NewClientSession(ClientConfig{Positions: whole})
	if err != nil {
		t.Fatal(err)
	}
	want := stored{
		filters: []storedFilter{{"/a/#", 7, 9}},
		marks: []Mark{
			{"/a/b", stream.Position{Epoch: testEpoch, Seq: 4}},
			{"/a/c", stream.Position{Epoch: testEpoch, Seq: 5}},
			{"/a/gone", stream.Position{Epoch: testEpoch, Seq: 1}},
		},
	}
	if d := cmp.Diff(again.stored, want, cmp.AllowUnexported(stored{}, storedFilter{})); d != "" {
		t.Errorf("read back (-got +want):\n%s", d)
	}
	for n := range whole {
		if _, err := NewClientSession(ClientConfig{Positions: whole[:n]}); !errors.Is(err, ErrPositions) {
			t.Errorf("cut to %d of %d bytes: %v, want ErrPositions", n, len(whole), err)
		}
		bad := append([]byte(nil), whole...)
		bad[n] ^= 4
		if _, err := NewClientSession(ClientConfig{Positions: bad}); !errors.Is(err, ErrPositions) {
			t.Errorf("byte %d changed: %v, want ErrPositions", n, err)
		}
	}
}

func TestPublishIsRefusedHere(t *testing.T) {
	s, _ := NewClientSession(ClientConfig{})
	if err := s.Publish(stream.Publication{Subject: "/a"}, nil); !errors.Is(err, ErrNoPublisher) {
		t.Errorf("without an incarnation: %v", err)
	}
	s, _ = NewClientSession(ClientConfig{Incarnation: 1})
	if err := s.Publish(stream.Publication{Subject: "/a", Payload: make([]byte, DefaultMaxFrame)}, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the frame limit: %v", err)
	}
}

// What a message costs the client session: from bytes to an event.
func BenchmarkClientMessage(b *testing.B) {
	s, _ := NewClientSession(ClientConfig{})
	s.Subscribe("/a", Start{})
	now := time.UnixMilli(0)
	s.HandleConnected(now)
	for _, f := range []ServerFrame{
		&Welcome{Version: 1, Heartbeat: time.Hour, MaxFrame: 1 << 20}, &Subscribed{Sub: 1}, &Subject{1, testEpoch, 0, 0, "/a"},
	} {
		_ = s.HandleFrame(now, f)
	}
	in := AppendMessage(nil, 1, 0, make([]byte, 64))
	var d FromServer
	b.ReportAllocs()
	for seq := 1; b.Loop(); seq++ {
		in[3], in[4] = byte(seq>>8), byte(seq)
		f, _, err := d.Decode(in, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.HandleFrame(now, f); err != nil {
			b.Fatal(err)
		}
		for {
			if _, ok := s.PollEvent(); !ok {
				break
			}
		}
	}
}

// What a publish costs the client session: from a publication to bytes.
func BenchmarkClientPublish(b *testing.B) {
	s, _ := NewClientSession(ClientConfig{Incarnation: 1})
	now := time.UnixMilli(0)
	s.HandleConnected(now)
	_ = s.HandleFrame(now, &Welcome{Version: 1, Heartbeat: time.Hour, MaxFrame: 1 << 20, MaxUnconfirmed: 4096, MaxAliases: 256})
	pub := stream.Publication{Subject: "/a", Payload: make([]byte, 128)}
	var out []byte
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		_ = s.Publish(pub, nil)
		out = out[:0]
		for {
			f, ok := s.PollFrame(now)
			if !ok {
				break
			}
			out = f.AppendTo(out)
		}
		n++
		if n%256 == 0 {
			_ = s.HandleFrame(now, &Confirm{Number: n - 255, Runs: []Run{{Placed, 256, stream.Position{Epoch: 1, Seq: stream.Seq(n - 255)}, 0}}})
			for {
				if _, ok := s.PollEvent(); !ok {
					break
				}
			}
		}
	}
}
