package brokertest

import (
	"context"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// PublishWait publishes it and waits for its place.
func PublishWait(ctx context.Context, p broker.Publisher, it stream.Item) (stream.Place, error) {
	type answer struct {
		place stream.Place
		err   error
	}
	ch := make(chan answer, 1)
	p.Publish(it, func(at stream.Place, err error) { ch <- answer{at, err} })
	select {
	case a := <-ch:
		return a.place, a.err
	case <-ctx.Done():
		return stream.Place{}, ctx.Err()
	}
}
