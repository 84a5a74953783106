package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/nackmq/nackmq/stream"
)

// A start says from where sub reads.
type start struct {
	kind    startKind
	after   stream.Position // startAfter
	history int             // startHistory
}

type startKind uint8

const (
	startLive startKind = iota
	startLast
	startAfter
	startHistory
)

type subOptions struct {
	server  string
	from    string
	count   int
	waiting waiting
	json    bool
}

// errEnough ends a subscription that has what it wanted.
var errEnough = errors.New("enough")

func subCommand(environ []string) *cobra.Command {
	var o subOptions
	cmd := &cobra.Command{
		Use:   "sub FILTER…",
		Short: "show messages, and what was lost, as it happens",
		Long: `Shows the messages of every subject that a FILTER names, with their places, EPOCH:SEQ.
"+" stands for one segment and "#" at the end for all that follow.

When the connection breaks, sub connects again and goes on where it was. Each
subject then either continues or is reset: what can no longer be had is told, with
the first and the newest message that can. Losses are never silent.

--from live       what is published from now on
--from last       first the newest message of each subject, then live
--from EPOCH:SEQ  what came after that message; needs one FILTER without wildcards
--from history:N  first the newest N messages of each subject, then live

With --json each line is an object: a message has "subject", "epoch", "seq", "payload",
"encoding" (utf8 or base64), "kind" (live, recovered, snapshot) and "retained"; what
happened between messages has "event": up, down, continuous or reset.
Over mqtt:// (MQTT 5, QoS 1) there are no places; --from last gives the retained
messages.`,
		Example: `  nackmq sub '/demo/#'
  nackmq sub --json --from last /demo/state
  nackmq sub --from 00c0ffee00c0ffee:41 --count 1 /demo/hello
  nackmq sub --from history:10 '/sensor/+/temp'
  nackmq sub --server mqtt://127.0.0.1:1883 '/demo/#'`,
		Args: arguments(1, -1, "a FILTER"),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.server, "server", serverDefault(environ), "`URL` of the server, nack://HOST:PORT[,…] or mqtt://HOST:PORT; NACKMQ_SERVER names it, too")
	f.StringVar(&o.from, "from", "live", "where to begin: live, last, EPOCH:SEQ or history:N")
	f.IntVar(&o.count, "count", 0, "stop after so many messages (default: do not stop)")
	addWaiting(cmd, &o.waiting, "how long to wait for the server at the start")
	f.BoolVar(&o.json, "json", false, "print one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var filters []stream.Filter
		for _, a := range args {
			filter, err := stream.ParseFilter(a)
			if err != nil {
				return &usageError{err}
			}
			filters = append(filters, filter)
		}
		from, err := parseStart(o.from, filters)
		if err != nil {
			return err
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
		for _, f := range filters {
			if group, is := strings.CutPrefix(string(f), "/$share/"); is && !srv.mqtt {
				group, _, _ = strings.Cut(group, "/")
				return usagef("%s: shared subscriptions exist in MQTT only: sub with --server mqtt://HOST:PORT, or leave /$share/%s out", f, group)
			}
		}
		watch := watchNack
		if srv.mqtt {
			if from.kind != startLive && from.kind != startLast {
				return usagef("--from %s needs nack://: MQTT knows no places", o.from)
			}
			watch = watchMQTT
		}
		r := &reporter{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: o.json}
		err = watch(cmd.Context(), srv, o.waiting, filters, from, newSink(r, o.count))
		if errors.Is(err, errEnough) || errors.Is(err, context.Canceled) && cmd.Context().Err() != nil {
			return nil // all that was asked for, or asked to stop
		}
		return err
	}
	return cmd
}

// A sink takes what a subscription gives; an error ends the subscription.
type sink struct {
	delivery func(delivery) error
	incident func(incident) error
}

// newSink prints to r and has enough after count deliveries, if that is above 0.
// Its functions may be called from several goroutines.
func newSink(r *reporter, count int) sink {
	var mu sync.Mutex
	got := 0
	return sink{
		delivery: func(d delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if count > 0 && got == count {
				return errEnough
			}
			if err := r.delivery(d); err != nil {
				return err
			}
			if got++; got == count {
				return errEnough
			}
			return nil
		},
		incident: func(i incident) error {
			mu.Lock()
			defer mu.Unlock()
			return r.incident(i)
		},
	}
}

// parseStart reads the value of --from.
func parseStart(s string, filters []stream.Filter) (start, error) {
	switch {
	case s == "live":
		return start{kind: startLive}, nil
	case s == "last":
		return start{kind: startLast}, nil
	case strings.HasPrefix(s, "history:"):
		n, err := strconv.Atoi(strings.TrimPrefix(s, "history:"))
		if err != nil || n < 1 {
			return start{}, usagef("--from %s: write a number above 0 behind the colon", s)
		}
		return start{kind: startHistory, history: n}, nil
	}
	pos, err := stream.ParsePosition(s)
	if err != nil {
		return start{}, usagef("--from %q is none of live, last, EPOCH:SEQ and history:N", s)
	}
	if len(filters) != 1 || !filters[0].IsExact() {
		return start{}, usagef("--from %s is a place within one subject: give exactly one FILTER, without wildcards", s)
	}
	return start{kind: startAfter, after: pos}, nil
}
