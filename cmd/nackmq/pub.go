package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nackmq/nackmq/stream"
)

// maxLine is the longest line that pub takes from standard input.
const maxLine = stream.MaxItemBytes

// A publisher is the publishing end of a connection, in either language.
type publisher interface {
	// publish sends p and calls done, once, when p has its place or is refused.
	// It waits while too much is unconfirmed. Order is kept.
	publish(ctx context.Context, p stream.Publication, done func(stream.Position, error)) error
	// close ends the connection; what is unconfirmed is answered with an error.
	close()
}

type pubOptions struct {
	server   string
	count    int
	interval time.Duration
	waiting  waiting
	retain   bool
	json     bool
}

func pubCommand(environ []string) *cobra.Command {
	var o pubOptions
	cmd := &cobra.Command{
		Use:   "pub SUBJECT [PAYLOAD | -]",
		Short: "publish messages and show the place each one got",
		Long: `Publishes PAYLOAD, or nothing if it is left out, on SUBJECT; with "-" every line of
standard input is a message. A subject is "/" and an MQTT topic: /demo/hello is what
MQTT clients call demo/hello.

Each confirmed message is printed with its place, EPOCH:SEQ: it is on disk by then.
Over mqtt:// (MQTT 5, QoS 1) the confirmation does not tell the place, so none is
printed.`,
		Example: `  nackmq pub /demo/hello 'hello, world'
  nackmq pub --retain /demo/state on            keep it for those who subscribe later
  nackmq pub --retain /demo/state ''            keep none
  seq 1000 | nackmq pub --json /demo/numbers -
  nackmq pub --count 10 --interval 1s /demo/tick tick
  nackmq pub --server mqtt://127.0.0.1:1883 /demo/hello hi`,
		Args: arguments(1, 2, "a SUBJECT and a PAYLOAD"),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.server, "server", serverDefault(environ), "`URL` of the server, nack://HOST:PORT[,…] or mqtt://HOST:PORT; NACKMQ_SERVER names it, too")
	f.IntVar(&o.count, "count", 0, "how many messages to publish: PAYLOAD is repeated, lines end there (default 1, or all lines)")
	f.DurationVar(&o.interval, "interval", 0, "time between two messages")
	f.BoolVar(&o.retain, "retain", false, "keep the message for those who subscribe later")
	addWaiting(cmd, &o.waiting, "how long to wait for the server and for each confirmation")
	f.BoolVar(&o.json, "json", false, `print {"subject","epoch","seq"} for each confirmed message`)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if _, word, is := strings.Cut(err.Error(), " in -"); is && strings.HasPrefix(err.Error(), "unknown shorthand flag") {
			return fmt.Errorf(`%w; a PAYLOAD that begins with "-" goes behind "--", as in: %s SUBJECT -- -%s`, err, cmd.CommandPath(), word)
		}
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		subject, err := stream.ParseSubject(args[0])
		if err != nil {
			return &usageError{err}
		}
		if o.interval < 0 {
			return usagef("--interval must not be negative")
		}
		if cmd.Flags().Changed("count") && o.count < 1 {
			return usagef("--count must be above 0")
		}
		if err := o.waiting.read(cmd); err != nil {
			return err
		}
		srv, err := parseServer(o.server)
		if err != nil {
			return err
		}
		next := repeat(args[1:], o.count)
		if len(args) == 2 && args[1] == "-" {
			next = lines(cmd.InOrStdin(), o.count)
		}
		dial := dialNackPublisher
		if srv.mqtt {
			dial = dialMQTTPublisher
		}
		p, err := dial(cmd.Context(), srv, o.waiting)
		if err != nil {
			return err
		}
		defer p.close()
		r := &reporter{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: o.json}
		return publishAll(cmd.Context(), p, r, o, subject, next)
	}
	return cmd
}

func serverDefault(environ []string) string {
	if s := variable(environ, "NACKMQ_SERVER"); s != "" {
		return s
	}
	return defaultServer
}

// publishAll publishes what next gives until it gives io.EOF, and waits for
// every confirmation.
func publishAll(ctx context.Context, p publisher, r *reporter, o pubOptions, subject stream.Subject, next func() ([]byte, error)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var flags stream.Flags
	if o.retain {
		flags |= stream.Retain
	}
	var waiting sync.WaitGroup
	quiet := newWatchdog(o.waiting.timeout, func() {
		stop(fmt.Errorf("%s was not confirmed within %v: it may have a place or not", subject, o.waiting.timeout))
	})
	defer quiet.stop()
	confirmed := func(pos stream.Position, err error) {
		defer waiting.Done()
		quiet.answered()
		if err == nil {
			err = r.confirmation(subject, pos)
		} else {
			err = fmt.Errorf("%s was not placed: %w", subject, plain(err))
		}
		if err != nil {
			stop(err)
		}
	}
	for first := true; ctx.Err() == nil; first = false {
		payload, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !first && o.interval > 0 && !sleep(ctx, o.interval) {
			break
		}
		waiting.Add(1)
		quiet.asked()
		item := stream.Publication{Subject: subject, Payload: payload, Flags: flags}
		if err := p.publish(ctx, item, confirmed); err != nil {
			waiting.Done()
			if ctx.Err() != nil {
				break // why is in the cause
			}
			return err
		}
	}
	all := make(chan struct{})
	go func() {
		waiting.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
		p.close() // answers what is unconfirmed, so that all closes
		<-all
	}
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return errors.New("interrupted: what was printed is placed, what came after may be placed or not")
		}
		return err
	}
	return nil
}

// confirmation prints what pub prints for a placed message.
func (r *reporter) confirmation(subject stream.Subject, pos stream.Position) error {
	if r.json {
		l := struct {
			Subject stream.Subject `json:"subject"`
			Epoch   string         `json:"epoch,omitempty"`
			Seq     stream.Seq     `json:"seq,omitempty"`
		}{Subject: subject, Seq: pos.Seq}
		if !pos.IsZero() {
			l.Epoch = pos.Epoch.String()
		}
		return r.encode(l)
	}
	place := "confirmed"
	if !pos.IsZero() {
		place = pos.String()
	}
	_, err := fmt.Fprintf(r.out, "%s  %s\n", subject, place)
	return err
}

// repeat gives one payload count times.
func repeat(args []string, count int) func() ([]byte, error) {
	var payload []byte
	if len(args) > 0 {
		payload = []byte(args[0])
	}
	left := max(count, 1)
	return func() ([]byte, error) {
		if left == 0 {
			return nil, io.EOF
		}
		left--
		return payload, nil
	}
}

// lines gives the lines of in without their ends, at most count if that is
// above 0.
func lines(in io.Reader, count int) func() ([]byte, error) {
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	n := 0
	return func() ([]byte, error) {
		if count > 0 && n == count {
			return nil, io.EOF
		}
		n++
		if scan.Scan() {
			return append([]byte(nil), scan.Bytes()...), nil
		}
		if errors.Is(scan.Err(), bufio.ErrTooLong) {
			return nil, fmt.Errorf("line %d is longer than %d bytes, which no message may be", n, maxLine)
		}
		if scan.Err() != nil {
			return nil, fmt.Errorf("standard input: %w", scan.Err())
		}
		return nil, io.EOF
	}
}

// sleep waits for d and reports whether ctx lived that long.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
