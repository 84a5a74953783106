package broker

import (
	"errors"

	"github.com/nackmq/nackmq/stream"
)

// A Publisher brings items into the log.
type Publisher interface {
	// Publish takes it in and returns at once. Items that one goroutine hands in
	// one after the other get their places in that order. done is called once,
	// from another goroutine, when the item is committed and applied on this
	// member, or with an error; it must not block. When an item fails with
	// ErrNoQuorum or ErrBusy, every later one of its publisher that was handed in
	// before done was called fails, too: a door that stops handing in at the first
	// such answer keeps a publisher's order.
	//
	// The error is or wraps ErrNoQuorum, ErrBusy (try again later, both),
	// ErrTooLarge, ErrRefused or ErrStopped: see ResultOf. It is nil when the
	// place's Outcome is Placed or Repeated, and only then.
	Publish(it stream.Item, done func(stream.Place, error))
}

var (
	// ErrLapped: the reader was too slow, and the cache no longer holds what comes
	// next.
	ErrLapped = errors.New("broker: the reader fell off the cache")
	// ErrNoQuorum: this member cannot reach a majority now. The item may still get
	// its place: repeat it under the same number.
	ErrNoQuorum = errors.New("broker: no quorum, try again")
	// ErrBusy: more is waiting to be agreed on than the limit allows. The item was
	// not taken in.
	ErrBusy = errors.New("broker: too much is waiting to be committed, try again")
	// ErrTooLarge: the item is above the limit of one message.
	ErrTooLarge = errors.New("broker: message too large")
	// ErrRefused: a limit of the log stands against the item; repeating it now is
	// of no use.
	ErrRefused = errors.New("broker: refused by a limit of the log")
	// ErrStopped: the member has stopped. Whether the item got a place is not
	// known.
	ErrStopped = errors.New("broker: the member has stopped")
)
