package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// An Epoch is one unbroken history of a subject. It is opaque: equal or not,
// without an order. Zero is no epoch.
type Epoch uint64

// String gives 16 hexadecimal digits.
func (e Epoch) String() string { return fmt.Sprintf("%016x", uint64(e)) }

// A Seq counts the messages of a subject within an epoch, from 1.
type Seq uint64

// An Index is a message's place in the log over all subjects, from 1. As a
// cursor it says "read up to and including".
type Index uint64

// A Position is a place within a subject. The zero Position is before
// everything.
type Position struct {
	Epoch Epoch
	Seq   Seq
}

// ErrPosition is what ParsePosition wraps.
var ErrPosition = errors.New("invalid position")

// IsZero reports whether p names no place.
func (p Position) IsZero() bool { return p == Position{} }

// String gives EPOCH:SEQ, which ParsePosition reads.
func (p Position) String() string {
	return p.Epoch.String() + ":" + strconv.FormatUint(uint64(p.Seq), 10)
}

// ParsePosition reads EPOCH:SEQ: hexadecimal digits, a colon, a decimal number.
// The error wraps ErrPosition.
func ParsePosition(s string) (Position, error) {
	es, ss, ok := strings.Cut(s, ":")
	e, err := ParseEpoch(es)
	n, err2 := strconv.ParseUint(ss, 10, 64)
	if !ok || err != nil || err2 != nil {
		return Position{}, fmt.Errorf("%w %q: want EPOCH:SEQ such as 00c0ffee00c0ffee:42", ErrPosition, clip(s))
	}
	return Position{e, Seq(n)}, nil
}

// ParseEpoch reads what Epoch.String gives; zero is refused. The error wraps
// ErrPosition.
func ParseEpoch(s string) (Epoch, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: epoch %q is not 1 to 16 hexadecimal digits", ErrPosition, clip(s))
	}
	return Epoch(n), nil
}
