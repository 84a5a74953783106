package main

import (
	"fmt"
	"strings"
	"testing"
)

// numbers gives the lines from to to.
func numbers(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

func TestFromPositionContinuesExactly(t *testing.T) {
	b := serveNode(t)
	placed := parseRecords(t, must(t, numbers(1, 500), binary, "pub", "--json", "--server", b.nack(), "/n", "-"))
	for _, after := range []int{0, 1, 250, 499, 500} {
		w := subJSON(b, "--from", fmt.Sprintf("%s:%d", placed[0].Epoch, after), "/n")
		for want := after + 1; want <= 500; want++ {
			m := w.message()
			if m.Seq != uint64(want) || m.Payload != fmt.Sprint(want) || m.Kind != "recovered" || m.Epoch != placed[0].Epoch {
				t.Fatalf("after %d, message %d is %+v", after, want, m)
			}
		}
	}
	w := subJSON(b, "--from", placed[499].Epoch+":500", "/n")
	if e := w.event("continuous"); e.Subject != "/n" || e.Seq != 500 || e.Epoch != placed[0].Epoch {
		t.Errorf("at the end: %+v", e)
	}
	must(t, "", binary, "pub", "--server", b.nack(), "/n", "501")
	if m := w.message(); m.Seq != 501 || m.Kind != "live" {
		t.Errorf("after the end: %+v", m)
	}
}

// A position that the cache no longer holds ends in one reset that names the
// first and the newest message that can be had; then these come.
func TestFromPositionBeforeTheCache(t *testing.T) {
	b := serveNode(t, "--limits-cache-messages", "100")
	placed := parseRecords(t, must(t, numbers(1, 500), binary, "pub", "--json", "--server", b.nack(), "/n", "-"))
	w := subJSON(b, "--from", placed[9].Epoch+":10", "/n")
	reset := w.event("reset")
	if reset.Subject != "/n" || reset.Epoch != placed[0].Epoch || reset.Last != 500 || reset.First < 300 || reset.First > 401 || reset.Reason == "" {
		t.Fatalf("reset = %+v, want the last to be 500 and the first one of the newest 100 or a few more", reset)
	}
	for want := reset.First; want <= 500; want++ {
		if m := w.message(); m.Seq != want || m.Payload != fmt.Sprint(want) {
			t.Fatalf("message %d is %+v", want, m)
		}
	}
	must(t, "", binary, "pub", "--server", b.nack(), "/n", "501")
	for {
		r := parseRecord(t, w.next())
		if r.Event == "reset" {
			t.Fatalf("a second reset: %+v", r)
		}
		if r.Event == "" {
			if r.Seq != 501 {
				t.Errorf("after the reset: %+v", r)
			}
			break
		}
	}
}

// A position of another history is told, too.
func TestFromPositionOfAnotherEpoch(t *testing.T) {
	b := serveNode(t)
	must(t, numbers(1, 3), binary, "pub", "--server", b.nack(), "/n", "-")
	w := subJSON(b, "--from", "00000000deadbeef:2", "/n")
	if r := w.event("reset"); r.Subject != "/n" || r.First != 1 || r.Last != 3 || r.Reason == "" {
		t.Errorf("reset = %+v, want first 1 and last 3", r)
	}
}

func TestFromLastAndHistory(t *testing.T) {
	b := serveNode(t)
	must(t, numbers(1, 20), binary, "pub", "--server", b.nack(), "/h/a", "-")
	must(t, numbers(1, 2), binary, "pub", "--server", b.nack(), "/h/b", "-")
	last := subJSON(b, "--from", "last", "--count", "2", "/h/#")
	got := map[string]uint64{}
	for range 2 {
		m := last.message()
		if m.Kind != "snapshot" || m.Retained {
			t.Errorf("last gave %+v", m)
		}
		got[m.Subject] = m.Seq
	}
	if got["/h/a"] != 20 || got["/h/b"] != 2 {
		t.Errorf("last gave %v, want 20 and 2", got)
	}
	history := subJSON(b, "--from", "history:5", "--count", "7", "/h/#")
	seqs := map[string][]uint64{}
	for range 7 {
		m := history.message()
		seqs[m.Subject] = append(seqs[m.Subject], m.Seq)
	}
	if fmt.Sprint(seqs) != "map[/h/a:[16 17 18 19 20] /h/b:[1 2]]" {
		t.Errorf("history:5 gave %v", seqs)
	}
}

func TestCountEndsSub(t *testing.T) {
	b := serveNode(t)
	must(t, numbers(1, 5), binary, "pub", "--server", b.nack(), "/n", "-")
	out := must(t, "", binary, "sub", "--json", "--server", b.nack(), "--from", "history:5", "--count", "3", "/n")
	n := 0
	for _, r := range parseRecords(t, out) {
		if r.Event == "" {
			n++
		}
	}
	if n != 3 {
		t.Errorf("--count 3 gave %d messages:\n%s", n, out)
	}
}

// A position that no server has is told, with what the server has, and ends sub.
func TestFromPositionAheadOfTheLog(t *testing.T) {
	b := serveNode(t)
	placed := parseRecords(t, must(t, numbers(1, 5), binary, "pub", "--json", "--server", b.nack(), "/demo/hello", "-"))
	at := placed[0].Epoch
	stdout, stderr, code := execute(t, "", binary, "sub", "--server", b.nack(), "--from", at+":99", "/demo/hello")
	sentence := "the server has /demo/hello only up to " + at + ":5, and --from asks for what comes after 99"
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if code != 1 || stdout != "" || !strings.HasPrefix(lines[0], "-- connected to "+b.native+" (node ") ||
		lines[1] != "-- connection lost: "+sentence || lines[len(lines)-1] != "nackmq: "+sentence {
		t.Errorf("exit %d, %q, standard error:\n%s", code, stdout, stderr)
	}
	b.wantLog("is behind its cluster", 1)
}

// wantLog wants a text in the node's log so many times.
func (b *broker) wantLog(text string, times int) {
	b.t.Helper()
	if n := strings.Count(b.logs.String(), text); n != times {
		b.t.Errorf("the log says %q %d times, want %d:\n%s", text, n, times, b.logs)
	}
}
