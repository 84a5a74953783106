package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/nackmq/nackmq/stream"
)

// keepAlive is how often, in seconds, an idle MQTT connection shows life.
const keepAlive = 30

// connectMQTT opens an MQTT 5 connection under a client id of its own. down
// hears why it ended, if the server or the network ended it.
func connectMQTT(ctx context.Context, s server, timeout time.Duration, received func(*paho.Publish), down func(error)) (*paho.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", s.addrs[0])
	if err != nil {
		return nil, unreachable(s.String(), err)
	}
	id := "nackmq-" + strings.ToLower(rand.Text()[:12])
	c := paho.NewClient(paho.ClientConfig{
		ClientID:      id,
		Conn:          conn,
		PacketTimeout: timeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			received(p.Packet)
			return true, nil
		}},
		OnClientError: func(err error) { down(rootCause(err)) },
		OnServerDisconnect: func(d *paho.Disconnect) {
			reason := fmt.Sprintf("the server closed it with MQTT reason code 0x%02x", d.ReasonCode)
			if d.Properties != nil && d.Properties.ReasonString != "" {
				reason += " (" + d.Properties.ReasonString + ")"
			}
			down(errors.New(reason))
		},
	})
	ack, err := c.Connect(ctx, &paho.Connect{ClientID: id, KeepAlive: keepAlive, CleanStart: true})
	switch {
	case err == nil:
		return c, nil
	case ack != nil && ack.ReasonCode >= 0x80:
		return nil, fmt.Errorf("%s refused the connection with MQTT reason code 0x%02x", s, ack.ReasonCode)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%s accepted the connection and did not answer within %v: is MQTT 5 spoken there?", s, timeout)
	}
	return nil, fmt.Errorf("%s broke off the handshake (%w): is MQTT 5 spoken there?", s, rootCause(err))
}

// mqttPublisher publishes with QoS 1, one message after the other.
type mqttPublisher struct {
	client *paho.Client
	down   chan error
}

func dialMQTTPublisher(ctx context.Context, s server, w waiting) (publisher, error) {
	p := &mqttPublisher{down: make(chan error, 1)}
	client, err := reach(ctx, w, func(timeout time.Duration) (*paho.Client, error) {
		return connectMQTT(ctx, s, timeout, func(*paho.Publish) {}, func(err error) {
			select {
			case p.down <- err:
			default:
			}
		})
	})
	if err != nil {
		return nil, err
	}
	p.client = client
	return p, nil
}

func (p *mqttPublisher) publish(ctx context.Context, pub stream.Publication, done func(stream.Position, error)) error {
	err := publishMQTT(ctx, p.client, &paho.Publish{
		QoS:     1,
		Retain:  pub.Flags&stream.Retain != 0,
		Topic:   string(pub.Subject[1:]),
		Payload: pub.Payload,
	})
	if errors.Is(err, errConnectionLost) {
		select {
		case why := <-p.down:
			err = fmt.Errorf("%w (%w): it may have a place or not", err, why)
		case <-time.After(time.Second): // another goroutine tells the reason, if there is one
		}
	}
	done(stream.Position{}, err)
	return nil
}

var errConnectionLost = errors.New("connection lost")

// publishMQTT publishes and waits for the acknowledgement. The library does not
// always give up when the connection is lost: then it is told to.
func publishMQTT(ctx context.Context, c *paho.Client, p *paho.Publish) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.Done():
			cancel(errConnectionLost)
		case <-ctx.Done():
		}
	}()
	_, err := c.Publish(ctx, p)
	if err != nil && errors.Is(context.Cause(ctx), errConnectionLost) {
		return errConnectionLost
	}
	return err
}

func (p *mqttPublisher) close() {
	_ = p.client.Disconnect(&paho.Disconnect{}) // it is over either way
}
