package socket

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"
)

// How long Accept waits after an error, twice as long after each, and from when on
// it is worth a word.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
	tellPause  = 16 * firstPause
)

// Accept hands the connections of l to take, one after the other, until ctx ends
// or l is closed, and closes l. An error that may pass is waited out: with no
// file descriptor left, those who are connected are still served. The error is
// the cause of ctx's end, or net.ErrClosed.
func Accept(ctx context.Context, l net.Listener, log zerolog.Logger, take func(net.Conn)) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	pause := firstPause
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = firstPause
			take(nc)
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return net.ErrClosed
		}
		// EMFILE, ENFILE, ENOBUFS, ECONNABORTED: the next one may do.
		if pause == tellPause {
			log.Warn().Err(err).Str("addr", l.Addr().String()).Msg("cannot accept connections, trying again")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, lastPause)
	}
}
