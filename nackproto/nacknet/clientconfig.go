package nacknet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// Config says how a Client is to be. Only Servers is needed; it is not changed
// after Dial.
type Config struct {
	// Servers are URLs: nack://HOST:PORT, nacks://HOST:PORT, ws://HOST:PORT/nack,
	// wss://HOST:PORT/nack. The client tries them in turn; it also goes to the
	// servers that these name.
	Servers []string
	// Token says who the client is. It is not sent in plain text to another
	// machine unless PlainToken is set.
	Token      string
	PlainToken bool
	// TLS is for nacks and wss. Default: the system's roots, TLS 1.2 and later.
	TLS *tls.Config
	// Name is shown to the operators of the server. At most 255 bytes.
	Name string
	// Positions is what Client.Positions gave before a restart.
	Positions []byte
	// Incarnation names this publisher. Default: 64 random bits. Give one only to
	// a program that never runs twice at a time, and that begins where its numbers
	// ended; hardly any does.
	Incarnation stream.PublisherID

	// Buffer is how many events a Subscription holds before the client stops
	// reading from the server. Default 1,024.
	Buffer int
	// MaxUnanswered is how many publishes wait for their answers before the next
	// one blocks. Default 8,192.
	MaxUnanswered int
	// MaxSubjects is how many subjects the client remembers positions of. Default
	// 1,000,000.
	MaxSubjects int
	// MaxFrame is the longest frame that is taken from a server. Default 17 MiB.
	MaxFrame int

	// DialTimeout bounds one attempt to connect. Default 10 s.
	DialTimeout time.Duration
	// FirstBackoff and MaxBackoff bound the waiting between attempts. Default
	// 250 ms and 30 s.
	FirstBackoff, MaxBackoff time.Duration

	// Log hears of connections that come and go. The zero Logger is silent.
	Log zerolog.Logger

	// dial replaces the network in tests.
	dial func(ctx context.Context, url string) (net.Conn, error)
}

func (c *Config) withDefaults() Config {
	d := *c
	setDefault(&d.Buffer, 1024)
	setDefault(&d.MaxUnanswered, 8192)
	setDefault(&d.MaxSubjects, 1_000_000)
	setDefault(&d.MaxFrame, 17<<20)
	setDefault(&d.DialTimeout, 10*time.Second)
	setDefault(&d.FirstBackoff, 250*time.Millisecond)
	setDefault(&d.MaxBackoff, 30*time.Second)
	return d
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate says what is wrong with c.
func (c *Config) Validate() error {
	if len(c.Servers) == 0 {
		return errors.New("nacknet: no server to connect to; name one such as nack://localhost:6225")
	}
	for _, s := range c.Servers {
		a, err := parseAddress(s)
		if err != nil {
			return err
		}
		if c.Token != "" && !c.PlainToken && !a.secure() && !a.local() {
			return fmt.Errorf("nacknet: the token would go to %s in plain text; use nacks:// or wss://, or set PlainToken", s)
		}
	}
	for name, n := range map[string]int{"Buffer": c.Buffer, "MaxUnanswered": c.MaxUnanswered, "MaxSubjects": c.MaxSubjects, "MaxFrame": c.MaxFrame} {
		if n < 0 {
			return fmt.Errorf("nacknet: %s is %d; it must be above zero, or zero for the default", name, n)
		}
	}
	if len(c.Name) > nackproto.MaxText || len(c.Token) > nackproto.MaxToken {
		return fmt.Errorf("nacknet: the name has at most %d bytes, the token %d", nackproto.MaxText, nackproto.MaxToken)
	}
	return nil
}
