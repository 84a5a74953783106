package broker

import (
	"errors"
	"fmt"
)

// A Result is how a publication ended: what a Publisher answers, as a value by
// which a door looks up what its protocol says, and metrics count.
type Result uint8

const (
	Placed   Result = iota // no error: it has a place, by this publication or by an earlier one of the same number
	NoQuorum               // ErrNoQuorum
	Busy                   // ErrBusy
	TooLarge               // ErrTooLarge
	Refused                // ErrRefused
	Fenced                 // ErrFenced
	Stopped                // ErrStopped
	Failed                 // an error that a Publisher should not give

	Results // how many there are: the length of a table
)

// ResultOf gives the result that a Publisher's error means.
func ResultOf(err error) Result {
	switch {
	case err == nil:
		return Placed
	case errors.Is(err, ErrNoQuorum):
		return NoQuorum
	case errors.Is(err, ErrBusy):
		return Busy
	case errors.Is(err, ErrTooLarge):
		return TooLarge
	case errors.Is(err, ErrRefused):
		return Refused
	case errors.Is(err, ErrFenced):
		return Fenced
	case errors.Is(err, ErrStopped):
		return Stopped
	}
	return Failed
}

// MayRepeat reports whether the publication may get its place when it is handed
// in again.
func (r Result) MayRepeat() bool { return r == NoQuorum || r == Busy }

// String gives the name, which is also a label of metrics.
func (r Result) String() string {
	switch r {
	case Placed:
		return "placed"
	case NoQuorum:
		return "no_quorum"
	case Busy:
		return "busy"
	case TooLarge:
		return "too_large"
	case Refused:
		return "refused"
	case Fenced:
		return "fenced"
	case Stopped:
		return "stopped"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("Result(%d)", uint8(r))
}
