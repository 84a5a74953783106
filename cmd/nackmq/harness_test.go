package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// binary is the program under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "nackmq-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "nackmq")
		args := append([]string{"build", "-o", binary}, raceFlag...)
		if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
			return 1
		}
		return m.Run()
	}())
}

// environment is what a child gets: ours without NACKMQ_ variables.
func environment() []string {
	// The race detector would wait a second at each exit.
	env := []string{"GORACE=atexit_sleep_ms=0"}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "NACKMQ_") {
			env = append(env, e)
		}
	}
	return env
}

// A broker is nackmq serve in a process of its own.
type broker struct {
	t                  testing.TB
	dir                string
	args               []string
	mqtt, native, http string // addresses
	cmd                *exec.Cmd
	logs               *tail
}

// serveNode starts a node on free ports, with its data in a directory of its own.
func serveNode(t testing.TB, args ...string) *broker {
	t.Helper()
	b := &broker{t: t, dir: filepath.Join(t.TempDir(), "data"), args: args, mqtt: "127.0.0.1:0", native: "127.0.0.1:0", http: "127.0.0.1:0"}
	b.start()
	t.Cleanup(func() {
		if b.cmd != nil {
			b.stop()
		}
	})
	return b
}

// start starts the node, on the ports that it had before.
func (b *broker) start() {
	b.t.Helper()
	args := append([]string{"serve", "--data-dir", b.dir, "--mqtt", b.mqtt, "--native", b.native, "--http", b.http}, b.args...)
	b.cmd = exec.Command(binary, args...)
	b.cmd.Env = environment()
	b.logs = &tail{}
	b.cmd.Stderr = b.logs
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { b.cmd.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		b.cmd = nil
		b.t.Fatalf("serve printed %q and not the ready line (%v):\n%s", line, err, b.logs)
	}
	for _, field := range strings.Fields(line)[1:] {
		switch k, v, _ := strings.Cut(field, "="); k {
		case "mqtt":
			b.mqtt = v
		case "native":
			b.native = v
		case "http":
			b.http = v
		}
	}
}

// kill ends the node as a crash would.
func (b *broker) kill() {
	b.cmd.Process.Kill()
	b.cmd.Wait()
	b.cmd = nil
}

// stop asks the node to stop and wants it to say that all went well.
func (b *broker) stop() {
	b.t.Helper()
	b.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { b.cmd.Process.Signal(syscall.SIGQUIT) })
	defer late.Stop()
	if err := b.cmd.Wait(); err != nil {
		b.t.Errorf("serve ended with %v:\n%s", err, b.logs)
	}
	if b.logs.has("DATA RACE") {
		b.t.Errorf("serve has a data race:\n%s", b.logs)
	}
	b.cmd = nil
}

func (b *broker) nack() string { return "nack://" + b.native }

// mosquitto gives the arguments with which Mosquitto's clients find b.
func (b *broker) mosquitto(args ...string) []string {
	i := strings.LastIndexByte(b.mqtt, ':')
	return append([]string{"-h", b.mqtt[:i], "-p", b.mqtt[i+1:]}, args...)
}

// needMosquitto skips a test where Mosquitto's clients are not installed.
func needMosquitto(t testing.TB) {
	t.Helper()
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed; make test installs it", name)
		}
	}
}

// execute runs a program to its end.
func execute(t testing.TB, stdin string, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environment()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs a program that has to succeed and gives its output.
func must(t testing.TB, stdin string, name string, args ...string) string {
	t.Helper()
	stdout, stderr, code := execute(t, stdin, name, args...)
	if code != 0 {
		t.Fatalf("%s %q: exit %d: %s", filepath.Base(name), args, code, stderr)
	}
	return stdout
}

// A watcher is a program that prints what it receives, line by line.
type watcher struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string
	errs  *tail
}

func watch(t testing.TB, name string, args ...string) *watcher {
	t.Helper()
	return watchCommand(t, exec.Command(name, args...))
}

func watchCommand(t testing.TB, cmd *exec.Cmd) *watcher {
	t.Helper()
	w := &watcher{t: t, cmd: cmd, lines: make(chan string, 1<<20), errs: &tail{}}
	w.cmd.Env = environment()
	w.cmd.Stderr = w.errs
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(w.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			w.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		<-read
		w.cmd.Wait()
	})
	return w
}

// next gives the next line.
func (w *watcher) next() string {
	w.t.Helper()
	select {
	case l, ok := <-w.lines:
		if !ok {
			w.t.Fatalf("%v ended: %s", w.cmd.Args, w.errs)
		}
		return l
	case <-time.After(patience):
		w.t.Fatalf("%v printed nothing for %v: %s", w.cmd.Args, patience, w.errs)
	}
	return ""
}

// until drops lines up to one that has text in it, and gives that.
func (w *watcher) until(text string) string {
	w.t.Helper()
	for {
		if l := w.next(); strings.Contains(l, text) {
			return l
		}
	}
}

// A record is a line of sub --json or pub --json.
type record struct {
	Event    string `json:"event"`
	Subject  string `json:"subject"`
	Epoch    string `json:"epoch"`
	Seq      uint64 `json:"seq"`
	Payload  string `json:"payload"`
	Encoding string `json:"encoding"`
	Kind     string `json:"kind"`
	Retained bool   `json:"retained"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Reason   string `json:"reason"`
}

func parseRecord(t testing.TB, line string) record {
	t.Helper()
	var r record
	d := json.NewDecoder(strings.NewReader(line))
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%q is not JSON: %v", line, err)
	}
	return r
}

func parseRecords(t testing.TB, text string) (all []record) {
	t.Helper()
	for line := range strings.Lines(text) {
		all = append(all, parseRecord(t, line))
	}
	return all
}

// subJSON starts nackmq sub --json and waits until it is subscribed.
func subJSON(b *broker, args ...string) *watcher {
	b.t.Helper()
	w := watch(b.t, binary, append([]string{"sub", "--json", "--server", b.nack()}, args...)...)
	w.until(`"event":"up"`)
	return w
}

// message gives the next record that is a message.
func (w *watcher) message() record {
	w.t.Helper()
	for {
		if r := parseRecord(w.t, w.next()); r.Event == "" {
			return r
		}
	}
}

// event gives the next record that is the event named.
func (w *watcher) event(name string) record {
	w.t.Helper()
	for {
		if r := parseRecord(w.t, w.next()); r.Event == name {
			return r
		}
	}
}

// mosquittoSub starts mosquitto_sub and waits until it is subscribed. Its lines
// are TOPIC|QOS|RETAIN|PAYLOAD.
func mosquittoSub(b *broker, args ...string) *watcher {
	b.t.Helper()
	// Into a pipe mosquitto_sub would keep its lines until it has many.
	w := watch(b.t, "stdbuf", append([]string{"-oL", "mosquitto_sub"}, b.mosquitto(append([]string{"-d", "-F", "message %t|%q|%r|%p"}, args...)...)...)...)
	w.until("Subscribed (mid: ")
	return w
}

// mqttMessage gives the next message that a mosquitto_sub printed.
func (w *watcher) mqttMessage() string {
	w.t.Helper()
	return strings.TrimPrefix(w.until("message "), "message ")
}

func mustPosition(t testing.TB, s string) stream.Position {
	t.Helper()
	p, err := stream.ParsePosition(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A tail keeps what a process wrote to standard error.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func (t *tail) has(s string) bool { return strings.Contains(t.String(), s) }
