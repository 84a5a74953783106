package nacknet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nackmq/nackmq/nackproto"
)

// settledAfter is how long a connection must last for the next attempt to count
// as the first: a server that takes clients and drops them is not run against.
const settledAfter = 10 * time.Second

// errDropped is how a connection ends without CLOSE.
var errDropped = errors.New("the connection ended without a word")

// dial begins to connect to the target.
func (l *clientLoop) dial() {
	l.dialAt = time.Time{}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	target, config := l.target, &l.client.config
	l.dialing.Go(func() {
		nc, err := dial(ctx, target, config)
		l.dialed <- dialResult{nc, err}
	})
}

func (l *clientLoop) handleDialed(r dialResult) {
	l.dialing.Wait()
	l.cancel()
	l.cancel = nil
	if l.ending != nil {
		if r.net != nil {
			r.net.Close()
		}
		return
	}
	if r.err != nil {
		l.client.config.Log.Info().Err(r.err).Str("server", l.target.url).Msg("server not reached")
		l.failedAt(r.err)
		return
	}
	l.conn = newClientConn(r.net, &l.client.count)
	l.client.count.connections.Add(1)
	l.session.HandleConnected(time.Now())
}

// disconnected cleans up behind a connection. The session's Down says the rest.
func (l *clientLoop) disconnected(err error) {
	l.conn.close()
	l.conn = nil
	l.in, l.out, l.writing = nil, nil, false
	l.leaveAt = time.Time{}
	l.broke = err
	l.session.HandleDisconnected(time.Now())
	if err != nil {
		l.client.config.Log.Debug().Err(err).Str("server", l.target.url).Msg("transport ended")
	}
	l.tellEvents()
}

func (l *clientLoop) handleUp(e *nackproto.Up) {
	l.upAt = time.Now()
	l.servers.learn(e.Servers, l.target.secure())
	l.failed = nil
	l.client.config.Log.Info().Str("server", l.target.url).Str("node", e.Node).Msg("connected")
	if !l.wasUp {
		l.wasUp = true
		close(l.client.up)
	}
}

// handleBehind gives what is to be told when e is the last server's BEHIND of a
// round. PROTOCOL.md §6.6.
func (l *clientLoop) handleBehind(e *nackproto.Down) *Behind {
	if e.Code != nackproto.CloseBehind || e.Ours {
		return nil
	}
	l.upAt = time.Time{} // it took the client without use: the backoff grows on
	if !l.servers.sayBehind(l.target) {
		return nil
	}
	l.rounds++
	l.client.config.Log.Warn().Str("reason", e.Reason).Int("rounds", l.rounds).Msg("every server is behind the client")
	return &Behind{Rounds: l.rounds, Reason: e.Reason}
}

func (l *clientLoop) handleDown(e *nackproto.Down) {
	// Before WELCOME a native server ends with a CLOSE of its own, or is silent.
	said := !e.Ours && (e.Code != nackproto.CloseNormal || e.Reason != "") || e.Code == nackproto.CloseSilent
	var err error = errDropped
	if e.Code != nackproto.CloseNormal || e.Reason != "" {
		err = &ServerError{e.Code, e.Reason}
		if e.Ours {
			err = fmt.Errorf("nacknet: left the server: %s", e.Reason)
		}
	}
	if l.up == nil && !said {
		err = fmt.Errorf("%w: %w", ErrNotNative, err)
	}
	if l.ending == nil {
		l.client.config.Log.Info().Err(err).Str("server", l.target.url).Msg("disconnected")
	}
	if e.Final {
		if l.ending == nil {
			l.ending = err
		}
		return
	}
	if e.After > 0 {
		l.servers.stayAway(l.target, time.Now().Add(e.After))
	}
	l.failedAt(err)
}

// failedAt chooses the next server and the time to dial it. PROTOCOL.md §6.11.
func (l *clientLoop) failedAt(err error) {
	now := time.Now()
	failed := l.target
	var away time.Time
	l.target, away = l.servers.next(now)
	if !l.wasUp {
		// The user waits in Dial: each server once, and at once.
		l.failed = append(l.failed, Attempt{failed.url, err})
		if l.first++; l.first >= l.servers.configured {
			l.ending = &DialError{l.failed}
			l.session.Close()
			return
		}
		l.dialAt = now
		return
	}
	if !l.upAt.IsZero() && now.Sub(l.upAt) >= settledAfter {
		l.backoff.reset()
	}
	l.upAt = time.Time{}
	l.dialAt = now.Add(l.backoff.next(rand.Float64()))
	if away.After(l.dialAt) {
		l.dialAt = away
	}
}

// handleDraining draws the moment to leave. PROTOCOL.md §6.10.
func (l *clientLoop) handleDraining(e *nackproto.Draining) {
	now := time.Now()
	l.servers.learn(e.Servers, l.target.secure())
	l.servers.stayAway(l.target, now.Add(e.Within))
	l.leaveAt = now.Add(time.Duration(rand.Float64() * float64(e.Within)))
	l.client.config.Log.Info().Str("server", l.target.url).Dur("within", e.Within).Msg("server drains")
}

// untilNext gives how long the loop may sleep.
func (l *clientLoop) untilNext(now time.Time) time.Duration {
	next := l.session.Timeout()
	for _, at := range []time.Time{l.dialAt, l.leaveAt} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if next.IsZero() {
		return time.Hour
	}
	// What is due and was not done waits for a write: it will come with that.
	return max(next.Sub(now), time.Millisecond)
}
