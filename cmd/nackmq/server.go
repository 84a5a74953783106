package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// defaultServer is the node that serve starts on its defaults.
const defaultServer = "nack://127.0.0.1:6225"

// A server says where to connect and in which language.
type server struct {
	mqtt  bool
	addrs []string // HOST:PORT; more than one only for nack
}

// String gives the form that parseServer reads.
func (s server) String() string {
	if s.mqtt {
		return "mqtt://" + strings.Join(s.addrs, ",")
	}
	return "nack://" + strings.Join(s.addrs, ",")
}

// parseServer reads nack://HOST:PORT[,HOST:PORT…] or mqtt://HOST:PORT. The port
// may be left out.
func parseServer(s string) (server, error) {
	scheme, list, ok := strings.Cut(s, "://")
	if !ok || scheme != "nack" && scheme != "mqtt" {
		return server{}, usagef("server %q: write nack://HOST:PORT or mqtt://HOST:PORT", s)
	}
	srv := server{mqtt: scheme == "mqtt"}
	port := "6225"
	if srv.mqtt {
		port = "1883"
	}
	for _, addr := range strings.Split(strings.TrimSuffix(list, "/"), ",") {
		if !strings.Contains(addr, ":") || strings.HasSuffix(addr, "]") {
			addr += ":" + port
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" || strings.ContainsAny(addr, "/@?# ") {
			return server{}, usagef("server %q: %q is not HOST:PORT", s, addr)
		}
		srv.addrs = append(srv.addrs, addr)
	}
	if srv.mqtt && len(srv.addrs) > 1 {
		return server{}, usagef("server %q: a list of servers needs nack://", s)
	}
	return srv, nil
}

// unreachable is the sentence for a server that does not answer.
func unreachable(url string, err error) error {
	var name *net.DNSError
	if errors.As(err, &name) {
		return &absent{fmt.Errorf("cannot resolve %s: %s%w", name.Name, name.Err, silent{err})}
	}
	return &absent{fmt.Errorf("%s does not answer (%w): is a node running there?", url, rootCause(err))}
}

// isResolution reports whether a host's name could not be resolved.
func isResolution(err error) bool {
	var name *net.DNSError
	return errors.As(err, &name)
}

// rootCause takes what the sentence says already out of a network error.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return err
}
