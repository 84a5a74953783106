// Package config says how a node is set up and reads it from three places: the
// command line's flags, the environment and a YAML file, in this order of
// precedence. One table (keys.go) names every setting; flags, variables, the
// file's keys, the sample file and the help all come from it.
//
// It is strict. A key that nobody knows is an error that names the nearest one,
// because a misspelt limit that is silently ignored is found out in production.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/stream"
)

// A Config is a node's whole configuration. It is immutable once the node runs.
// Default gives the values that hold where nothing is said.
type Config struct {
	// DataDir is where the log and the node's identity are kept.
	DataDir string
	// NodeName names the node to people: in logs, in metrics, in a cluster.
	// Empty: the machine's host name.
	NodeName string
	// MQTT, Native and HTTP are the addresses, HOST:PORT, to listen on. Port 0
	// takes a free one; the ready line tells which.
	MQTT, Native, HTTP string
	// AllowAnonymous says that everybody who reaches a port may use it. Without
	// it only loopback addresses may be listened on.
	AllowAnonymous bool
	// HTTPOrigins are patterns of hosts, HOST or HOST:PORT with * for any letters,
	// whose pages may open WebSockets, besides the node's own and those of this
	// machine.
	HTTPOrigins []string
	LogFormat   LogFormat
	LogLevel    zerolog.Level
	// Limits bound what the log keeps.
	Limits stream.Limits
}

// A LogFormat is how log lines are written.
type LogFormat string

// The two formats: for people and for programs.
const (
	Console LogFormat = "console"
	JSON    LogFormat = "json"
)

// Default gives the configuration of a node about which nothing was said.
func Default() Config {
	return Config{
		DataDir:   "./nackmq-data",
		MQTT:      "127.0.0.1:1883",
		Native:    "127.0.0.1:6225",
		HTTP:      "127.0.0.1:8225",
		LogFormat: Console,
		LogLevel:  zerolog.InfoLevel,
		Limits:    stream.Limits{}.WithDefaults(),
	}
}

// Name gives the node's name, which is the machine's where none was given.
func (c Config) Name() string {
	if c.NodeName != "" {
		return c.NodeName
	}
	host, err := os.Hostname()
	if err != nil || checkName(host) != nil {
		return "node"
	}
	return host
}

// Validate checks what no single key can tell: that the addresses differ and
// that nobody is let in by accident. Its errors are one sentence.
func (c Config) Validate() error {
	taken := map[string]string{}
	for _, l := range []struct{ key, addr string }{{"mqtt", c.MQTT}, {"native", c.Native}, {"http", c.HTTP}} {
		host, port, err := splitAddress(l.addr)
		if err != nil {
			return &keyError{l.key, err}
		}
		if !c.AllowAnonymous && !isLoopback(host) {
			return &keyError{l.key, fmt.Errorf("%s can be reached from other machines and nobody has to log in: listen on 127.0.0.1, or say --allow-anonymous to let everybody in", l.addr)}
		}
		if other, ok := taken[l.addr]; ok && port != 0 {
			return &keyError{l.key, fmt.Errorf("%s is taken by %s already: give each its own port", l.addr, other)}
		}
		taken[l.addr] = l.key
	}
	if err := c.Limits.Validate(); err != nil {
		return limitError(err)
	}
	return nil
}

// ValidateAt is Validate for what Load gave: an error about a value from a file
// says its line.
func (c Config) ValidateAt(origins map[string]Origin) error {
	err := c.Validate()
	var about *keyError
	if errors.As(err, &about) {
		if file, is := strings.CutPrefix(string(origins[about.key]), "file "); is {
			return fmt.Errorf("%s: %w", at(file, about.key), err)
		}
	}
	return err
}

// A keyError is what is wrong with the value of a key.
type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }
func (e *keyError) Unwrap() error { return e.err }

// limitError names the key of what stream says of a limit: "stream: cache bytes
// must be …" is about limits.cache-bytes.
func limitError(err error) error {
	text := strings.TrimPrefix(err.Error(), "stream: ")
	for _, k := range Keys() {
		name, _ := strings.CutPrefix(k.Name, "limits.")
		if rest, is := strings.CutPrefix(text, strings.ReplaceAll(name, "-", " ")+" must "); is {
			return &keyError{k.Name, fmt.Errorf("must %s", rest)}
		}
	}
	return fmt.Errorf("limits: %s", text)
}

// splitAddress reads HOST:PORT with a number as port; the host may be empty.
func splitAddress(s string) (host string, port int, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, fmt.Errorf("%q is not HOST:PORT; write it like 127.0.0.1:1883", s)
	}
	port, err = strconv.Atoi(s[i+1:])
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q ends in no port; write a number from 0 to 65535 behind the colon", s)
	}
	host = s[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return "", 0, fmt.Errorf("%q has several colons; write an IPv6 address in brackets, like [::1]:1883", s)
	}
	return host, port, nil
}

// isLoopback reports whether only this machine reaches host. Names other than
// localhost are not asked for: what they mean may change while the node runs.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// checkName accepts what can stand in a log line, a label and a file name.
func checkName(s string) error {
	ok := len(s) > 0 && len(s) <= 64
	for _, r := range s {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	}
	if !ok {
		return fmt.Errorf("%q is not a name of 1 to 64 letters, digits, dots, dashes and underscores", s)
	}
	return nil
}
