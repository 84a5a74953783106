package bridge

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

// ask subscribes with user properties, given as pairs.
func (p *peer) ask(id uint16, filters packets.Subscriptions, pairs ...string) *packets.Packet {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: id, Filters: filters}
	for i := 0; i < len(pairs); i += 2 {
		pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: pairs[i], Val: pairs[i+1]})
	}
	p.send(pk)
	return p.want(packets.Suback)
}

// user gives the first value of a user property.
func user(pk *packets.Packet, key string) string {
	for _, u := range pk.Properties.User {
		if u.Key == key {
			return u.Val
		}
	}
	return ""
}

// next wants a message with QoS 1 and acknowledges it.
func (p *peer) next(topic, payload string) *packets.Packet {
	p.t.Helper()
	m := p.message(topic, payload)
	if m.FixedHeader.Qos > 0 {
		p.send(ackOf(packets.Puback, m.PacketID))
	}
	return m
}

// Deliveries of a subscription that asked for it say where they are, live,
// retained, sent again and after a restart; others do not.
func TestPositions(t *testing.T) {
	h := newHouse(t)
	where := func(m *packets.Packet, position string, index int) {
		t.Helper()
		if got, want := user(m, positionKey)+" "+user(m, indexKey), fmt.Sprintf("%s %d", position, index); got != want {
			t.Errorf("%s %s is at %s, want %s", m.TopicName, m.Payload, got, want)
		}
	}
	h.publish("kept", "r", q1|stream.Retain)
	s := h.connect(5, "s", keep)
	if ack := s.ask(1, packets.Subscriptions{sub("#", 1)}, positionKey, "yes"); user(ack, indexKey) != "1" ||
		user(ack, logKey) != h.log.Broker.Cluster().String() {
		t.Errorf("SUBACK says %v", ack.Properties.User)
	}
	plain := h.connect(5, "plain")
	plain.subscribe(1, sub("a", 0))
	kept, _ := h.log.Broker.Top("/kept")
	where(s.next("kept", "r"), kept.Last.String(), 1)

	liar := h.connect(5, "liar")
	lie := pub("a", "1", 0, 0)
	lie.Properties.User = []packets.UserProperty{{Key: positionKey, Val: "a lie"}}
	liar.send(lie)
	if m := plain.next("a", "1"); user(m, positionKey) != "a lie" || user(m, indexKey) != "" {
		t.Errorf("who did not ask was told %v", m.Properties.User)
	}
	top, _ := h.log.Broker.Top("/a")
	where(s.next("a", "1"), top.Last.String(), 2)

	h.publish("a", "2", q1)
	second := stream.Position{Epoch: top.Last.Epoch, Seq: 2}.String()
	where(s.message("a", "2"), second, 3)
	s.goodbye()
	h = h.restart(true)
	s = h.connect(5, "s", keep)
	m := s.next("a", "2")
	if !m.FixedHeader.Dup {
		t.Error("sent again without DUP")
	}
	where(m, second, 3)
	h.publish("a", "3", q1)
	where(s.next("a", "3"), stream.Position{Epoch: top.Last.Epoch, Seq: 3}.String(), 4)
	s.goodbye()
	// In the old language nothing of it can be said.
	old := h.connect(4, "s", keep)
	h.publish("a", "4", q1)
	old.next("a", "4")
}

// A subscription that begins after a place is served from the log, in order, and
// goes on live; what it cannot be given is told.
func TestResume(t *testing.T) {
	a := epochAfter(t, "a")
	const log = "0000000000000001"
	for _, c := range []struct {
		name   string
		filter string
		trim   bool // the cache has lost everything up to index 12
		ask    []string
		want   string
		lost   string
	}{
		{"after a position", "a", false, []string{afterKey, a + ":7"}, "a8 a9 a10 live", ""},
		{"after the newest", "a", false, []string{afterKey, a + ":10"}, "live", ""},
		{"before the first", "a", false, []string{afterKey, a + ":0"}, "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 live", ""},
		{"ahead", "a", false, []string{afterKey, a + ":99"}, "live", ""},
		{"after an index", "+", false, []string{afterIndexKey, "15"}, "b8 a9 b9 a10 b10 live", ""},
		{"after an index, one subject", "a", false, []string{afterIndexKey, "16"}, "a9 a10 live", ""},
		{"after the newest index", "#", false, []string{afterIndexKey, "20"}, "live", ""},
		{"after an index of this log", "#", false, []string{logKey, log, afterIndexKey, "17"}, "b9 a10 b10 live", ""},
		{"from the beginning", "b", false, []string{afterIndexKey, "0"}, "b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 live", ""},

		{"ahead of this log", "#", false, []string{logKey, log, afterIndexKey, "99"}, "live", ""},
		{"ahead of any log", "b", false, []string{afterIndexKey, "99"}, "b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 live", "100-"},
		{"another log", "b", false, []string{afterIndexKey, "17", logKey, "other"}, "b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 live", "18-"},
		{"another epoch", "a", false, []string{afterKey, "00c0ffee00c0ffee:7"}, "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 live", "00c0ffee00c0ffee:8-"},
		{"no history", "none", false, []string{afterKey, "00c0ffee00c0ffee:7"}, "live", "00c0ffee00c0ffee:8-"},
		{"trimmed position", "a", true, []string{afterKey, a + ":2"}, "a7 a8 a9 a10 live", a + ":3-6"},
		{"position just held", "a", true, []string{afterKey, a + ":6"}, "a7 a8 a9 a10 live", ""},
		{"trimmed index", "+", true, []string{afterIndexKey, "3"}, "a7 b7 a8 b8 a9 b9 a10 b10 live", "4-12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			limits := stream.Limits{}
			if c.trim {
				limits.CacheMessages = 100
			}
			h := newHouseOver(t, brokertest.NewLocal(t, limits))
			for i := 1; i <= 10; i++ {
				h.publish("a", fmt.Sprint("a", i), q1)
				h.publish("b", fmt.Sprint("b", i), q1)
			}
			for c.trim && h.log.Broker.Tail() < 12 {
				h.publish("filler/x", "x", q1)
			}
			p := h.connect(5, "p", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 3 })
			ack := p.ask(1, packets.Subscriptions{sub(c.filter, 1)}, c.ask...)
			if ack.ReasonCodes[0] != 1 {
				t.Fatalf("SUBACK %#x %q", ack.ReasonCodes[0], ack.Properties.ReasonString)
			}
			if got := user(ack, lostKey); got != c.lost || (got != "") != strings.HasPrefix(ack.Properties.ReasonString, "lost "+c.lost+": ") {
				t.Errorf("lost %q (%q), want %q", got, ack.Properties.ReasonString, c.lost)
			}
			h.publish(strings.NewReplacer("+", "a", "#", "a").Replace(c.filter), "live", q1)
			var got []string
			for len(got) == 0 || got[len(got)-1] != "live" {
				m := p.want(packets.Publish)
				p.send(ackOf(packets.Puback, m.PacketID))
				got = append(got, string(m.Payload))
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			p.silence()
			outcome := map[bool]string{false: "continuous", true: "reset"}[c.lost != ""]
			if n := h.metric("nackmq_resumes_total", "mqtt", outcome); n != 1 {
				t.Errorf("%v resumes are %s", n, outcome)
			}
		})
	}
}

// epochAfter gives the epoch of the first subject of a new log.
func epochAfter(t *testing.T, name string) string {
	h := newHouse(t)
	h.publish(name, "x", q1)
	top, _ := h.log.Broker.Top(stream.Subject("/" + name))
	return top.Last.Epoch.String()
}

// The program in MAPPING.md does what it says.
func TestPythonResume(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil || exec.Command(python, "-c", "import paho.mqtt.client").Run() != nil {
		t.Skip("paho-mqtt is not installed (Debian: apt-get install python3-paho-mqtt)")
	}
	text, err := os.ReadFile("MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(text)
	h := newHouse(t)
	host, port, _ := net.SplitHostPort(h.addr)
	// run prints what the program says, as many lines as wanted.
	run := func(lines int, args ...string) (out []string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), python, append([]string{"-c", string(program[1])}, args...)...)
		cmd.Env = append(os.Environ(), "HOST="+host, "PORT="+port)
		cmd.Stderr = os.Stderr
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it subscribes", func() (there bool) {
			h.loop.do(func() {
				for _, s := range h.loop.sessions {
					there = there || len(s.subs) == 1
				}
			})
			return there
		})
		h.publish("sensor/temp", "live", q1)
		for in := bufio.NewScanner(pipe); len(out) < lines && in.Scan(); {
			out = append(out, in.Text())
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return out
	}
	first := run(1)
	var place string
	if n, _ := fmt.Sscanf(first[0], "live at %s", &place); n != 1 || !strings.HasSuffix(place, ":1") {
		t.Fatalf("it says %q", first)
	}
	eventually(t, "it is gone", func() bool { return h.metric("nackmq_sessions", "mqtt") == 0 })
	h.publish("sensor/temp", "missed", q1)
	second := run(2, place)
	if want := []string{"missed at " + place[:17] + "2", "live at " + place[:17] + "3"}; !slices.Equal(second, want) {
		t.Errorf("it says %q, want %q", second, want)
	}
	eventually(t, "it is gone", func() bool { return h.metric("nackmq_sessions", "mqtt") == 0 })
	other := run(4, "00c0ffee00c0ffee:9")
	if other[0] != "lost 00c0ffee00c0ffee:10-" || other[1] != "live at "+place {
		t.Errorf("it says %q", other)
	}
}

// What cannot be asked for is refused with a sentence, and the session goes on.
func TestResumeRefused(t *testing.T) {
	h := newHouse(t)
	p := h.connect(5, "p")
	for _, c := range []struct {
		name    string
		filters packets.Subscriptions
		ask     []string
		why     string
	}{
		{"two filters", packets.Subscriptions{sub("a", 1), sub("b", 1)}, []string{afterKey, "00c0ffee00c0ffee:7"}, "needs a single filter"},
		{"wildcard", packets.Subscriptions{sub("a/#", 1)}, []string{afterKey, "00c0ffee00c0ffee:7"}, "needs a single filter"},
		{"shared", packets.Subscriptions{sub("$share/g/a", 1)}, []string{afterIndexKey, "7"}, "shared subscription"},
		{"two places", packets.Subscriptions{sub("a", 1)}, []string{afterIndexKey, "7", afterKey, "00c0ffee00c0ffee:7"}, "more than one place"},
		{"no position", packets.Subscriptions{sub("a", 1)}, []string{afterKey, "seven"}, "invalid position"},
		{"no number", packets.Subscriptions{sub("a", 1)}, []string{afterIndexKey, "-1"}, "not a number"},
		{"neither yes nor no", packets.Subscriptions{sub("a", 1)}, []string{positionKey, "1"}, "neither yes nor no"},
	} {
		ack := p.ask(1, c.filters, c.ask...)
		for _, code := range ack.ReasonCodes {
			if code != 0x83 {
				t.Errorf("%s: SUBACK %#x, want 0x83", c.name, code)
			}
		}
		if !strings.Contains(ack.Properties.ReasonString, c.why) {
			t.Errorf("%s: %q does not say %q", c.name, ack.Properties.ReasonString, c.why)
		}
	}
	h.publish("a", "x", q1)
	p.silence()
}

// Who takes no user properties in a SUBACK is told of a loss with a message.
func TestResumeOfAQuietClient(t *testing.T) {
	for name, change := range map[string]func(*packets.Packet){
		"no problem information": func(pk *packets.Packet) {
			pk.Properties.RequestProblemInfo, pk.Properties.RequestProblemInfoFlag = 0, true
		},
		"small packets": func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 60 },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.publish("t", "1", q1)
			p := h.connect(5, "p", change)
			if ack := p.ask(1, packets.Subscriptions{sub("t", 1)}, afterKey, "00c0ffee00c0ffee:7"); len(ack.Properties.User) > 0 || ack.Properties.ReasonString != "" {
				t.Errorf("SUBACK says %q %v", ack.Properties.ReasonString, ack.Properties.User)
			}
			if m := p.next("t", "1"); user(m, lostKey) != "1-1" {
				t.Errorf("told %v", m.Properties.User)
			}
		})
	}
}

// A session that reads the log again goes on after a restart or a crash of the
// broker, though the client does not ask again, and forgets it with UNSUBSCRIBE.
func TestResumeOutlivesTheBroker(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprint("crash ", crash), func(t *testing.T) {
			h := newHouse(t)
			for i := range 20 {
				h.publish("t", fmt.Sprint(i), stream.Flags(0).WithQoS(byte(1+i%2)))
				h.publish("other", fmt.Sprint(i), q1)
			}
			s := h.connect(5, "s", keep, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 2 })
			s.subscribe(1, sub("other", 1), sub("never", 1))
			s.ask(2, packets.Subscriptions{sub("never", 2)}, afterIndexKey, "0")
			s.ask(3, packets.Subscriptions{sub("t", 2)}, afterIndexKey, "9")
			r := &receiver{held: map[uint16]bool{}}
			r.take(s.message("t", "5"))
			r.take(s.message("t", "6")) // the window is full: the rest is owed
			h = h.restart(crash, s)
			h.publish("t", "20", q1)
			s = h.connect(5, "s", keep, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 2 })
			h.finish(s, r)
			want := []string{}
			for i := 5; i <= 20; i++ {
				want = append(want, fmt.Sprint(i))
			}
			// 6 is of QoS 1 and comes again.
			if got := append(slices.Clip(r.got[:2]), r.got[3:]...); r.got[2] != "6" || !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", r.got, want)
			}

			s.ask(4, packets.Subscriptions{sub("t", 2)}, afterIndexKey, "0")
			s.read(patience)
			s.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 5, Filters: packets.Subscriptions{{Filter: "t"}}})
			s.answer(r)
			h = h.restart(crash, s)
			s = h.connect(5, "s", keep)
			n := len(r.got)
			h.finish(s, r)
			if len(r.got) > n+2 {
				t.Errorf("what was unsubscribed comes: %v", r.got[n:])
			}
		})
	}
}

// A long way through the log does not keep what the session was already given from
// being told apart: other filters bring nothing twice, and order holds, while others
// publish.
func TestResumeBesideOtherFilters(t *testing.T) {
	h := newHouse(t)
	const old = 3000
	for i := range old {
		h.publish([]string{"x", "y", "z"}[i%3], fmt.Sprint(i), q1)
	}
	s := h.connect(5, "s")
	s.subscribe(1, sub("y", 1))
	s.ask(2, packets.Subscriptions{sub("x", 1)}, afterIndexKey, "0", positionKey, "yes")
	go func() {
		for i := range 300 {
			h.publish([]string{"x", "y", "z"}[i%3], fmt.Sprint(old+i), q1)
		}
	}()
	var x, y []string
	for len(x) < (old+300)/3 || len(y) < 100 {
		m := s.want(packets.Publish)
		s.send(ackOf(packets.Puback, m.PacketID))
		if m.TopicName == "x" {
			x = append(x, string(m.Payload))
		} else {
			y = append(y, string(m.Payload))
		}
	}
	s.silence()
	for i := range x {
		if x[i] != fmt.Sprint(3*i) {
			t.Fatalf("x: number %d is %s", i, x[i])
		}
	}
	for i := range y {
		if y[i] != fmt.Sprint(old+3*i+1) {
			t.Fatalf("y: number %d is %s", i, y[i])
		}
	}
}
