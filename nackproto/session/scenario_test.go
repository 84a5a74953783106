package session_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

var update = flag.Bool("update", false, "write what happens into testdata")

// Conversations stand in testdata as text: lines that begin with a command,
// below each what the clients got because of it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios in testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("rewrite with -update, then read the difference (-want +got):\n%s", d)
			}
		})
	}
}

// A scene is a world whose clients have names.
type scene struct {
	*world
	names []string
	ids   map[string]session.ID
	subs  map[string]uint64
	pubs  map[string]uint64
}

func play(t *testing.T, text []byte) []byte {
	s := &scene{world: newWorld(t, 1, stream.Limits{}, session.Config{}), ids: map[string]session.ID{}, subs: map[string]uint64{}, pubs: map[string]uint64{}}
	var out bytes.Buffer
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		line := in.Text()
		if strings.HasPrefix(line, "    ") {
			continue // what happened when it was written
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		s.do(strings.Fields(line))
		s.settle()
		for _, name := range s.names {
			c := s.conns[s.ids[name]]
			for _, f := range texts(c.frames(t)) {
				fmt.Fprintf(&out, "    %s: %s\n", name, f)
			}
			if c.closed {
				fmt.Fprintf(&out, "    %s: closed\n", name)
				s.names = remove(s.names, name)
				break
			}
		}
	}
	return out.Bytes()
}

func remove(names []string, name string) (out []string) {
	for _, n := range names {
		if n != name {
			out = append(out, n)
		}
	}
	return out
}

func (s *scene) num(text string) uint64 {
	s.t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// do carries out one command.
func (s *scene) do(w []string) {
	s.t.Helper()
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	switch w[0] {
	case "cache": // cache MESSAGES
		s.apply(stream.AppendLimits(nil, stream.Limits{CacheMessages: int64(s.num(w[1]))}))
	case "open": // open NAME: connects and says HELLO
		id, _ := s.open()
		s.ids[w[1]], s.names = id, append(s.names, w[1])
		s.send(id, &nackproto.Hello{Lowest: 1, Highest: 1, Incarnation: stream.PublisherID(len(s.ids)), Name: w[1]})
	case "say": // say SUBJECT PAYLOAD [COUNT]
		n := 1
		if arg(3) != "" {
			n = int(s.num(w[3]))
		}
		for range n {
			s.say(w[2], stream.Subject(w[1]))
			s.pump(1)
		}
	case "sub": // sub NAME FILTER [last|history:N|index:N] [SUBJECT@SEQ…]
		s.subs[w[1]]++
		f := &nackproto.Subscribe{Sub: s.subs[w[1]], Filter: w[2]}
		for _, o := range w[3:] {
			kind, n, _ := strings.Cut(o, ":")
			switch kind {
			case "last":
				f.Start.Kind = nackproto.StartLast
			case "history":
				f.Start.Kind, f.Start.Count = nackproto.StartHistory, s.num(n)
			case "index":
				f.Start.Kind, f.Start.Index, f.Start.Cluster = nackproto.StartIndex, stream.Index(s.num(n)), clusterID
			default:
				name, seq, _ := strings.Cut(o, "@")
				at := stream.Position{Epoch: 1, Seq: stream.Seq(s.num(seq))}
				if top, ok := s.ledger.Top(stream.Subject(name)); ok {
					at.Epoch = top.Last.Epoch
				}
				f.Start.Marks = append(f.Start.Marks, nackproto.Mark{Subject: stream.Subject(name), Position: at})
			}
		}
		s.send(s.ids[w[1]], f)
	case "unsub": // unsub NAME SUB
		s.send(s.ids[w[1]], &nackproto.Unsubscribe{Sub: s.num(w[2])})
	case "nack": // nack NAME SUBJECT AFTER UPTO
		top, _ := s.ledger.Top(stream.Subject(w[2]))
		s.send(s.ids[w[1]], &nackproto.Nack{Alias: nackproto.AliasOf(top.ID), Epoch: top.Last.Epoch, After: stream.Seq(s.num(w[3])), Upto: stream.Seq(s.num(w[4]))})
	case "pub": // pub NAME SUBJECT PAYLOAD [NUMBER]
		s.pubs[w[1]]++
		if arg(4) != "" {
			s.pubs[w[1]] = s.num(w[4])
		}
		s.send(s.ids[w[1]], &nackproto.Publish{Number: s.pubs[w[1]], Name: w[2], Payload: []byte(w[3])})
	case "room": // room NAME BYTES|all: what the connection takes
		c := s.conns[s.ids[w[1]]]
		c.room = -1
		if w[2] != "all" {
			c.room = int(s.num(w[2]))
		}
		s.core.Writable(s.ids[w[1]], s.now)
	case "answer": // answer placed|noquorum|busy: to publishes
		s.code = map[string]nackproto.PublishCode{"placed": nackproto.Placed, "noquorum": nackproto.NoQuorum, "busy": nackproto.Busy}[w[1]]
	case "pass": // pass MILLISECONDS
		s.pass(int64(s.num(w[1])))
	case "drain": // drain MILLISECONDS
		s.core.Drain(msec(s.num(w[1])), s.now)
	case "stale": // stale true|false: whether this member is cut off from the majority
		s.core.SetStale(w[1] == "true")
	default:
		s.t.Fatalf("unknown command %q", w[0])
	}
}

func msec(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }
