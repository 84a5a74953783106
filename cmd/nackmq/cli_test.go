package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nackmq/nackmq/nackproto/nacknet"
)

// command runs one command line in this process.
func command(t testing.TB, stdin string, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, streams{strings.NewReader(stdin), &out, &err}, environ)
	return out.String(), err.String(), code
}

func TestCommandLine(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.yaml")
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(good, []byte("node-name: n1\nmqtt: 127.0.0.1:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte("nativ: 127.0.0.1:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mute := answerWith(t, "")
	web := answerWith(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	for _, tt := range []struct {
		name    string
		args    []string
		environ []string
		code    int
		stdout  string // what it contains
		stderr  string // what the one sentence contains; empty: nothing is there
	}{
		{name: "nothing prints help", args: nil, stdout: "nackmq serve"},
		{name: "help", args: []string{"--help"}, stdout: "Exit codes"},
		{name: "help of serve", args: []string{"serve", "--help"}, stdout: "--allow-anonymous"},
		{name: "help of pub", args: []string{"help", "pub"}, stdout: "does not tell the place"},
		{name: "help of sub", args: []string{"sub", "-h"}, stdout: "EPOCH:SEQ"},
		{name: "version", args: []string{"version"}, stdout: "go1."},
		{name: "version flag", args: []string{"--version"}, stdout: "nackmq version "},
		{name: "version as JSON", args: []string{"version", "--json"}, stdout: `"platform":"`},
		{name: "completion", args: []string{"completion", "bash"}, stdout: "__start_nackmq"},

		{name: "unknown command", args: []string{"frobnicate"}, code: 2, stderr: `unknown command "frobnicate"; nackmq --help lists them`},
		{name: "misspelt command", args: []string{"pob"}, code: 2, stderr: `unknown command "pob"; did you mean "pub"?`},
		{name: "misspelt command of config", args: []string{"config", "chekc"}, code: 2, stderr: `did you mean "check"?`},
		{name: "unknown flag", args: []string{"serve", "--raft", "x"}, code: 2, stderr: "unknown flag: --raft"},
		{name: "pub without a subject", args: []string{"pub"}, code: 2, stderr: "pub needs a SUBJECT"},
		{name: "pub with too much", args: []string{"pub", "/a", "b", "c"}, code: 2, stderr: `was given "c" as well`},
		{name: "pub to a topic", args: []string{"pub", "a/b", "x"}, code: 2, stderr: `it must begin with "/"; write "/a/b"`},
		{name: "pub to a wildcard", args: []string{"pub", "/a/#", "x"}, code: 2, stderr: "which only a filter may have"},
		{name: "pub to no UTF-8", args: []string{"pub", "/\xff", "x"}, code: 2, stderr: "not valid UTF-8"},
		{name: "pub a word of times", args: []string{"pub", "--count", "many", "/a"}, code: 2, stderr: `invalid argument "many"`},
		{name: "pub less than nothing", args: []string{"pub", "--count", "-1", "/a"}, code: 2, stderr: "--count must be above 0"},
		{name: "pub nothing", args: []string{"pub", "--count", "0", "/a"}, code: 2, stderr: "--count must be above 0"},
		{name: "sub nothing", args: []string{"sub", "--count", "0", "/a"}, code: 2, stderr: "--count must be above 0"},
		{name: "pub a negative number", args: []string{"pub", "/s", "-1"}, code: 2, stderr: `; a PAYLOAD that begins with "-" goes behind "--", as in: nackmq pub SUBJECT -- -1`},
		{name: "help of nothing", args: []string{"help", "nope"}, code: 2, stderr: `unknown command "nope"`},
		{name: "help of config init", args: []string{"help", "config", "init"}, stdout: "nackmq config init"},
		{name: "help of nothing of config", args: []string{"help", "config", "nope"}, code: 2, stderr: `unknown command "nope"`},
		{name: "help alone", args: []string{"help"}, stdout: "Exit codes"},
		{name: "completion alone", args: []string{"completion"}, stdout: "nackmq completion bash"},
		{name: "completion of another shell", args: []string{"completion", "tcsh"}, code: 2, stderr: `unknown command "tcsh"; did you mean "bash"?`},
		{name: "pub to the web", args: []string{"pub", "--server", "http://127.0.0.1", "/a"}, code: 2, stderr: "write nack://HOST:PORT or mqtt://HOST:PORT"},
		{name: "pub to two MQTT servers", args: []string{"pub", "--server", "mqtt://a,b", "/a"}, code: 2, stderr: "a list of servers needs nack://"},
		{name: "pub to nobody", args: []string{"pub", "--server", "mqtt://127.0.0.1:1", "/a"}, code: 1, stderr: "mqtt://127.0.0.1:1 does not answer (connection refused)"},
		{name: "pub to nobody, native", args: []string{"pub", "--server", "nack://127.0.0.1:1", "/a"}, code: 1, stderr: "nack://127.0.0.1:1 does not answer (connection refused)"},
		{name: "pub to MQTT natively", args: []string{"pub", "--server", "nack://" + mute, "/a"}, code: 1, stderr: "nackmq: nack://" + mute + " does not speak the native protocol"},
		{name: "pub to HTTP natively", args: []string{"pub", "--server", "nack://" + web, "/a"}, code: 1, stderr: "nackmq: nack://" + web + " does not speak the native protocol"},
		{name: "pub to no host", args: []string{"pub", "--server", "nack://nackmq.invalid", "/a"}, code: 1, stderr: "nackmq: cannot resolve nackmq.invalid: "},
		{name: "pub to no host of MQTT", args: []string{"pub", "--server", "mqtt://nackmq.invalid", "/a"}, code: 1, stderr: "nackmq: cannot resolve nackmq.invalid: "},
		{name: "pub to two that are none", args: []string{"pub", "--server", "nack://127.0.0.1:1," + mute, "/a"}, code: 1, stderr: "nackmq: nack://127.0.0.1:1 does not answer (connection refused): is a node running there?; nack://" + mute + " does not speak"},
		{name: "server by variable", args: []string{"pub", "/a"}, environ: []string{"NACKMQ_SERVER=mqtt://127.0.0.1:1"}, code: 1, stderr: "mqtt://127.0.0.1:1 does not answer"},
		{name: "sub to nothing", args: []string{"sub"}, code: 2, stderr: "sub needs a FILTER"},
		{name: "sub to a topic", args: []string{"sub", "a/#"}, code: 2, stderr: `write "/a/#"`},
		{name: "sub to half a wildcard", args: []string{"sub", "/a#"}, code: 2, stderr: "must be a whole segment"},
		{name: "sub from a day", args: []string{"sub", "--from", "yesterday", "/a"}, code: 2, stderr: "none of live, last, EPOCH:SEQ and history:N"},
		{name: "sub from no history", args: []string{"sub", "--from", "history:0", "/a"}, code: 2, stderr: "write a number above 0"},
		{name: "sub from a place in a wildcard", args: []string{"sub", "--from", "1:1", "/a/+"}, code: 2, stderr: "exactly one FILTER, without wildcards"},
		{name: "sub from a place in two", args: []string{"sub", "--from", "1:1", "/a", "/b"}, code: 2, stderr: "exactly one FILTER, without wildcards"},
		{name: "sub from a place in MQTT", args: []string{"sub", "--server", "mqtt://127.0.0.1:1", "--from", "1:1", "/a"}, code: 2, stderr: "MQTT knows no places"},
		{name: "sub shared", args: []string{"sub", "/$share/g/work/+"}, code: 2, stderr: "/$share/g/work/+: shared subscriptions exist in MQTT only: sub with --server mqtt://HOST:PORT, or leave /$share/g out"},
		{name: "sub for no time", args: []string{"sub", "--timeout", "0s", "/a"}, code: 2, stderr: "--timeout must be above 0"},
		{name: "sub to nobody", args: []string{"sub", "--server", "mqtt://127.0.0.1:1", "/a"}, code: 1, stderr: "does not answer"},
		{name: "sub to nobody, native", args: []string{"sub", "--server", "nack://127.0.0.1:1", "/a"}, code: 1, stderr: "does not answer"},

		{name: "serve an argument", args: []string{"serve", "now"}, code: 2, stderr: `serve takes no argument and was given "now"`},
		{name: "serve everybody", args: []string{"serve", "--mqtt", "0.0.0.0:0"}, code: 1, stderr: "say --allow-anonymous"},
		{name: "serve everybody by variable", args: []string{"serve"}, environ: []string{"NACKMQ_NATIVE=:0"}, code: 1, stderr: "native: :0 can be reached from other machines"},
		{name: "serve nowhere", args: []string{"serve", "--http", "x"}, code: 2, stderr: `--http: "x" is not HOST:PORT`},
		{name: "serve with a bad file", args: []string{"serve", "--config", bad}, code: 1, stderr: `bad.yaml:1: unknown key "nativ"; did you mean "native"?`},
		{name: "serve with a bad file by variable", args: []string{"serve"}, environ: []string{"NACKMQ_CONFIG=" + bad}, code: 1, stderr: `unknown key "nativ"`},
		{name: "serve with a bad variable", args: []string{"serve"}, environ: []string{"NACKMQ_DATADIR=x"}, code: 1, stderr: `unknown variable NACKMQ_DATADIR; did you mean "NACKMQ_DATA_DIR"?`},

		{name: "config", args: []string{"config"}, stdout: "nackmq config init"},
		{name: "config init", args: []string{"config", "init"}, stdout: "#mqtt: 127.0.0.1:1883"},
		{name: "config init over a file", args: []string{"config", "init", good}, code: 1, stderr: "is there already"},
		{name: "config check", args: []string{"config", "check", good}, stdout: "good.yaml is good"},
		{name: "config check of a bad file", args: []string{"config", "check", bad}, code: 1, stderr: `did you mean "native"?`},
		{name: "config check of no file", args: []string{"config", "check", good + "x"}, code: 1, stderr: "no such file"},
		{name: "config show", args: []string{"config", "show", "--config", good, "--limits-subjects", "9"}, environ: []string{"NACKMQ_HTTP=127.0.0.1:0"},
			stdout: "http: 127.0.0.1:0                                # variable NACKMQ_HTTP"},
		{name: "doctor refuses what serve refuses", args: []string{"doctor", "--mqtt", "0.0.0.0:0"}, code: 1, stderr: "say --allow-anonymous"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := command(t, "", tt.environ, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) {
				t.Errorf("exit %d, want %d; standard output has no %q:\n%s", code, tt.code, tt.stdout, stdout)
			}
			if (tt.stderr == "") != (stderr == "") || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("standard error = %q, want %q in it", stderr, tt.stderr)
			}
			if strings.Contains(stderr, "nacknet: ") || strings.Contains(stderr, "nackproto: ") || strings.Contains(stderr, "stream: ") {
				t.Errorf("standard error names a package: %q", stderr)
			}
			if stderr != "" && (!strings.HasPrefix(stderr, "nackmq: ") || strings.Count(stderr, "\n") != 1) {
				t.Errorf("standard error is not one sentence: %q", stderr)
			}
			if code == 2 && stdout != "" {
				t.Errorf("standard output has %q beside a usage error", stdout)
			}
		})
	}
}

// answerWith gives the address of a server that answers whatever it gets with
// text and the end of the connection.
func answerWith(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1024))
			c.Write([]byte(text))
			c.Close()
		}
	})
	return ln.Addr().String()
}

func TestNotNativeHints(t *testing.T) {
	for addr, want := range map[string]string{
		"localhost:1883": "nack://localhost:1883 does not speak the native protocol (1883 is MQTT's usual port: try mqtt://localhost:1883, or port 6225)",
		"localhost:8225": "nack://localhost:8225 does not speak the native protocol (8225 is a node's usual port for HTTP: try port 6225)",
		"[::1]:7000":     "nack://[::1]:7000 does not speak the native protocol (nack://'s usual port is 6225)",
	} {
		if got := notTaken("nack://"+addr, nacknet.ErrNotNative, 0).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Every command has an example, and every flag an explanation.
func TestEveryCommandHasAnExample(t *testing.T) {
	root, _ := newRoot(streams{}, nil)
	for _, c := range root.Commands() {
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example or no short text", c.Name())
		}
	}
}

func TestConfigInitIsAccepted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nackmq.yaml")
	if _, stderr, code := command(t, "", nil, "config", "init", file); code != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, code := command(t, "", nil, "config", "check", file); code != 0 {
		t.Error(stderr)
	}
}

func TestReport(t *testing.T) {
	var out, err bytes.Buffer
	asJSON := &reporter{out: &out, err: &err, json: true}
	forPeople := &reporter{out: &out, err: &err}
	pos := mustPosition(t, "00c0ffee00c0ffee:42")
	for _, tt := range []struct {
		name string
		say  func(*reporter) error
		json string
		text string
	}{
		{"live", func(r *reporter) error {
			return r.delivery(delivery{subject: "/a", pos: pos, payload: []byte("<hi> & bye"), kind: "live"})
		}, `{"subject":"/a","epoch":"00c0ffee00c0ffee","seq":42,"payload":"<hi> & bye","encoding":"utf8","kind":"live","retained":false}`, "/a  00c0ffee00c0ffee:42  <hi> & bye"},
		{"retained", func(r *reporter) error {
			return r.delivery(delivery{subject: "/a", pos: pos, payload: []byte("on"), kind: "snapshot", retained: true})
		}, `{"subject":"/a","epoch":"00c0ffee00c0ffee","seq":42,"payload":"on","encoding":"utf8","kind":"snapshot","retained":true}`, "/a  00c0ffee00c0ffee:42  (retained)  on"},
		{"not UTF-8", func(r *reporter) error {
			return r.delivery(delivery{subject: "/a", pos: pos, payload: []byte{0xff, 0}, kind: "recovered"})
		}, `{"subject":"/a","epoch":"00c0ffee00c0ffee","seq":42,"payload":"/wA=","encoding":"base64","kind":"recovered","retained":false}`, "/a  00c0ffee00c0ffee:42  (recovered)  (2 bytes) base64:/wA="},
		{"a payload that would move the cursor", func(r *reporter) error {
			return r.delivery(delivery{subject: "/a", payload: []byte("\x1b[2J\n"), kind: "live"})
		}, `{"subject":"/a","payload":"\u001b[2J\n","encoding":"utf8","kind":"live","retained":false}`, `/a  "\x1b[2J\n"`},
		{"up", func(r *reporter) error {
			return r.incident(incident{Event: "up", Server: "127.0.0.1:6225", Node: "n1"})
		}, `{"event":"up","server":"127.0.0.1:6225","node":"n1"}`, "-- connected to 127.0.0.1:6225 (node n1)"},
		{"down", func(r *reporter) error {
			return r.incident(incident{Event: "down", Reason: "EOF"})
		}, `{"event":"down","reason":"EOF"}`, "-- connection lost: EOF"},
		{"continuous", func(r *reporter) error {
			return r.incident(incident{Event: "continuous", Subject: "/a", Epoch: pos.Epoch.String(), Seq: 42})
		}, `{"event":"continuous","subject":"/a","epoch":"00c0ffee00c0ffee","seq":42}`, "-- /a CONTINUOUS: nothing is missing up to 00c0ffee00c0ffee:42"},
		{"reset", func(r *reporter) error {
			return r.incident(incident{Event: "reset", Subject: "/a", Epoch: pos.Epoch.String(), Before: "00c0ffee00c0ffee:7", Next: 40, First: 40, Last: 52, Reason: "trimmed"})
		}, `{"event":"reset","subject":"/a","epoch":"00c0ffee00c0ffee","before":"00c0ffee00c0ffee:7","next":40,"first":40,"last":52,"reason":"trimmed"}`,
			"-- /a RESET (trimmed): lost what came after 00c0ffee00c0ffee:7; going on with 00c0ffee00c0ffee:40, of 40 to 52 that can be had"},
		{"reset to nothing", func(r *reporter) error {
			return r.incident(incident{Event: "reset", Subject: "/a", Epoch: pos.Epoch.String(), Next: 53, First: 53, Last: 52, Reason: "trimmed"})
		}, `{"event":"reset","subject":"/a","epoch":"00c0ffee00c0ffee","next":53,"first":53,"last":52,"reason":"trimmed"}`,
			"-- /a RESET (trimmed): nothing up to 00c0ffee00c0ffee:52 can be had"},
		{"reset to no history", func(r *reporter) error {
			return r.incident(incident{Event: "reset", Subject: "/a", Before: "00c0ffee00c0ffee:7", Reason: "other"})
		}, `{"event":"reset","subject":"/a","before":"00c0ffee00c0ffee:7","reason":"other"}`,
			"-- /a RESET (other): the server has no history of the subject, so what came after 00c0ffee00c0ffee:7 cannot be had, if there was anything"},
		{"confirmation", func(r *reporter) error { return r.confirmation("/a", pos) },
			`{"subject":"/a","epoch":"00c0ffee00c0ffee","seq":42}`, "/a  00c0ffee00c0ffee:42"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out.Reset()
			err.Reset()
			if e := tt.say(asJSON); e != nil {
				t.Fatal(e)
			}
			if got := out.String() + err.String(); got != tt.json+"\n" || !json.Valid([]byte(got)) {
				t.Errorf("JSON\n got %s\nwant %s", got, tt.json)
			}
			out.Reset()
			if e := tt.say(forPeople); e != nil {
				t.Fatal(e)
			}
			if got := out.String() + err.String(); got != tt.text+"\n" {
				t.Errorf("text\n got %s\nwant %s", got, tt.text)
			}
		})
	}
}

func TestParseServer(t *testing.T) {
	for in, want := range map[string]string{
		"nack://127.0.0.1:6225":       "nack://127.0.0.1:6225",
		"nack://broker":               "nack://broker:6225",
		"nack://a:1,b,[::1]:3":        "nack://a:1,b:6225,[::1]:3",
		"nack://[::1]":                "nack://[::1]:6225",
		"mqtt://broker":               "mqtt://broker:1883",
		"mqtt://broker:1884/":         "mqtt://broker:1884",
		"broker:1883":                 "",
		"nack://":                     "",
		"nack://a,,b":                 "",
		"nack://:6225":                "",
		"mqtt://user@broker":          "",
		"mqtt://broker/path":          "",
		"nack://a:1:2":                "",
		"NACK://127.0.0.1":            "",
		"mqtt://127.0.0.1:1883,b:184": "",
	} {
		s, err := parseServer(in)
		if got := s.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("parseServer(%q) = %s, %v, want %q", in, got, err, want)
		}
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		in    string
		count int
		want  []string
	}{
		{"a\nb\n", 0, []string{"a", "b"}},
		{"a\nb", 0, []string{"a", "b"}},
		{"a\n\nb\n", 0, []string{"a", "", "b"}},
		{"", 0, nil},
		{"a\nb\nc\n", 2, []string{"a", "b"}},
	} {
		next := lines(strings.NewReader(tt.in), tt.count)
		var got []string
		for {
			b, err := next()
			if err != nil {
				break
			}
			got = append(got, string(b))
		}
		if strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
			t.Errorf("lines of %q, %d = %q, want %q", tt.in, tt.count, got, tt.want)
		}
	}
	next := lines(strings.NewReader(strings.Repeat("x", maxLine+1)), 0)
	if _, err := next(); err == nil || !strings.Contains(err.Error(), "line 1 is longer than") {
		t.Errorf("a line that is too long: %v", err)
	}
}
