package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// startTimeout is how long a server may take to answer when nobody says.
const startTimeout = 10 * time.Second

// Between two attempts to reach a server.
const shortestPause, longestPause = 100 * time.Millisecond, time.Second

// A waiting is how long a command waits for its server.
type waiting struct {
	timeout time.Duration
	asked   bool // --timeout was given: a server that is not there may come
}

// addWaiting gives cmd the flag --timeout.
func addWaiting(cmd *cobra.Command, p *waiting, what string) {
	cmd.Flags().DurationVar(&p.timeout, "timeout", startTimeout, what+"; when it is given, a server that is not there is tried again until then, otherwise the command fails at once")
}

// read completes p when the command line has been read.
func (p *waiting) read(cmd *cobra.Command) error {
	if p.timeout <= 0 {
		return usagef("--timeout must be above 0")
	}
	p.asked = cmd.Flags().Changed("timeout")
	return nil
}

// An absent is an error of a server that may be there a moment later.
type absent struct{ err error }

func (e *absent) Error() string { return e.err.Error() }
func (e *absent) Unwrap() error { return e.err }

// reach calls dial until it succeeds, as long as p lasts and what went wrong may
// pass. dial gets how long it may take.
func reach[C any](ctx context.Context, p waiting, dial func(time.Duration) (C, error)) (C, error) {
	end := time.Now().Add(p.timeout)
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		c, err := dial(max(time.Until(end), shortestPause))
		var away *absent
		if err == nil || !p.asked || !errors.As(err, &away) {
			return c, err
		}
		left := time.Until(end)
		if left <= 0 {
			return c, fmt.Errorf("%w (tried for %v)", err, p.timeout)
		}
		if !sleep(ctx, min(pause, left)) {
			return c, fmt.Errorf("interrupted before a server answered%w", silent{ctx.Err()})
		}
	}
}
