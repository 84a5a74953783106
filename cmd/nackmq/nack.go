package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/nacknet"
	"github.com/nackmq/nackmq/stream"
)

// dialNack connects a native client. Unless it was asked to wait it fails if no
// server takes it at once: the mistake is more likely in what we were told to do.
func dialNack(ctx context.Context, s server, name string, w waiting) (*nacknet.Client, error) {
	return reach(ctx, w, func(timeout time.Duration) (*nacknet.Client, error) { return dialNackOnce(ctx, s, name, timeout) })
}

func dialNackOnce(ctx context.Context, s server, name string, timeout time.Duration) (*nacknet.Client, error) {
	config := nacknet.Config{Name: name, DialTimeout: timeout, FirstBackoff: 100 * time.Millisecond, MaxBackoff: 5 * time.Second}
	for _, addr := range s.addrs {
		config.Servers = append(config.Servers, "nack://"+addr)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout*time.Duration(len(s.addrs)))
	defer cancel()
	c, err := nacknet.Dial(ctx, config)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, late(s.String(), timeout)
	}
	var failed *nacknet.DialError
	if !errors.As(err, &failed) {
		return nil, notTaken(s.String(), err, timeout)
	}
	var all []error
	for _, a := range failed.Attempts {
		all = append(all, notTaken(a.Server, a.Err, timeout))
	}
	return nil, errors.Join(all...)
}

// notTaken is the sentence for a server that did not take the client.
func notTaken(url string, err error, timeout time.Duration) error {
	var said *nacknet.ServerError
	var network net.Error
	switch {
	case errors.Is(err, nacknet.ErrNotNative):
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "nack://"))
		hint := "nack://'s usual port is 6225"
		switch port {
		case "1883":
			hint = "1883 is MQTT's usual port: try mqtt://" + strings.TrimPrefix(url, "nack://") + ", or port 6225"
		case "8225":
			hint = "8225 is a node's usual port for HTTP: try port 6225"
		case "6225":
			hint = "another program has the port"
		}
		return fmt.Errorf("%s does not speak the native protocol (%s)%w", url, hint, silent{err})
	case errors.As(err, &said):
		text := said.Code.String()
		if m := said.Code.Meaning(); m != "" {
			text = m
		}
		if said.Reason != "" {
			text += " (" + said.Reason + ")"
		}
		err = fmt.Errorf("%s does not take the client: %s%w", url, text, silent{err})
		if said.Code.MayComeBack() {
			return &absent{err}
		}
		return err
	case errors.As(err, &network) && network.Timeout() && !isResolution(err):
		return late(url, timeout)
	}
	return unreachable(url, err)
}

// late is the sentence for a server that says nothing.
func late(url string, timeout time.Duration) error {
	return &absent{fmt.Errorf("%s did not answer within %v: is a node running there?", url, timeout.Round(time.Millisecond))}
}

// silent wraps an error for those who ask what it is; the sentence says it already.
type silent struct{ err error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.err }

// plain is an error of the client library in a person's words.
func plain(err error) error {
	var refused *nacknet.RefusedError
	if errors.As(err, &refused) {
		return fmt.Errorf("the server refuses it: %v%w", refused.Code, silent{err})
	}
	text := err.Error()
	for _, room := range []string{"nacknet: ", "nackproto: ", "stream: "} {
		text = strings.ReplaceAll(text, room, "")
	}
	return fmt.Errorf("%s%w", text, silent{err})
}

// nackPublisher publishes natively. Its client connects again when the
// connection breaks and repeats what was not confirmed.
type nackPublisher struct{ client *nacknet.Client }

func dialNackPublisher(ctx context.Context, s server, w waiting) (publisher, error) {
	c, err := dialNack(ctx, s, "nackmq pub", w)
	if err != nil {
		return nil, err
	}
	return nackPublisher{c}, nil
}

func (p nackPublisher) publish(ctx context.Context, pub stream.Publication, done func(stream.Position, error)) error {
	if err := p.client.PublishAsync(ctx, pub, done); err != nil {
		return plain(err)
	}
	return nil
}

func (p nackPublisher) close() { p.client.Close() }

// watchNack subscribes natively and gives what comes until ctx ends or the sink
// does not want more. The client connects again when the connection breaks.
func watchNack(ctx context.Context, s server, patient waiting, filters []stream.Filter, from start, to sink) error {
	c, err := dialNack(ctx, s, "nackmq sub", patient)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var subs []*nacknet.Subscription
	for _, f := range filters {
		sub, err := c.Follow(f, wireStart(f, from))
		if err != nil {
			return err
		}
		subs = append(subs, sub)
	}
	w := &nackWatch{to: to, from: from, waiting: len(subs)}
	var reading sync.WaitGroup
	for i, sub := range subs {
		reading.Go(func() {
			for {
				e, err := sub.Next(ctx)
				if err == nil {
					err = w.hand(e, filters[:i])
				}
				if err != nil {
					stop(plain(err))
					return
				}
			}
		})
	}
	reading.Wait()
	return context.Cause(ctx)
}

// A nackWatch brings the events of several subscriptions of one client together.
type nackWatch struct {
	to   sink
	from start

	mu      sync.Mutex
	waiting int           // subscriptions to which no server has agreed
	up      *nackproto.Up // of a connection that was not told
}

// wireStart says from in the protocol's words.
func wireStart(f stream.Filter, from start) nackproto.Start {
	switch from.kind {
	case startLast:
		return nackproto.Start{Kind: nackproto.StartLast}
	case startHistory:
		return nackproto.Start{Kind: nackproto.StartHistory, Count: uint64(from.history)}
	case startAfter:
		return nackproto.Start{Marks: []nackproto.Mark{{Subject: stream.Subject(f), Position: from.after}}}
	}
	return nackproto.Start{}
}

// hand gives an event of one subscription to the sink. What an earlier filter
// names, too, is given by that one's subscription; what concerns the connection
// is given by the first.
func (w *nackWatch) hand(e nackproto.Event, earlier []stream.Filter) error {
	also := func(s stream.Subject) bool {
		for _, f := range earlier {
			if f.Match(s) {
				return true
			}
		}
		return false
	}
	to := w.to
	switch e := e.(type) {
	case *nackproto.Delivery:
		m := &e.Message
		if also(m.Subject) {
			return nil
		}
		return to.delivery(delivery{
			subject: m.Subject, pos: m.Position, payload: m.Payload, kind: e.Kind.String(),
			retained: e.Kind == nackproto.Snapshot && m.Flags&stream.Retain != 0,
		})
	case *nackproto.Continued:
		if also(e.Subject) {
			return nil
		}
		return to.incident(incident{Event: "continuous", Subject: string(e.Subject), Epoch: e.Position.Epoch.String(), Seq: uint64(e.Position.Seq)})
	case *nackproto.Lost:
		if also(e.Subject) {
			return nil
		}
		return to.incident(lost(e))
	case *nackproto.Activated:
		return w.activated()
	case *nackproto.Up:
		if len(earlier) == 0 {
			return w.connected(e)
		}
	case *nackproto.Down:
		if len(earlier) == 0 {
			return w.disconnected(e)
		}
	case *nacknet.Behind:
		// One round may find a cluster that is catching up; two find none that will.
		if w.from.kind == startAfter && w.isWaiting() && e.Rounds >= 2 {
			return errors.New(w.behind(e.Reason))
		}
	}
	return nil
}

// connected tells of a connection; of the first one when every subscription is
// active, so that who has seen it misses nothing from there on.
func (w *nackWatch) connected(e *nackproto.Up) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = e
	return w.tellUp(w.waiting == 0)
}

func (w *nackWatch) activated() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting--
	return w.tellUp(w.waiting == 0)
}

func (w *nackWatch) disconnected(e *nackproto.Down) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.tellUp(true); err != nil {
		return err
	}
	why := whyDown(e)
	if e.Code == nackproto.CloseBehind && w.waiting > 0 {
		why = w.behind(why)
	}
	return w.to.incident(incident{Event: "down", Reason: why})
}

// tellUp tells of a connection that was not told, if it is time. w.mu is held.
func (w *nackWatch) tellUp(now bool) error {
	if w.up == nil || !now {
		return nil
	}
	up := w.up
	w.up = nil
	return w.to.incident(incident{Event: "up", Server: strings.TrimPrefix(up.Server, "nack://"), Node: up.Node})
}

func (w *nackWatch) isWaiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting > 0
}

// behind is the sentence for a server that has less than --from says; reason is
// the server's.
func (w *nackWatch) behind(reason string) string {
	if w.from.kind != startAfter {
		return reason
	}
	return fmt.Sprintf("%s, and --from asks for what comes after %d", reason, w.from.after.Seq)
}

// whyDown says why a connection ended.
func whyDown(e *nackproto.Down) string {
	switch {
	case e.Reason != "":
		return e.Reason
	case e.Code != nackproto.CloseNormal:
		return e.Code.Meaning()
	}
	if e.Err != nil && !errors.Is(e.Err, io.EOF) {
		return fmt.Sprintf("the connection broke (%v)", rootCause(e.Err))
	}
	return "the server or the network ended the connection without a reason"
}

// lost says in one line which messages can no longer be had.
func lost(e *nackproto.Lost) incident {
	i := incident{
		Event: "reset", Subject: string(e.Subject), Reason: strings.ToLower(e.Reason.String()),
		First: uint64(e.First), Last: uint64(e.Last),
	}
	if !e.Before.IsZero() {
		i.Before = e.Before.String()
	}
	if !e.Next.IsZero() {
		i.Epoch, i.Next = e.Next.Epoch.String(), uint64(e.Next.Seq)
	}
	return i
}
