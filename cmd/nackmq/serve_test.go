package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestServePrintsOneReadyLine(t *testing.T) {
	b := serveNode(t, "--log-format", "json", "--node-name", "n1")
	res, err := http.Get("http://" + b.http + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("/readyz is %d after the ready line", res.StatusCode)
	}
	for line := range strings.Lines(b.logs.String()) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("--log-format json wrote %q", line)
		}
	}
}

func TestInterruptEndsServeAndSub(t *testing.T) {
	b := serveNode(t)
	w := subJSON(b, "/a")
	w.cmd.Process.Signal(os.Interrupt)
	for range w.lines {
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("sub ended with %v after an interrupt: %s", err, w.errs)
	}
	b.cmd.Process.Signal(os.Interrupt)
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v after an interrupt:\n%s", err, b.logs)
	}
	b.cmd = nil
}

// refused runs serve where it must be refused and gives its sentence.
func refused(t *testing.T, dir string, args ...string) string {
	t.Helper()
	all := append([]string{"serve", "--data-dir", dir, "--mqtt", "127.0.0.1:0", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)
	stdout, stderr, code := execute(t, "", binary, all...)
	if code != 1 || strings.Contains(stdout, "ready") {
		t.Fatalf("exit %d, standard output %q, want a refusal; standard error:\n%s", code, stdout, stderr)
	}
	var sentences []string
	for line := range strings.Lines(stderr) {
		if s, is := strings.CutPrefix(line, "nackmq: "); is {
			sentences = append(sentences, strings.TrimSpace(s))
		} else if strings.Contains(line, "panic") || strings.Contains(line, "goroutine") {
			t.Fatalf("it fell instead of refusing:\n%s", stderr)
		}
	}
	if len(sentences) != 1 {
		t.Fatalf("%d sentences, want one:\n%s", len(sentences), stderr)
	}
	return sentences[0]
}

func TestServeRefusals(t *testing.T) {
	b := serveNode(t)
	has := func(sentence string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(sentence, p) {
				t.Errorf("%q has no %q", sentence, p)
			}
		}
	}
	has(refused(t, b.dir), b.dir, "is in use by process", fmt.Sprint(b.cmd.Process.Pid))
	has(refused(t, filepath.Join(t.TempDir(), "d"), "--mqtt", b.mqtt), "another program listens on "+b.mqtt, "--mqtt")
	has(refused(t, filepath.Join(t.TempDir(), "d"), "--native", b.native), "another program listens on "+b.native, "--native")
	has(refused(t, filepath.Join(t.TempDir(), "d"), "--http", b.http), "another program listens on "+b.http, "--http")

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	has(refused(t, file), file, "is not a directory")
	has(refused(t, filepath.Join(file, "below")), "is not a directory")

	// A copy of the identity in a directory that lost its log is not started short.
	lost := filepath.Join(t.TempDir(), "lost")
	id, err := os.ReadFile(filepath.Join(b.dir, "node.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(lost, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lost, "node.json"), id, 0o600); err != nil {
		t.Fatal(err)
	}
	has(refused(t, lost), "is missing")
}

// mountTmpfs mounts a small file system at a directory of its own.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount a file system")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "nackmq-test", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
	return dir
}

func TestReadOnlyDirectory(t *testing.T) {
	dir := mountTmpfs(t, "ro")
	if s := refused(t, filepath.Join(dir, "data")); !strings.Contains(s, "read-only") {
		t.Errorf("the sentence is %q", s)
	}
}

// A disk that fills up stops the node with a sentence; nothing that was confirmed
// is lost, and with room again the node comes back under the same epoch.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MiB")
	}
	dir := mountTmpfs(t, "size=100m")
	b := &broker{t: t, dir: filepath.Join(dir, "data"), mqtt: "127.0.0.1:0", native: "127.0.0.1:0", http: "127.0.0.1:0"}
	b.start()
	t.Cleanup(func() {
		if b.cmd != nil {
			b.stop()
		}
	})
	line := strings.Repeat("x", 16<<10) + "\n"
	out, stderr, code := execute(t, strings.Repeat(line, 8000), binary, "pub", "--json", "--timeout", "5s", "--server", b.nack(), "/full", "-")
	if code != 1 || !strings.HasPrefix(stderr, "nackmq: ") {
		t.Fatalf("125 MiB went into 100 MiB: pub ended with %d: %s", code, stderr)
	}
	confirmed := parseRecords(t, out)
	if len(confirmed) == 0 {
		t.Fatalf("nothing was confirmed: %s", stderr)
	}
	late := time.AfterFunc(patience, func() { b.cmd.Process.Signal(syscall.SIGQUIT) })
	b.cmd.Wait()
	late.Stop()
	if code := b.cmd.ProcessState.ExitCode(); code != 1 || !b.logs.has("nackmq: ") || b.logs.has("goroutine ") {
		t.Fatalf("serve ended with %d, want 1 and a sentence:\n%s", code, b.logs)
	}
	t.Logf("%d confirmed; serve said: %s", len(confirmed), b.logs.String()[strings.LastIndex(b.logs.String(), "nackmq: "):])
	b.cmd = nil

	if out, err := exec.Command("mount", "-o", "remount,size=400m", dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	b.start()
	w := subJSON(b, "--from", confirmed[0].Epoch+":0", "/full")
	for i, c := range confirmed {
		if m := w.message(); m.Seq != c.Seq || m.Epoch != c.Epoch || len(m.Payload) != len(line)-1 {
			t.Fatalf("message %d is %s:%d, confirmed was %s:%d", i, m.Epoch, m.Seq, c.Epoch, c.Seq)
		}
	}
}

func TestDoctor(t *testing.T) {
	b := serveNode(t, "--node-name", "test-node")
	flags := []string{"doctor", "--data-dir", b.dir, "--mqtt", b.mqtt, "--native", b.native, "--http", b.http}
	out, stderr, code := execute(t, "", binary, flags...)
	if code != 0 {
		t.Fatalf("exit %d: %s\n%s", code, stderr, out)
	}
	for _, want := range []string{"files", "data", "clock", "mqtt       " + b.mqtt + " answers", "native     " + b.native + " answers", "is ready", "version"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor says nothing of %q:\n%s", want, out)
		}
	}

	// No node: ports are looked at, and that is no failure.
	free := []string{"doctor", "--data-dir", filepath.Join(t.TempDir(), "d"), "--mqtt", "127.0.0.1:0", "--native", "127.0.0.1:0", "--http", "127.0.0.1:1"}
	out, stderr, _ = execute(t, "", binary, free...)
	if !strings.Contains(out, "warn  node       no node runs at http://127.0.0.1:1") {
		t.Errorf("without a node doctor says:\n%s%s", out, stderr)
	}

	// A node under other ports, which has one of this configuration's: it is named.
	other := []string{"doctor", "--data-dir", filepath.Join(t.TempDir(), "d"), "--mqtt", b.mqtt, "--native", "127.0.0.1:0", "--http", "127.0.0.1:1"}
	out, stderr, code = execute(t, "", binary, other...)
	if want := b.mqtt + " is taken by the NackMQ node test-node, whose HTTP address is " + b.http + ": "; code != 1 || !strings.Contains(out, want) {
		t.Errorf("exit %d, want %q:\n%s%s", code, want, out, stderr)
	}

	// As JSON, one finding a line.
	out = must(t, "", binary, append(flags, "--json")...)
	verdicts := map[string]string{}
	for line := range strings.Lines(out) {
		var f struct{ Verdict, Object, Text string }
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Text == "" {
			t.Fatalf("%q: %v", line, err)
		}
		verdicts[f.Object] = f.Verdict
	}
	if verdicts["mqtt"] != "ok" || verdicts["node"] != "ok" {
		t.Errorf("as JSON: %s", out)
	}

	// Another program on a port, and a directory that is none: both are failures.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr, code = execute(t, "", binary, "doctor", "--data-dir", file, "--mqtt", taken.Addr().String(), "--native", "127.0.0.1:0", "--http", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "2 of the checks failed") ||
		!strings.Contains(out, "is not a directory") || !strings.Contains(out, fmt.Sprintf("is taken by process %d (nackmq.test)", os.Getpid())) {
		t.Errorf("exit %d: %s\n%s", code, stderr, out)
	}
}

// With --timeout pub and sub wait for a node that is not there yet, so long and
// no longer; without it they fail at once.
func TestTimeoutWaitsForTheNode(t *testing.T) {
	b := serveNode(t)
	b.stop()
	for _, url := range []string{b.nack(), "mqtt://" + b.mqtt} {
		begun := time.Now()
		_, stderr, code := execute(t, "", binary, "pub", "--timeout", "700ms", "--server", url, "/a", "x")
		if d := time.Since(begun); code != 1 || d < 700*time.Millisecond || d > patience/2 || !strings.Contains(stderr, "(connection refused): is a node running there? (tried for 700ms)") {
			t.Errorf("%s: exit %d after %v: %s", url, code, d, stderr)
		}
	}
	var waiting []*watcher
	for _, url := range []string{b.nack(), "mqtt://" + b.mqtt} {
		waiting = append(waiting,
			watch(t, binary, "pub", "--timeout", "30s", "--server", url, "/a", "x"),
			watch(t, binary, "sub", "--json", "--timeout", "30s", "--server", url, "/b"))
	}
	b.start()
	for i, w := range waiting {
		w.until([]string{"/a", `"event":"up"`}[i%2])
	}
}
