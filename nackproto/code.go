package nackproto

import (
	"fmt"
	"time"
)

// A CloseCode says why a connection ends. PROTOCOL.md §10. Below 0x40 the peer
// may come back, from 0x40 on it may not; so a code that one does not know still
// says what to do.
type CloseCode uint8

const (
	CloseNormal       CloseCode = 0x00
	CloseGoingAway    CloseCode = 0x01
	CloseBusy         CloseCode = 0x02
	CloseBehind       CloseCode = 0x03
	CloseNoQuorum     CloseCode = 0x04
	CloseSlow         CloseCode = 0x05
	CloseSilent       CloseCode = 0x06
	CloseInternal     CloseCode = 0x07
	CloseHelloTimeout CloseCode = 0x08
	CloseFlood        CloseCode = 0x09

	CloseProtocol     CloseCode = 0x40
	CloseVersion      CloseCode = 0x41
	CloseTooLarge     CloseCode = 0x42
	CloseUnauthorized CloseCode = 0x43
	CloseReplaced     CloseCode = 0x44
)

// codes is the table of PROTOCOL.md §10; a test compares the two.
var codes = map[CloseCode]struct {
	name  string
	means string
	after time.Duration // how long to stay away when CLOSE does not say
}{
	CloseNormal:       {"NORMAL", "the sender is done", 0},
	CloseGoingAway:    {"GOING_AWAY", "the server stops; go to another", 0},
	CloseBusy:         {"BUSY", "the server has as many connections as it takes", 5 * time.Second},
	CloseBehind:       {"BEHIND", "the server's log is behind the client; go to another", time.Second},
	CloseNoQuorum:     {"NO_QUORUM", "the server is cut off from the majority; go to another", time.Second},
	CloseSlow:         {"SLOW", "the connection took no bytes for too long", time.Second},
	CloseSilent:       {"SILENT", "the client heard nothing for too long", 0},
	CloseInternal:     {"INTERNAL", "the sender has a fault of its own", time.Second},
	CloseHelloTimeout: {"HELLO_TIMEOUT", "the first frame did not come in time", time.Second},
	CloseFlood:        {"FLOOD", "the client asked for more than one may", 10 * time.Second},
	CloseProtocol:     {"PROTOCOL", "the peer sent what the protocol forbids", 0},
	CloseVersion:      {"VERSION", "the two have no version in common", 0},
	CloseTooLarge:     {"TOO_LARGE", "a frame is over the limit", 0},
	CloseUnauthorized: {"UNAUTHORIZED", "the token is missing, refused or expired", 0},
	CloseReplaced:     {"REPLACED", "another connection came with the same publisher", 0},
}

// MayComeBack reports whether a client may connect again by itself.
func (c CloseCode) MayComeBack() bool { return c < 0x40 }

// After gives how long a client stays away when CLOSE does not say.
func (c CloseCode) After() time.Duration { return codes[c].after }

// Meaning gives the sentence of the table; empty for a code that it has not.
func (c CloseCode) Meaning() string { return codes[c].means }

// String gives the name.
func (c CloseCode) String() string {
	if e, ok := codes[c]; ok {
		return e.name
	}
	return fmt.Sprintf("close code %#02x", uint8(c))
}

// A PublishCode says how a publish ended. PROTOCOL.md §6.9. From 1 to 0x3f it is
// to be repeated with the same number; from 0x40 on it is refused for good.
type PublishCode uint8

const (
	Placed     PublishCode = 0x00
	NoQuorum   PublishCode = 0x01
	Busy       PublishCode = 0x02
	Unknown    PublishCode = 0x03
	Denied     PublishCode = 0x40
	TooLarge   PublishCode = 0x41
	Quota      PublishCode = 0x42
	BadSubject PublishCode = 0x43
	BadProps   PublishCode = 0x44
)

// MayRepeat reports whether the publish is to be sent again with its number.
func (c PublishCode) MayRepeat() bool { return c != Placed && c < 0x40 }

// String gives the name.
func (c PublishCode) String() string {
	switch c {
	case Placed:
		return "PLACED"
	case NoQuorum:
		return "NO_QUORUM"
	case Busy:
		return "BUSY"
	case Unknown:
		return "UNKNOWN"
	case Denied:
		return "DENIED"
	case TooLarge:
		return "TOO_LARGE"
	case Quota:
		return "QUOTA"
	case BadSubject:
		return "BAD_SUBJECT"
	case BadProps:
		return "BAD_PROPS"
	}
	return fmt.Sprintf("publish code %#02x", uint8(c))
}

// A SubscribeCode answers a SUBSCRIBE. PROTOCOL.md §6.2. From 1 to 0x3f it may be
// asked again later; from 0x40 on it is refused for good.
type SubscribeCode uint8

const (
	SubscribeOK        SubscribeCode = 0x00
	SubscribeBusy      SubscribeCode = 0x01
	SubscribeDenied    SubscribeCode = 0x40
	SubscribeBadFilter SubscribeCode = 0x41
	SubscribeTooMany   SubscribeCode = 0x42
)

// MayRepeat reports whether the same SUBSCRIBE may be sent again later.
func (c SubscribeCode) MayRepeat() bool { return c != SubscribeOK && c < 0x40 }

// String gives the name.
func (c SubscribeCode) String() string {
	switch c {
	case SubscribeOK:
		return "OK"
	case SubscribeBusy:
		return "BUSY"
	case SubscribeDenied:
		return "DENIED"
	case SubscribeBadFilter:
		return "BAD_FILTER"
	case SubscribeTooMany:
		return "TOO_MANY"
	}
	return fmt.Sprintf("subscribe code %#02x", uint8(c))
}

// A ResetReason says why a subject's stream has a hole. PROTOCOL.md §6.6.
type ResetReason uint8

const (
	Trimmed ResetReason = 1 // the cache no longer holds what comes after the position
	Other   ResetReason = 2 // the position is of another history
	Slow    ResetReason = 3 // the session was so slow that the cache went past it
	// Unrepaired is the client's own: a gap stayed open after so many NACKs. It
	// does not travel.
	Unrepaired ResetReason = 0xff
)

// String gives the name.
func (r ResetReason) String() string {
	switch r {
	case Trimmed:
		return "TRIMMED"
	case Other:
		return "OTHER"
	case Slow:
		return "SLOW"
	case Unrepaired:
		return "UNREPAIRED"
	}
	return fmt.Sprintf("reset reason %#02x", uint8(r))
}
