package nacknet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/nacknet"
	"github.com/nackmq/nackmq/stream"
)

// A program that says something once and knows where it stands.
func ExampleClient_Publish() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := nacknet.Dial(ctx, nacknet.Config{Servers: []string{"nack://localhost:6225"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	at, err := client.Publish(ctx, stream.Publication{Subject: "/sensor/temp", Payload: []byte("21.5")})
	var refused *nacknet.RefusedError
	switch {
	case err == nil:
		fmt.Println("committed at", at)
	case errors.As(err, &refused):
		fmt.Println("not allowed here:", refused.Code)
	case errors.Is(err, nacknet.ErrOutcomeUnknown):
		fmt.Println("nobody answered in time; it may be there or not")
	default:
		log.Fatal(err)
	}
}

// A program that publishes as fast as the cluster confirms.
func ExampleClient_PublishAsync() {
	ctx := context.Background()
	client, err := nacknet.Dial(ctx, nacknet.Config{Servers: []string{"nack://localhost:6225"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for i := range 100_000 {
		p := stream.Publication{Subject: "/counter", Payload: fmt.Append(nil, i)}
		err := client.PublishAsync(ctx, p, func(at stream.Position, err error) {
			if err != nil {
				log.Print(err)
			}
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := client.Flush(ctx); err != nil {
		log.Fatal(err)
	}
}

// A program that follows subjects, and is told when something is lost.
func ExampleClient_Subscribe() {
	ctx := context.Background()
	client, err := nacknet.Dial(ctx, nacknet.Config{Servers: []string{"nack://one:6225", "nack://two:6225"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	sub, err := client.Subscribe(ctx, "/sensor/+", nackproto.Start{Kind: nackproto.StartLast})
	if err != nil {
		log.Fatal(err)
	}
	for {
		e, err := sub.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		switch e := e.(type) {
		case *nackproto.Delivery:
			fmt.Printf("%v %s %s\n", e.Kind, e.Message.Subject, e.Message.Payload)
		case *nackproto.Lost:
			fmt.Printf("lost on %s: between %v and %v\n", e.Subject, e.Before, e.Next)
		case *nackproto.Down:
			fmt.Println("no connection; what comes meanwhile will follow")
		}
	}
}

// A program that goes on after a restart where it was.
func ExampleClient_Positions() {
	const file = "positions"
	stored, err := os.ReadFile(file) // nothing there at the first start
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Fatal(err)
	}
	ctx := context.Background()
	client, err := nacknet.Dial(ctx, nacknet.Config{Servers: []string{"nack://localhost:6225"}, Positions: stored})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	sub, err := client.Subscribe(ctx, "/orders/#", nackproto.Start{})
	if err != nil {
		log.Fatal(err)
	}
	for {
		order, err := sub.NextMessage(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(order.Message.Position) // deal with it first, then keep the positions
		if stored, err = client.Positions(); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(file+".new", stored, 0o600); err != nil {
			log.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			log.Fatal(err)
		}
	}
}
