package stream

import (
	"errors"
	"fmt"
)

// Reading a subject after a position fails in three ways, and no other (S7).
var (
	// ErrTrimmed: the cache no longer holds what came next. The reader is told
	// what it lost.
	ErrTrimmed = errors.New("older than the cache")
	// ErrOther: the position is of another history of the subject. The reader is
	// told that it begins anew.
	ErrOther = errors.New("another epoch")
	// ErrAhead: the position is newer than this member. Nothing is lost: the
	// reader waits or asks another member.
	ErrAhead = errors.New("ahead of this member")
)

// A LostError says why a subject cannot be read after a position and what there
// is instead. Err is ErrTrimmed, ErrOther or ErrAhead.
type LostError struct {
	Subject Subject
	After   Position
	First   Position // the oldest message held; one beyond Last if none is
	Last    Position // the newest message
	Err     error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("stream: %s after %s: %v (has %d to %d of %s)",
		clip(string(e.Subject)), e.After, e.Err, e.First.Seq, e.Last.Seq, e.Last.Epoch)
}

func (e *LostError) Unwrap() error { return e.Err }
