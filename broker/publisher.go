package broker

import (
	"errors"
	"fmt"

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
	// ErrTooLarge, ErrRefused, ErrFenced or ErrStopped: see ResultOf. It is nil when
	// Refusal gives nil for the place's Outcome, and only then.
	Publish(it stream.Item, done func(stream.Place, error))
}

// What a limit of the log, or the place itself, stands against.
var (
	errTooManySubjects = fmt.Errorf("%w: it has as many subjects as it may", ErrRefused)
	errTooMuchRetained = fmt.Errorf("%w: it has as many bytes of retained messages as it may", ErrRefused)
	errTooManySessions = fmt.Errorf("%w: it has as many sessions, or bytes of them, as it may", ErrRefused)
	errPassedOver      = fmt.Errorf("%w: it was refused before, and a later one of its publisher has its place", ErrRefused)
)

// Refusal gives the error with which a Publisher answers an item that ended like
// that; nil: it is as its publisher wanted.
func Refusal(o stream.Outcome) error {
	switch o {
	case stream.Placed, stream.Repeated, stream.Resumed, stream.NoSuchNumber:
		return nil
	case stream.TooManySubjects:
		return errTooManySubjects
	case stream.TooMuchRetained:
		return errTooMuchRetained
	case stream.TooManySessions:
		return errTooManySessions
	case stream.PassedOver:
		return errPassedOver
	case stream.Fenced:
		return ErrFenced
	}
	return ErrRefused
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
	// ErrFenced: the item is of a session that has ended, or that another connection
	// has: stream.Fence.
	ErrFenced = errors.New("broker: another connection has the session")
	// ErrStopped: the member has stopped. Whether the item got a place is not
	// known.
	ErrStopped = errors.New("broker: the member has stopped")
)
