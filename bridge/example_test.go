package bridge

import (
	"context"
	"fmt"
	"log"
	"net"
	"testing"

	"github.com/eclipse/paho.golang/paho"
)

// A client that was away for a while, without a session, goes on after the last
// message that it dealt with.
func Example_resume() {
	var tb stage
	defer tb.close()
	h := newHouse(&tb)
	ctx := context.Background()

	// listen connects, subscribes after a place if there is one, and gives the
	// messages that come.
	listen := func(after string) (*paho.Client, <-chan *paho.Publish) {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			log.Fatal(err)
		}
		messages := make(chan *paho.Publish, 100)
		client := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) { messages <- r.Packet; return true, nil },
		}})
		if _, err := client.Connect(ctx, &paho.Connect{ClientID: "meter", CleanStart: true, KeepAlive: 30}); err != nil {
			log.Fatal(err)
		}
		ask := paho.UserProperties{{Key: "nackmq-position", Value: "yes"}}
		if after != "" {
			ask.Add("nackmq-after", after)
		}
		ack, err := client.Subscribe(ctx, &paho.Subscribe{
			Subscriptions: []paho.SubscribeOptions{{Topic: "sensor/temp", QoS: 1}},
			Properties:    &paho.SubscribeProperties{User: ask},
		})
		if err != nil {
			log.Fatal(err)
		}
		if lost := ack.Properties.User.Get("nackmq-lost"); lost != "" {
			fmt.Println("lost:", lost)
		}
		return client, messages
	}

	client, messages := listen("")
	h.publish("sensor/temp", "20.1", q1)
	m := <-messages
	fmt.Printf("%s\n", m.Payload)
	seen := m.Properties.User.Get("nackmq-position") // to be stored
	_ = client.Disconnect(&paho.Disconnect{})

	h.publish("sensor/temp", "20.2", q1)
	h.publish("sensor/temp", "20.3", q1)

	client, messages = listen(seen)
	fmt.Printf("%s\n", (<-messages).Payload)
	fmt.Printf("%s\n", (<-messages).Payload)
	_ = client.Disconnect(&paho.Disconnect{})

	// Output:
	// 20.1
	// 20.2
	// 20.3
}

// A stage is a testing.TB for examples, which have none.
type stage struct {
	testing.TB
	undo []func()
}

func (s *stage) Helper()          {}
func (s *stage) Cleanup(f func()) { s.undo = append(s.undo, f) }
func (s *stage) Fatal(v ...any)   { panic(fmt.Sprint(v...)) }
func (s *stage) Error(v ...any)   { panic(fmt.Sprint(v...)) }

func (s *stage) close() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
}
