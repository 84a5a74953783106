package node

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/internal/config"
)

// testConfig gives a configuration on free ports.
func testConfig(dir string) config.Config {
	c := config.Default()
	c.DataDir, c.NodeName = dir, "test"
	c.MQTT, c.Native, c.HTTP = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// start starts a node that is stopped when the test ends.
func start(t testing.TB, cfg config.Config) *Node {
	t.Helper()
	n, err := Start(context.Background(), cfg, Options{Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel), Build: Build{"v1", "c1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	return n
}

// stop stops n, once.
func stop(t testing.TB, n *Node) {
	t.Helper()
	if n.State() == Stopping {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// get asks n for a path and gives status and body.
func get(t testing.TB, n *Node, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get("http://" + n.Addresses().HTTP + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestPaths(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	for _, tt := range []struct {
		path   string
		status int
		has    string
	}{
		{"/livez", 200, "ok"},
		{"/readyz", 200, "ok"},
		{"/", 200, n.Addresses().MQTT},
		{"/metrics", 200, `nackmq_build_info{commit="c1",version="v1"} 1`},
		{"/metrics", 200, `nackmq_sessions{protocol="mqtt"} 0`},
		{"/metrics", 200, `nackmq_sessions{protocol="native"} 0`},
		{"/metrics", 200, "nackmq_log_index 0"},
		{"/metrics", 200, "go_goroutines "},
		{"/metrics", 200, "process_open_fds "},
		{"/api/v1/status", 200, `"name": "test"`},
		{"/nothing", 404, ""},
		{"/mqtt", 426, ""}, // WebSocket only
		{"/nack", 426, ""},
	} {
		if status, body := get(t, n, tt.path); status != tt.status || !strings.Contains(body, tt.has) {
			t.Errorf("GET %s = %d, want %d with %q in:\n%s", tt.path, status, tt.status, tt.has, body)
		}
	}
}

func TestStatus(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	_, body := get(t, n, "/api/v1/status")
	var s Status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	if !s.Ready || s.Version != "v1" || s.Listen != n.Addresses() || len(s.Cluster) != 16 {
		t.Errorf("status = %+v", s)
	}
	if d := time.Since(s.Now); d < 0 || d > time.Minute {
		t.Errorf("now = %v, which is %v ago", s.Now, d)
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for flag, set := range map[string]func(*config.Config, string){
		"--mqtt":   func(c *config.Config, a string) { c.MQTT = a },
		"--native": func(c *config.Config, a string) { c.Native = a },
		"--http":   func(c *config.Config, a string) { c.HTTP = a },
	} {
		cfg := testConfig(t.TempDir())
		set(&cfg, taken.Addr().String())
		_, err := Start(context.Background(), cfg, Options{})
		want := "another program listens on " + taken.Addr().String() + " already: stop it, or choose another address with " + flag
		if err == nil || err.Error() != want {
			t.Errorf("error = %v, want %s", err, want)
		}
		if _, err := os.Stat(filepath.Join(cfg.DataDir, "node.json")); err == nil {
			t.Errorf("%s is taken and the data directory was touched", flag)
		}
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	first := start(t, testConfig(dir))
	_, err := Start(context.Background(), testConfig(dir), Options{})
	if err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("a second node in the same directory: %v", err)
	}
	if status, _ := get(t, first, "/readyz"); status != 200 {
		t.Errorf("the first one is disturbed: /readyz is %d", status)
	}
}

func TestAnonymousNodeKeepsForeignPagesOut(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	req, _ := http.NewRequest("GET", "http://"+n.Addresses().HTTP+"/api/v1/status", nil)
	req.Header.Set("Origin", "https://example.com")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site got %d, want 403", res.StatusCode)
	}
}

// A client that never finishes its header is cut off.
func TestSlowHeader(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout of seconds")
	}
	n := start(t, testConfig(t.TempDir()))
	conn, err := net.Dial("tcp", n.Addresses().HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: loc"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(2 * httpHeaderTimeout))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection is still open after %v: %v", 2*httpHeaderTimeout, err)
	}
}

func TestRestartKeepsTheLog(t *testing.T) {
	dir := t.TempDir()
	n := start(t, testConfig(dir))
	before := n.Status()
	stop(t, n)
	if _, err := net.Dial("tcp", n.Addresses().HTTP); err == nil {
		t.Error("HTTP answers after Stop")
	}
	n = start(t, testConfig(dir))
	if after := n.Status(); after.Cluster != before.Cluster {
		t.Errorf("cluster %s after the restart, want %s", after.Cluster, before.Cluster)
	}
}

// A node that is interrupted while it starts gives everything back.
func TestInterruptedStart(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	if _, err := Start(ctx, testConfig(dir), Options{}); err == nil {
		t.Fatal("started although it was told to stop")
	}
	start(t, testConfig(dir))
}
