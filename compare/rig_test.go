package compare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server is a broker in a process of its own.
type server struct {
	name   string
	cmd    *exec.Cmd
	mqtt   string // HOST:PORT
	native string
	http   string
	ended  chan struct{} // closed when the process is gone
}

var nackmqBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nackmq-compare")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "nackmq")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/nackmq/nackmq/cmd/nackmq").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	if os.Getenv(floorEnv) != "" {
		floorMain()
		return
	}
	code := m.Run()
	if bin, err := nackmqBinary(); err == nil && bin != "" {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// startNackMQ starts a node with its data in dir.
func startNackMQ(tb testing.TB, dir string, args ...string) *server {
	tb.Helper()
	bin, err := nackmqBinary()
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{name: "nackmq"}
	s.cmd = exec.Command(bin, append([]string{"serve", "--data-dir", dir, "--log-format", "json",
		"--mqtt", "127.0.0.1:0", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)...)
	pr, pw := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = pw, pw
	s.run(tb)
	ready := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(pr)
		var last string
		for lines.Scan() {
			last = lines.Text()
			if facts, ok := strings.CutPrefix(last, "ready "); ok {
				for _, f := range strings.Fields(facts) {
					switch key, value, _ := strings.Cut(f, "="); key {
					case "mqtt":
						s.mqtt = value
					case "native":
						s.native = value
					case "http":
						s.http = value
					}
				}
				ready <- nil
				break
			}
		}
		if s.mqtt == "" {
			ready <- errors.New("nackmq ended before it was ready: " + last)
		}
		io.Copy(io.Discard, pr)
	}()
	go func() { <-s.ended; pw.Close() }()
	select {
	case err := <-ready:
		if err != nil {
			tb.Fatal(err)
		}
	case <-time.After(60 * time.Second):
		tb.Fatal("nackmq was not ready within a minute")
	}
	return s
}

// startMosquitto starts Debian's mosquitto with unlimited queues, so that it
// drops nothing, and without a disk.
func startMosquitto(tb testing.TB) *server {
	tb.Helper()
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		tb.Skip("mosquitto is not installed: apt-get install mosquitto")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(tb.TempDir(), "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_queued_bytes 0\n" +
		"max_inflight_messages 0\nlog_type error\nset_tcp_nodelay true\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	s := &server{name: "mosquitto", mqtt: addr, cmd: exec.Command(bin, "-c", conf)}
	var errs bytes.Buffer
	s.cmd.Stderr = &errs
	s.run(tb)
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
	tb.Fatalf("mosquitto does not listen on %s: %s", addr, errs.String())
	return nil
}

func (s *server) run(tb testing.TB) {
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() { s.cmd.Wait(); close(s.ended) }()
	tb.Cleanup(func() { s.cmd.Process.Kill(); <-s.ended })
}

// cpu gives the CPU time that the process took so far.
func (s *server) cpu(tb testing.TB) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// rss gives the process's resident memory in bytes.
func (s *server) rss(tb testing.TB) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// kill ends the process as a power cut would, short of the disk.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}
