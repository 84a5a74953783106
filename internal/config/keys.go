package config

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// A Key is one setting. Its Name is the key in the file, where a dot means
// nesting; flag and variable follow from it.
type Key struct {
	Name string
	Help string // one line, for the flag and the sample file
	Kind Kind
	set  func(*Config, string) error
	get  func(*Config) string
}

// A Kind says what a setting's value looks like.
type Kind uint8

// The kinds of values.
const (
	Text     Kind = iota // must be text in the file too
	Bool                 // true or false
	Number               // a whole number
	Size                 // bytes: 1048576, 64MiB, 2GiB
	Duration             // 90s, 15m, 24h
	List                 // texts, in one text with commas in between
)

// Flag gives the flag's name, without dashes.
func (k Key) Flag() string { return strings.ReplaceAll(k.Name, ".", "-") }

// Variable gives the name of the environment variable.
func (k Key) Variable() string {
	return "NACKMQ_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(k.Name))
}

// Value gives the key's value in c as text.
func (k Key) Value(c Config) string { return k.get(&c) }

// Keys gives all settings in the order in which a person reads them.
func Keys() []Key {
	return []Key{
		text("data-dir", "directory of the log and of the node's identity", func(c *Config) *string { return &c.DataDir }, notEmpty),
		text("mqtt", "address for MQTT clients, HOST:PORT; port 0 takes a free one", func(c *Config) *string { return &c.MQTT }, isAddress),
		text("native", "address for native clients", func(c *Config) *string { return &c.Native }, isAddress),
		text("http", "address for health, metrics and WebSocket clients", func(c *Config) *string { return &c.HTTP }, isAddress),
		{
			Name: "http-origins", Kind: List,
			Help: "hosts whose web pages may open WebSockets, besides this machine's, like *.example.com",
			set:  func(c *Config, s string) (err error) { c.HTTPOrigins, err = parseOrigins(s); return err },
			get:  func(c *Config) string { return strings.Join(c.HTTPOrigins, ",") },
		},
		text("node-name", "the node's name for people; empty: the host name", func(c *Config) *string { return &c.NodeName }, emptyOr(checkName)),
		{
			Name: "allow-anonymous", Kind: Bool,
			Help: "let everybody in who reaches a port, also from other machines",
			set:  func(c *Config, s string) (err error) { c.AllowAnonymous, err = parseBool(s); return err },
			get:  func(c *Config) string { return strconv.FormatBool(c.AllowAnonymous) },
		},
		{
			Name: "log-format", Kind: Text,
			Help: "console for people, json for programs",
			set: func(c *Config, s string) error {
				if c.LogFormat = LogFormat(s); c.LogFormat != Console && c.LogFormat != JSON {
					return fmt.Errorf("%q is neither console nor json", s)
				}
				return nil
			},
			get: func(c *Config) string { return string(c.LogFormat) },
		},
		{
			Name: "log-level", Kind: Text,
			Help: "the least important lines to write: debug, info, warn or error",
			set: func(c *Config, s string) error {
				l, err := zerolog.ParseLevel(s)
				if err != nil || l < zerolog.DebugLevel || l > zerolog.ErrorLevel {
					return fmt.Errorf("%q is not one of debug, info, warn and error", s)
				}
				c.LogLevel = l
				return nil
			},
			get: func(c *Config) string { return c.LogLevel.String() },
		},
		size("limits.cache-bytes", "bytes of the newest messages kept for readers that come back", func(c *Config) *int64 { return &c.Limits.CacheBytes }),
		number("limits.cache-messages", "number of the newest messages kept", func(c *Config) *int64 { return &c.Limits.CacheMessages }),
		duration("limits.cache-age", "age at which a message leaves the cache", func(c *Config) *time.Duration { return &c.Limits.CacheAge }),
		duration("limits.subject-age", "age at which a silent subject without a retained message is forgotten", func(c *Config) *time.Duration { return &c.Limits.SubjectAge }),
		number("limits.subjects", "number of subjects", func(c *Config) *int { return &c.Limits.Subjects }),
		number("limits.publishers", "number of publishers whose last number is remembered", func(c *Config) *int { return &c.Limits.Publishers }),
		size("limits.subject-bytes", "bytes of the names of subjects", func(c *Config) *int64 { return &c.Limits.SubjectBytes }),
		size("limits.retained-bytes", "bytes of retained messages", func(c *Config) *int64 { return &c.Limits.RetainedBytes }),
		number("limits.sessions", "number of MQTT sessions kept, connected and offline", func(c *Config) *int { return &c.Limits.Sessions }),
		size("limits.session-bytes", "bytes of their filters, wills and states", func(c *Config) *int64 { return &c.Limits.SessionBytes }),
	}
}

// KeyNames gives the names of all settings.
func KeyNames() []string {
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	return names
}

func text(name, help string, field func(*Config) *string, check func(string) error) Key {
	return Key{
		Name: name, Help: help, Kind: Text,
		set: func(c *Config, s string) error { *field(c) = s; return check(s) },
		get: func(c *Config) string { return *field(c) },
	}
}

func number[T int | int64](name, help string, field func(*Config) *T) Key {
	return Key{
		Name: name, Help: help, Kind: Number,
		set: func(c *Config, s string) error {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 1 || int64(T(n)) != n {
				return fmt.Errorf("%q is not a whole number above 0", s)
			}
			*field(c) = T(n)
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(int64(*field(c)), 10) },
	}
}

func size(name, help string, field func(*Config) *int64) Key {
	return Key{
		Name: name, Help: help, Kind: Size,
		set: func(c *Config, s string) (err error) { *field(c), err = ParseSize(s); return err },
		get: func(c *Config) string { return FormatSize(*field(c)) },
	}
}

func duration(name, help string, field func(*Config) *time.Duration) Key {
	return Key{
		Name: name, Help: help, Kind: Duration,
		set: func(c *Config, s string) error {
			d, err := time.ParseDuration(s)
			if err != nil || d <= 0 {
				return fmt.Errorf("%q is not a duration above 0; write it like 90s, 15m or 24h", s)
			}
			*field(c) = d
			return nil
		},
		get: func(c *Config) string { return formatDuration(*field(c)) },
	}
}

// parseOrigins reads patterns of hosts with commas in between.
func parseOrigins(s string) (all []string, _ error) {
	for o := range strings.SplitSeq(s, ",") {
		if o = strings.TrimSpace(o); o == "" {
			continue
		}
		if _, err := path.Match(o, ""); err != nil || strings.ContainsAny(o, "/ ") {
			return nil, fmt.Errorf("%q is not a host; write it like app.example.com, *.example.com or app.example.com:8443", o)
		}
		all = append(all, o)
	}
	return all, nil
}

func notEmpty(s string) error {
	if s == "" {
		return fmt.Errorf("it is empty")
	}
	return nil
}

func isAddress(s string) error {
	_, _, err := splitAddress(s)
	return err
}

func emptyOr(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return b, nil
}
