package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// write puts text into a file of its own.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nackmq.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStrongerSourceWins(t *testing.T) {
	src := Sources{
		File: write(t, `
data-dir: /from/file
mqtt: 127.0.0.1:1
native: 127.0.0.1:2
log-level: debug
limits:
  cache-bytes: 64MiB
  cache-age: 1h
`),
		Environ: []string{"NACKMQ_MQTT=127.0.0.1:10", "NACKMQ_NATIVE=127.0.0.1:20", "NACKMQ_LIMITS_CACHE_BYTES=1048576", "NACKMQ_HTTP=", "OTHER=x"},
		Flags:   map[string]string{"native": "127.0.0.1:200", "limits.subjects": "7"},
	}
	got, origins, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DataDir = "/from/file"
	want.MQTT, want.Native = "127.0.0.1:10", "127.0.0.1:200"
	want.LogLevel = zerolog.DebugLevel
	want.Limits.CacheBytes, want.Limits.CacheAge, want.Limits.Subjects = 1<<20, time.Hour, 7
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("configuration (-want +got):\n%s", d)
	}
	for key, origin := range map[string]Origin{
		"data-dir":           Origin("file " + src.File),
		"mqtt":               "variable NACKMQ_MQTT",
		"native":             "flag --native",
		"http":               "default",
		"limits.cache-bytes": "variable NACKMQ_LIMITS_CACHE_BYTES",
		"limits.cache-age":   Origin("file " + src.File),
		"limits.subjects":    "flag --limits-subjects",
	} {
		if origins[key] != origin {
			t.Errorf("origin of %s = %q, want %q", key, origins[key], origin)
		}
	}
}

func TestBadFileIsOneSentence(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"misspelt key", "mqtt: 127.0.0.1:1\nmqqt: x\n", `FILE:2: unknown key "mqqt"; did you mean "mqtt"?`},
		{"misspelt section", "limit:\n  cache-bytes: 1MiB\n", `FILE:2: unknown key "limit.cache-bytes"; did you mean "limits.cache-bytes"?`},
		{"misspelt in a section", "limits:\n  # why\n  cache-byte: 1MiB\n", `FILE:3: unknown key "limits.cache-byte"; did you mean "limits.cache-bytes"?`},
		{"written outside its section", "cache-age: 1h\n", `FILE:1: unknown key "cache-age"; did you mean "limits.cache-age"?`},
		{"nothing near", "kubernetes: true\n", `FILE:1: unknown key "kubernetes"; nackmq config init prints the known ones`},
		{"flow style has no line", "{data-dirr: x}\n", `FILE: unknown key "data-dirr"; did you mean "data-dir"?`},
		{"twice", "http: 127.0.0.1:1\nhttp: 127.0.0.1:2\n", `configuration FILE is not YAML: unmarshal errors:   line 2: mapping key "http" already defined at line 1`},
		{"tab", "limits:\n\tcache-age: 1h\n", `configuration FILE is not YAML: line 2: found character that cannot start any token`},
		{"a number where text belongs", "node-name: 0640\n", `FILE:1: node-name: YAML reads 416 as something else than text; write it in quotes`},
		{"a list", "mqtt: [127.0.0.1:1, 127.0.0.1:2]\n", `FILE:1: mqtt: it is a list and must be one value`},
		{"a group", "mqtt: {address: x}\n", `FILE:1: mqtt: it is a group of keys and must be one value`},
		{"no value", "mqtt:\n", `FILE:1: mqtt: it has no value`},
		{"bad bool", "allow-anonymous: maybe\n", `FILE:1: allow-anonymous: "maybe" is neither true nor false`},
		{"bad size", "limits:\n  cache-bytes: lots\n", `FILE:2: limits.cache-bytes: "lots" is not a size above 0; write it like 1048576, 64MiB or 2GB`},
		{"size beyond all numbers", "limits:\n  cache-bytes: 9223372036854775807GiB\n", `FILE:2: limits.cache-bytes: "9223372036854775807GiB" is not a size above 0; write it like 1048576, 64MiB or 2GB`},
		{"bad duration", "limits:\n  cache-age: 5\n", `FILE:2: limits.cache-age: "5" is not a duration above 0; write it like 90s, 15m or 24h`},
		{"bad number", "limits:\n  subjects: 1.5\n", `FILE:2: limits.subjects: "1.5" is not a whole number above 0`},
		{"bad level", "log-level: loud\n", `FILE:1: log-level: "loud" is not one of debug, info, warn and error`},
		{"bad format", "log-format: xml\n", `FILE:1: log-format: "xml" is neither console nor json`},
		{"bad name", "node-name: a/b\n", `FILE:1: node-name: "a/b" is not a name of 1 to 64 letters, digits, dots, dashes and underscores`},
		{"no port", "mqtt: localhost\n", `FILE:1: mqtt: "localhost" is not HOST:PORT; write it like 127.0.0.1:1883`},
		{"port too large", "mqtt: localhost:65536\n", `FILE:1: mqtt: "localhost:65536" ends in no port; write a number from 0 to 65535 behind the colon`},
		{"IPv6 without brackets", "mqtt: ::1:1883\n", `FILE:1: mqtt: "::1:1883" has several colons; write an IPv6 address in brackets, like [::1]:1883`},
		{"an origin that is a URL", "http-origins: [https://a.example]\n", `FILE:1: http-origins: "https://a.example" is not a host; write it like app.example.com, *.example.com or app.example.com:8443`},
		{"an origin with a broken pattern", "http-origins: 'a.[example'\n", `FILE:1: http-origins: "a.[example" is not a host; write it like app.example.com, *.example.com or app.example.com:8443`},
		{"origins in groups", "http-origins: [{a: b}]\n", `FILE:1: http-origins: its list holds something else than text`},
		{"a value for a section", "limits: 4\n", `FILE:1: limits: it holds keys below it, such as limits.cache-bytes, and cannot be one value`},
		{"a list for a section", "limits: [a]\n", `FILE:1: limits: it holds keys below it, such as limits.cache-bytes, and cannot be one value`},
		{"a list at the top", "- mqtt\n- http\n", `configuration FILE is a list: write KEY: VALUE, one a line; nackmq config init prints a sample`},
		{"a text at the top", "hello\n", `configuration FILE is a single value: write KEY: VALUE, one a line; nackmq config init prints a sample`},
		{"empty directory", "data-dir: \"\"\n", `FILE:1: data-dir: it is empty`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			_, _, err := Load(Sources{File: path})
			if err == nil {
				t.Fatalf("accepted; want %q", tt.want)
			}
			if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != tt.want {
				t.Errorf("error\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestFileThatIsNotThere(t *testing.T) {
	_, _, err := Load(Sources{File: "/nonexistent/nackmq.yaml"})
	want := "configuration /nonexistent/nackmq.yaml: no such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	if _, _, err := Load(Sources{File: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory as file: error = %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	for _, tt := range []struct{ name, variable, want string }{
		{"misspelt", "NACKMQ_DATADIR=x", `environment: unknown variable NACKMQ_DATADIR; did you mean "NACKMQ_DATA_DIR"?`},
		{"nothing near", "NACKMQ_FAVOURITE_COLOUR=x", `environment: unknown variable NACKMQ_FAVOURITE_COLOUR; nackmq serve --help lists the known ones`},
		{"bad value", "NACKMQ_HTTP=x", `NACKMQ_HTTP: "x" is not HOST:PORT; write it like 127.0.0.1:1883`},
		{"Kubernetes' service", "NACKMQ_SERVICE_HOST=10.0.0.1", ""},
		{"Kubernetes' port", "NACKMQ_PORT=tcp://10.0.0.1:1883", ""},
		{"Kubernetes' second service", "NACKMQ_HEADLESS_PORT_1883_TCP_ADDR=10.0.0.1", ""},
		{"the commands' own", "NACKMQ_SERVER=nack://127.0.0.1:6225", ""},
		{"empty is not given", "NACKMQ_HTTP=", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if _, _, err := Load(Sources{Environ: []string{tt.variable}}); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("error\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// The sample must be accepted as it is, and still with every line switched on.
func TestSampleIsAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"as it is":      Sample(),
		"every line on": strings.NewReplacer("\n#", "\n", "  #", "  ").Replace(uncomment(Sample())),
	} {
		got, _, err := Load(Sources{File: write(t, text)})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if d := cmp.Diff(Default(), got); d != "" {
			t.Errorf("%s differs from the defaults (-want +got):\n%s", name, d)
		}
	}
}

// uncomment removes the lines that explain, "# ", and leaves "#key: value".
func uncomment(s string) string {
	var keep []string
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(strings.TrimSpace(line), "# ") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "")
}

// What show prints can be given to a node again.
func TestShowIsAFile(t *testing.T) {
	cfg := Default()
	cfg.NodeName, cfg.DataDir = "0640", `/with "quotes" and # signs`
	cfg.AllowAnonymous, cfg.MQTT = true, "[::1]:1883"
	cfg.HTTPOrigins = []string{"*.example.com", "b.example:1"}
	cfg.Limits.CacheAge = 36*time.Hour + 30*time.Minute
	got, _, err := Load(Sources{File: write(t, Show(cfg, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(cfg, got); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
}

// A list is a YAML list, or one text with commas, as variables and flags have it.
func TestLists(t *testing.T) {
	want := []string{"a.example", "*.b.example:8443"}
	for name, src := range map[string]Sources{
		"list":     {File: write(t, "http-origins:\n  - a.example\n  - '*.b.example:8443'\n")},
		"text":     {File: write(t, "http-origins: a.example, *.b.example:8443\n")},
		"variable": {Environ: []string{"NACKMQ_HTTP_ORIGINS=a.example,*.b.example:8443"}},
		"flag":     {Flags: map[string]string{"http-origins": "a.example,*.b.example:8443"}},
	} {
		cfg, _, err := Load(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(want, cfg.HTTPOrigins); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// What Validate refuses of a file's values is told with its line.
func TestValidateOfAFileHasALine(t *testing.T) {
	for text, want := range map[string]string{
		"limits:\n  # small\n  cache-bytes: 1KiB\n": `FILE:3: limits.cache-bytes: must be at least 65536`,
		"\nmqtt: 0.0.0.0:1883\n":                    `FILE:2: mqtt: 0.0.0.0:1883 can be reached from other machines`,
	} {
		path := write(t, text)
		cfg, origins, err := Load(Sources{File: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := cfg.ValidateAt(origins); err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), path, "FILE"), want) {
			t.Errorf("error = %v, want %s", err, want)
		}
	}
}
