package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/nackmq/nackmq/stream"
)

// An mqttWatch is a subscription that outlives its connections.
type mqttWatch struct {
	server    server
	to        sink
	subscribe *paho.Subscribe
	wasUp     bool
	waiting   waiting
}

// watchMQTT subscribes with QoS 1 and gives what comes until ctx ends or the
// sink does not want more. It connects again when the connection breaks.
func watchMQTT(ctx context.Context, s server, patient waiting, filters []stream.Filter, from start, to sink) error {
	w := &mqttWatch{server: s, to: to, waiting: patient, subscribe: &paho.Subscribe{}}
	for _, f := range filters {
		o := paho.SubscribeOptions{Topic: string(f[1:]), QoS: 1}
		if from.kind == startLive {
			o.RetainHandling = 2 // no retained messages
		}
		w.subscribe.Subscriptions = append(w.subscribe.Subscriptions, o)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	const shortest = 100 * time.Millisecond
	end := time.Now().Add(patient.timeout)
	for wait := shortest; ; wait = min(2*wait, 5*time.Second) {
		up, err := w.connection(ctx, stop)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if left := time.Until(end); !w.wasUp {
			var away *absent
			switch {
			case !patient.asked || !errors.As(err, &away):
				return err // the mistake is more likely in what we were told to do
			case left <= 0:
				return fmt.Errorf("%w (tried for %v)", err, patient.timeout)
			}
			wait = min(wait, longestPause, left)
		}
		if up {
			wait = shortest
			if err := to.incident(incident{Event: "down", Reason: err.Error()}); err != nil {
				return err
			}
		}
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// connection is one connection's life. It tells whether the subscription stood,
// and why it ended.
func (w *mqttWatch) connection(ctx context.Context, stop context.CancelCauseFunc) (up bool, _ error) {
	received := func(p *paho.Publish) {
		if ctx.Err() != nil {
			return
		}
		d := delivery{subject: stream.Subject("/" + p.Topic), payload: p.Payload, kind: "live", retained: p.Retain}
		if p.Retain {
			d.kind = "snapshot"
		}
		if err := w.to.delivery(d); err != nil {
			stop(err)
		}
	}
	down := make(chan error, 1)
	c, err := connectMQTT(ctx, w.server, w.waiting.timeout, received, func(err error) {
		select {
		case down <- err:
		default:
		}
	})
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Disconnect(&paho.Disconnect{}) }() // it is over either way
	if ack, err := c.Subscribe(ctx, w.subscribe); err != nil {
		return false, w.refused(ack, err)
	}
	w.wasUp = true
	for i := range w.subscribe.Subscriptions {
		w.subscribe.Subscriptions[i].RetainHandling = 2 // they come once, not after each break
	}
	if err := w.to.incident(incident{Event: "up", Server: w.server.addrs[0]}); err != nil {
		stop(err)
	}
	select {
	case <-ctx.Done():
		return true, context.Cause(ctx)
	case <-c.Done():
	}
	select {
	case err := <-down:
		return true, err
	case <-time.After(time.Second): // another goroutine tells the reason, if there is one
		return true, errors.New("closed by the server")
	}
}

func (w *mqttWatch) refused(ack *paho.Suback, err error) error {
	if ack != nil {
		for i, code := range ack.Reasons {
			if code >= 0x80 {
				return fmt.Errorf("%s refused the filter /%s with MQTT reason code 0x%02x", w.server, w.subscribe.Subscriptions[i].Topic, code)
			}
		}
	}
	return fmt.Errorf("%s did not answer the subscription: %w", w.server, err)
}
