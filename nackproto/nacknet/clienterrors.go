package nacknet

import (
	"errors"
	"fmt"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

var (
	// ErrClosed says that the client is closed, by its user or by a server that
	// does not want it back; in that case a *ServerError says why.
	ErrClosed = errors.New("nacknet: the client is closed")
	// ErrSubscriptionClosed says that the subscription was closed by its user.
	ErrSubscriptionClosed = errors.New("nacknet: the subscription is closed")
	// ErrNotNative says that what answered did not greet as a native server does:
	// another protocol's server, most likely.
	ErrNotNative = errors.New("nacknet: no native protocol is spoken there")
	// ErrOutcomeUnknown says that a publish was sent and nobody waits for its
	// answer any more: it may have a place or not.
	ErrOutcomeUnknown = errors.New("nacknet: the outcome of the publish is unknown")
)

// A ServerError is why a server ended a connection.
type ServerError struct {
	Code   nackproto.CloseCode
	Reason string
}

func (e *ServerError) Error() string {
	s := fmt.Sprintf("nacknet: the server closed the connection: %v", e.Code)
	if m := e.Code.Meaning(); m != "" {
		s += ": " + m
	}
	if e.Reason != "" {
		s += fmt.Sprintf(" (%s)", e.Reason)
	}
	return s
}

// A DialError is why Dial failed: what became of the attempt at each server.
type DialError struct{ Attempts []Attempt }

// An Attempt is a server's URL and why it did not take the client: a
// *ServerError, ErrNotNative, or what the network said.
type Attempt struct {
	Server string
	Err    error
}

func (e *DialError) Error() string {
	text := "nacknet: no server took the client"
	for i, a := range e.Attempts {
		text += fmt.Sprintf("%c %s: %v", ":;"[min(i, 1)], a.Server, a.Err)
	}
	return text
}

// Unwrap gives the errors of all attempts.
func (e *DialError) Unwrap() (all []error) {
	for _, a := range e.Attempts {
		all = append(all, a.Err)
	}
	return all
}

// Behind says that every server that the client knows has sent it away because
// they are behind a position that it asks from: the whole cluster lost it, or it
// never was. The client goes on trying, slowly. PROTOCOL.md §6.6.
type Behind struct {
	Rounds int    // how often each was asked, without another answer in between
	Reason string // what the last one said
}

func (e *Behind) String() string { return fmt.Sprintf("behind rounds=%d %q", e.Rounds, e.Reason) }

// A RefusedError is why a publish was refused for good.
type RefusedError struct {
	Subject stream.Subject
	Code    nackproto.PublishCode
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("nacknet: publish to %s refused: %v", e.Subject, e.Code)
}

// A SubscribeError is why a subscription was refused, or taken away.
type SubscribeError struct {
	Filter stream.Filter
	Code   nackproto.SubscribeCode
	// Local says that the filter has more subjects than Config.MaxSubjects.
	Local bool
}

func (e *SubscribeError) Error() string {
	if e.Local {
		return fmt.Sprintf("nacknet: subscription %s ended: it has more subjects than MaxSubjects allows", e.Filter)
	}
	return fmt.Sprintf("nacknet: subscription %s refused: %v", e.Filter, e.Code)
}
