package nackproto

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nackmq/nackmq/stream"
)

var update = flag.Bool("update", false, "rewrite the scenarios' outcomes in testdata; then read the diff")

// TestScenarios plays the conversations in testdata/client against a
// ClientSession. A file opens with what it shows. A line is a command; the lines
// behind it, indented, are what the session does: "→" a frame it sends, "·" an
// event it tells.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/client/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), "# ") {
				t.Error("a scenario opens with what it shows")
			}
			got := playScenario(t, string(text))
			if got == string(text) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("the session does otherwise; -update rewrites the file\n%s", diffLines(string(text), got))
		})
	}
}

func playScenario(t *testing.T, text string) string {
	var out strings.Builder
	p := newPlayer(t, ClientConfig{Name: "c", Incarnation: 0x11})
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, did := range p.do(strings.Fields(line)) {
			out.WriteString("  " + did + "\n")
		}
	}
	return out.String()
}

// A player drives a session by the words of a scenario.
type player struct {
	t      *testing.T
	s      *ClientSession
	now    time.Time
	config ClientConfig
}

func newPlayer(t *testing.T, c ClientConfig) *player {
	s, err := NewClientSession(c)
	if err != nil {
		t.Fatal(err)
	}
	return &player{t: t, s: s, now: time.UnixMilli(0), config: c}
}

func (p *player) do(w []string) (did []string) {
	frame := func(f ServerFrame) {
		// Through the codec, so that scenarios keep to what the wire can say.
		var d FromServer
		got, _, err := d.Decode(f.AppendTo(nil), 1<<20)
		if err != nil {
			p.t.Fatalf("%v: %v", w, err)
		}
		if err := p.s.HandleFrame(p.now, got); err != nil {
			did = append(did, "error: "+err.Error())
		}
	}
	switch w[0] {
	case "config":
		for _, kv := range w[1:] {
			k, v, _ := strings.Cut(kv, "=")
			if k == "subjects" {
				p.config.MaxSubjects = atoi(p.t, v)
			}
		}
		p.s, _ = NewClientSession(p.config)
	case "connect":
		p.s.HandleConnected(p.now)
	case "disconnect":
		p.s.HandleDisconnected(p.now)
	case "end":
		p.s.Close()
	case "wait":
		// Time passes as for a driver: from timeout to timeout.
		d, err := time.ParseDuration(w[1])
		if err != nil {
			p.t.Fatal(err)
		}
		until := p.now.Add(d)
		for {
			at := p.s.Timeout()
			if at.IsZero() || at.After(until) {
				break
			}
			p.now = at
			p.s.HandleTimeout(p.now)
			for _, x := range p.polled() {
				did = append(did, fmt.Sprintf("%v %s", time.Duration(p.now.UnixMilli())*time.Millisecond, x))
			}
		}
		p.now = until
	case "pause", "unpause":
		p.s.HandlePaused(p.now, w[0] == "pause")
	case "subscribe":
		p.s.Subscribe(stream.Filter(w[1]), p.start(w[2:]))
	case "unsubscribe":
		p.s.Unsubscribe(uint64(atoi(p.t, w[1])))
	case "publish":
		for _, payload := range w[2:] {
			if err := p.s.Publish(stream.Publication{Subject: stream.Subject(w[1]), Payload: []byte(payload)}, nil); err != nil {
				did = append(did, "error: "+err.Error())
			}
		}
	case "restart":
		p.config.Positions = p.s.Positions(nil)
		s, err := NewClientSession(p.config)
		if err != nil {
			p.t.Fatal(err)
		}
		p.s = s
	case "state":
		did = append(did, p.s.State().String())
	case "welcome":
		f := &Welcome{Version: 1, Cluster: 0xc1, Index: 100, Heartbeat: 30 * time.Second, MaxFrame: 1 << 20, MaxUnconfirmed: 3, MaxSubscriptions: 10, MaxAliases: 2, Node: "n"}
		for _, kv := range w[1:] {
			switch k, v, _ := strings.Cut(kv, "="); k {
			case "version":
				f.Version = uint8(atoi(p.t, v))
			case "cluster":
				f.Cluster = stream.ClusterID(atoi(p.t, v))
			case "frame":
				f.MaxFrame = atoi(p.t, v)
			}
		}
		frame(f)
	case "subscribed": // sub index [code]
		f := &Subscribed{Sub: uint64(atoi(p.t, w[1])), Index: stream.Index(atoi(p.t, w[2]))}
		if len(w) > 3 {
			f.Code = SubscribeCode(atoi(p.t, w[3]))
		}
		frame(f)
	case "subject": // alias name epoch:after upto
		at := p.position(w[3])
		frame(&Subject{p.alias(w[1]), at.Epoch, at.Seq, stream.Seq(atoi(p.t, w[4])), stream.Subject(w[2])})
	case "message": // alias seq…
		for _, seq := range w[2:] {
			n := atoi(p.t, seq)
			frame(&Message{p.alias(w[1]), uint16(n), []byte("m" + seq)})
		}
	case "message_x", "snapshot": // alias seq
		frame(&MessageX{Alias: p.alias(w[1]), Seq: stream.Seq(atoi(p.t, w[2])), Index: 50, Time: 1, Payload: []byte("x" + w[2]), Snapshot: w[0] == "snapshot"})
	case "continuous":
		frame(&Continuous{p.alias(w[1]), stream.Seq(atoi(p.t, w[2]))})
	case "reset": // alias reason epoch:first last next, or 0 reason name
		f := &Reset{Alias: p.alias(w[1]), Reason: ResetReason(atoi(p.t, w[2]))}
		if f.Alias == 0 {
			f.Name = stream.Subject(w[3])
		} else {
			at := p.position(w[3])
			f.Epoch, f.First, f.Last, f.Next = at.Epoch, at.Seq, stream.Seq(atoi(p.t, w[4])), stream.Seq(atoi(p.t, w[5]))
		}
		frame(f)
	case "confirm": // number, then code*count[@epoch:seq]
		f := &Confirm{Number: uint64(atoi(p.t, w[1]))}
		for _, run := range w[2:] {
			head, at, placed := strings.Cut(run, "@")
			code, count, _ := strings.Cut(head, "*")
			r := Run{Code: PublishCode(atoi(p.t, code)), Count: uint64(atoi(p.t, count))}
			if placed {
				r.Position = p.position(at)
			}
			if r.Code.MayRepeat() {
				r.Retry = 500 * time.Millisecond
			}
			f.Runs = append(f.Runs, r)
		}
		frame(f)
	case "heartbeat": // index alias:seq…
		f := &Heartbeat{Index: stream.Index(atoi(p.t, w[1]))}
		for _, top := range w[2:] {
			if top == "stale" {
				f.Stale = true
				continue
			}
			a, seq, _ := strings.Cut(top, ":")
			f.Tops = append(f.Tops, Top{p.alias(a), stream.Seq(atoi(p.t, seq))})
		}
		frame(f)
	case "drain":
		frame(&Drain{Within: 10 * time.Second, Servers: w[1:]})
	case "close": // code
		frame(&Close{Code: CloseCode(atoi(p.t, w[1]))})
	default:
		p.t.Fatalf("no such command: %v", w)
	}
	return append(did, p.polled()...)
}

// polled gives what the session has to send and to tell.
func (p *player) polled() (did []string) {
	for {
		f, ok := p.s.PollFrame(p.now)
		if !ok {
			break
		}
		did = append(did, "→ "+f.String())
	}
	for {
		e, ok := p.s.PollEvent()
		if !ok {
			return did
		}
		s := e.String()
		if d, ok := e.(*Delivery); ok {
			s += fmt.Sprintf(" subs=%v", d.Subs)
		}
		did = append(did, "· "+s)
	}
}

func (p *player) start(w []string) (st Start) {
	for _, x := range w {
		switch {
		case x == "live":
		case x == "last":
			st.Kind = StartLast
		case strings.HasPrefix(x, "history:"):
			st.Kind, st.Count = StartHistory, uint64(atoi(p.t, x[len("history:"):]))
		case strings.HasPrefix(x, "index:"):
			st.Kind, st.Cluster, st.Index = StartIndex, 0xc1, stream.Index(atoi(p.t, x[len("index:"):]))
		default:
			name, at, _ := strings.Cut(x, "@")
			st.Marks = append(st.Marks, Mark{stream.Subject(name), p.position(at)})
		}
	}
	return st
}

func (p *player) alias(s string) Alias { return Alias(atoi(p.t, s)) }

func (p *player) position(s string) stream.Position {
	e, n, _ := strings.Cut(s, ":")
	return stream.Position{Epoch: stream.Epoch(atoi(p.t, e)), Seq: stream.Seq(atoi(p.t, n))}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		t.Fatalf("not a number in a scenario: %v", err)
	}
	return int(n)
}

func diffLines(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < len(w) || i < len(g); i++ {
		a, b := "", ""
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, b, a)
		}
	}
	return ""
}
