package node

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/nacknet"
	"github.com/nackmq/nackmq/stream"
)

// TestPropertiesOutliveARestart has an MQTT 5 client publish all that a
// publication can say of itself, stops the node, and reads it again from the log
// in both languages: as MQTT's retained message and as the native snapshot.
func TestPropertiesOutliveARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dir := t.TempDir()
	n := start(t, testConfig(dir))
	format, expiry := byte(1), uint32(600)
	sent := &paho.PublishProperties{
		PayloadFormat: &format, MessageExpiry: &expiry,
		ContentType: "text/plain", ResponseTopic: "answer/here", CorrelationData: []byte{0, 1, 0xff},
		User: paho.UserProperties{{Key: "k", Value: "1"}, {Key: "a", Value: ""}, {Key: "k", Value: "2"}},
	}
	c := pahoClient(ctx, t, n, nil)
	if _, err := c.Publish(ctx, &paho.Publish{Topic: "dev/1/state", QoS: 2, Retain: true, Payload: []byte("on"), Properties: sent}); err != nil {
		t.Fatal(err)
	}
	c.Disconnect(&paho.Disconnect{})
	stop(t, n)

	n = start(t, testConfig(dir))
	got := make(chan *paho.Publish, 1)
	c = pahoClient(ctx, t, n, got)
	defer c.Disconnect(&paho.Disconnect{})
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "dev/+/state", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-got:
		if !p.Retain || p.QoS != 2 || string(p.Payload) != "on" || p.Topic != "dev/1/state" {
			t.Errorf("MQTT got %v", p)
		}
		if left := p.Properties.MessageExpiry; left == nil || *left > expiry || *left < expiry-60 {
			t.Errorf("message expiry is %v, want a little below %d", left, expiry)
		}
		p.Properties.MessageExpiry = sent.MessageExpiry
		if d := cmp.Diff(sent, p.Properties); d != "" {
			t.Errorf("properties by MQTT: %s", d)
		}
	case <-ctx.Done():
		t.Fatal("no retained message after the restart")
	}

	native, err := nacknet.Dial(ctx, nacknet.Config{Servers: []string{"nack://" + n.Addresses().Native}})
	if err != nil {
		t.Fatal(err)
	}
	defer native.Close()
	sub, err := native.Subscribe(ctx, "/dev/#", nackproto.Start{Kind: nackproto.StartLast})
	if err != nil {
		t.Fatal(err)
	}
	d, err := sub.NextMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	props, err := stream.ParseProps(d.Message.Props)
	want := stream.Props{
		PayloadFormat: stream.FormatText, ContentType: "text/plain", ResponseSubject: "/answer/here", CorrelationData: []byte{0, 1, 0xff},
		User: []stream.UserProperty{{Key: "k", Value: "1"}, {Key: "a"}, {Key: "k", Value: "2"}},
	}
	if diff := cmp.Diff(want, props); err != nil || diff != "" {
		t.Errorf("properties by the native protocol: %v %s", err, diff)
	}
	if d.Message.Expiry != expiry || d.Message.Flags&stream.Retain == 0 || d.Message.Position.Seq != 1 {
		t.Errorf("native message %v", d)
	}
}

// pahoClient connects an MQTT 5 client that hands what it receives to got.
func pahoClient(ctx context.Context, t *testing.T, n *Node, got chan<- *paho.Publish) *paho.Client {
	t.Helper()
	conn, err := net.Dial("tcp", n.Addresses().MQTT)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{
		Conn: conn,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			got <- r.Packet
			return true, nil
		}},
	})
	if _, err := c.Connect(ctx, &paho.Connect{KeepAlive: 30, ClientID: "props", CleanStart: true}); err != nil {
		t.Fatal(err)
	}
	return c
}
