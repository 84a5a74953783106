package session

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// limitNames are the names of the limits in PROTOCOL.md §9.
var limitNames = map[string]string{
	"MaxFrame":         "frame limit",
	"MaxSubscriptions": "subscriptions",
	"FilterBytes":      "bytes of a session's filters",
	"MaxSubjects":      "subjects of a session",
	"MaxUnconfirmed":   "unconfirmed",
	"UnconfirmedBytes": "bytes of a session's unconfirmed publishes",
	"WaitingBytes":     "bytes of the unconfirmed publishes of all sessions of a loop",
	"PartialBytes":     "frames that did not come whole, of all sessions of a loop",
	"MaxAliases":       "client's aliases",
	"ControlBytes":     "answers that are not read",
	"Heartbeat":        "heartbeat",
	"HelloTimeout":     "hello timeout",
	"FrameTimeout":     "a frame that does not come whole",
	"StuckTimeout":     "stuck transport",
	"NackLinger":       "NACK linger",
	"BehindTimeout":    "behind",
	"NackRate":         "NACK rate",
	"PublishTimeout":   "answer to a publish",
}

// Every limit that a server can set stands in PROTOCOL.md §9 with its default,
// and as one that the server sets.
func TestLimitsStandInTheProtocol(t *testing.T) {
	doc, err := os.ReadFile("../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## 9. Limits\n")
	section, _, _ = strings.Cut(section, "\n## 10.")
	rows := map[string][]string{}
	for line := range strings.Lines(section) {
		if cells := strings.Split(strings.Trim(line, "| \n"), " | "); len(cells) == 4 {
			rows[cells[0]] = cells[1:]
		}
	}
	defaults := reflect.ValueOf(Limits{}.withDefaults())
	for i := range defaults.NumField() {
		field := defaults.Type().Field(i).Name
		row, ok := rows[limitNames[field]]
		if !ok {
			t.Errorf("%s: PROTOCOL.md §9 has no %q", field, limitNames[field])
			continue
		}
		if got, want := limitIn(t, row[0]), defaults.Field(i).Int(); got != want {
			t.Errorf("%s: the code says %d, the document %q", field, want, row[0])
		}
		if by := row[1]; by != "WELCOME" && by != "the server" {
			t.Errorf("%s: the document says that %q is set by %q", field, limitNames[field], by)
		}
	}
}

// limitIn reads the number that a default begins with: nanoseconds if it is a
// time.
func limitIn(t *testing.T, text string) int64 {
	t.Helper()
	m := regexp.MustCompile(`^([0-9,]+)(?: (KiB|MiB|s)\b)?`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no number in %q", text)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * map[string]int64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "s": int64(time.Second)}[m[2]]
}
