package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// nodeStatus is what the doctor reads of a node's /api/v1/status.
type nodeStatus struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	State   string    `json:"state"`
	Ready   bool      `json:"ready"`
	Now     time.Time `json:"now"`
	Listen  struct {
		MQTT   string `json:"mqtt"`
		Native string `json:"native"`
	} `json:"listen"`
	DataDir string `json:"data_dir"`
}

var (
	errNoNode    = errors.New("nobody answers")
	errNotNackMQ = errors.New("another program answers")
)

// askNode asks the node at an HTTP address for its status. The error is or wraps
// errNoNode or errNotNackMQ.
func askNode(ctx context.Context, addr string) (*nodeStatus, error) {
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(addr)+"/api/v1/status", nil)
	if err != nil {
		return nil, errNoNode
	}
	res, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errNoNode
	}
	if err != nil {
		return nil, fmt.Errorf("%w, but not in HTTP", errNotNackMQ)
	}
	defer res.Body.Close()
	var s nodeStatus
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&s); err != nil || res.StatusCode != http.StatusOK || s.Name == "" {
		return nil, errNotNackMQ
	}
	return &s, nil
}

// reachable gives the address under which this machine reaches a listener that
// may listen on all of its addresses.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if strings.Contains(host, ":") {
			return net.JoinHostPort("::1", port)
		}
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// checkPorts looks at whether the node's ports answer or, where no node runs, can
// be had.
func checkPorts(ctx context.Context, p *patient) []finding {
	var all []finding
	for _, l := range []struct{ flag, addr string }{{"mqtt", p.cfg.MQTT}, {"native", p.cfg.Native}, {"http", p.cfg.HTTP}} {
		switch {
		case strings.HasSuffix(l.addr, ":0"):
			all = append(all, found(ok, l.flag, "%s takes a free port", l.addr))
		case p.node != nil:
			all = append(all, checkAnswer(ctx, l.flag, l.addr))
		default:
			all = append(all, checkFree(ctx, l.flag, l.addr))
		}
	}
	return all
}

func checkAnswer(ctx context.Context, flag, addr string) finding {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", reachable(addr))
	if err != nil {
		return found(fail, flag, "%s does not answer (%v): does the node run with the same configuration?", addr, rootCause(err))
	}
	conn.Close()
	return found(ok, flag, "%s answers", addr)
}

func checkFree(ctx context.Context, flag, addr string) finding {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		if owner, httpAddr := nodeBehind(ctx, addr); owner != nil {
			return found(fail, flag, "%s is taken by the NackMQ node %s, whose HTTP address is %s: stop it, choose another address with --%s, or look at that node with --mqtt %s --native %s --http %s",
				addr, owner.Name, httpAddr, flag, owner.Listen.MQTT, owner.Listen.Native, httpAddr)
		}
		return found(fail, flag, "%s is taken by %s: stop it, or choose another address with --%s", addr, listenerOf(addr), flag)
	}
	if err != nil {
		return found(fail, flag, "%s cannot be listened on (%v): choose another address with --%s", addr, rootCause(err), flag)
	}
	ln.Close()
	return found(ok, flag, "%s is free", addr)
}

// checkNode looks at the node itself.
func checkNode(_ context.Context, p *patient) []finding {
	const object = "node"
	if p.node == nil {
		if errors.Is(p.why, errNoNode) {
			return []finding{found(warn, object, "no node runs at http://%s: start one with nackmq serve", p.cfg.HTTP)}
		}
		return []finding{found(fail, object, "http://%s: %v: name the node's address with --http", p.cfg.HTTP, p.why)}
	}
	var all []finding
	if p.node.Ready {
		all = append(all, found(ok, object, "%s is ready", p.node.Name))
	} else {
		all = append(all, found(fail, object, "%s is not ready: it is %s", p.node.Name, p.node.State))
	}
	if p.node.Version != p.self.Version || p.node.Commit != p.self.Commit {
		all = append(all, found(warn, "version", "the node is %s (commit %s) and this program is %s (commit %s): restart the node, or call its own nackmq", p.node.Version, p.node.Commit, p.self.Version, p.self.Commit))
	} else {
		all = append(all, found(ok, "version", "%s, commit %s, %s on %s", p.self.Version, p.self.Commit, p.self.Go, p.self.Platform))
	}
	return all
}
