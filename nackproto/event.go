package nackproto

import (
	"fmt"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// An Event is what a ClientSession has to tell: one of the structs below, by
// pointer. Subs names the subscriptions it concerns; it is shared and must not
// be written to.
type Event interface{ String() string }

// A Kind says how a message came to be delivered.
type Kind uint8

const (
	Live      Kind = iota // when it was published, or late, but in the stream
	Recovered             // it was there before the subscription, or was read again
	Snapshot              // it stands for the subject's state
)

func (k Kind) String() string {
	switch k {
	case Live:
		return "live"
	case Recovered:
		return "recovered"
	case Snapshot:
		return "snapshot"
	}
	return "unknown"
}

// Up says that a server took the client.
type Up struct {
	Node      string
	Cluster   stream.ClusterID
	Heartbeat time.Duration
	Servers   []string
	// Server is where the connection goes to: the driver's, which knows it.
	Server string
}

func (e *Up) String() string { return fmt.Sprintf("up node=%q cluster=%v", e.Node, e.Cluster) }

// Down says that the connection is over. Code is the server's, or CloseNormal if
// it said nothing. Ours is set if this end closed.
type Down struct {
	Code   CloseCode
	Reason string
	// After is how long to stay away from the server, besides the backoff.
	After time.Duration
	Ours  bool
	// Final means that the session is over: no server may be tried by itself.
	Final bool
	// Err is how the transport ended, if that is why: the driver's.
	Err error
}

func (e *Down) String() string {
	s := fmt.Sprintf("down %v after=%v", e.Code, e.After)
	if e.Ours {
		s += " ours"
	}
	if e.Final {
		s += " final"
	}
	if e.Reason != "" {
		s += fmt.Sprintf(" %q", e.Reason)
	}
	return s
}

// Activated says that a subscription is answered for the first time.
type Activated struct {
	Sub   uint64
	Index stream.Index
}

func (e *Activated) String() string { return fmt.Sprintf("activated sub=%d index=%d", e.Sub, e.Index) }

// Ended says that a subscription is refused or taken away; it is gone.
type Ended struct {
	Sub  uint64
	Code SubscribeCode
	// Local is set if this end could not hold the filter's subjects.
	Local bool
}

func (e *Ended) String() string {
	s := fmt.Sprintf("ended sub=%d %v", e.Sub, e.Code)
	if e.Local {
		s += " local"
	}
	return s
}

// A Delivery is a message. Index and Time are zero if the server did not say
// them: a MESSAGE has no room for them.
type Delivery struct {
	Message stream.Message
	Kind    Kind
	Subs    []uint64
}

func (e *Delivery) String() string {
	m := &e.Message
	s := fmt.Sprintf("%v %s %v", e.Kind, m.Subject, m.Position)
	if m.Flags&stream.Retain != 0 {
		s += " retain"
	}
	return s + bodyText(m.Expiry, m.Props, m.Payload)
}

// Continued says that a resume ended well: nothing is missing up to Position.
type Continued struct {
	Subject  stream.Subject
	Position stream.Position
	Subs     []uint64
}

func (e *Continued) String() string { return fmt.Sprintf("continuous %s %v", e.Subject, e.Position) }

// Lost says, once, that messages of a subject are lost: what lies between Before
// and Next. If the epochs differ it also is an unknown end of the history of
// Before.
type Lost struct {
	Subject stream.Subject
	Reason  ResetReason
	Before  stream.Position // zero: there was none
	Next    stream.Position // of the next message; zero: the subject has no history
	// First and Last are the oldest and the newest seq that the server still has,
	// as it said them; zero if it did not.
	First, Last stream.Seq
	Subs        []uint64
}

func (e *Lost) String() string {
	return fmt.Sprintf("lost %s %v before=%v next=%v first=%d last=%d", e.Subject, e.Reason, e.Before, e.Next, e.First, e.Last)
}

// An Answer says how a publish ended: placed, or refused for good.
type Answer struct {
	Tag      any // as given to Publish
	Number   uint64
	Code     PublishCode
	Position stream.Position // zero unless placed; also zero if the place is no longer known
}

func (e *Answer) String() string {
	s := fmt.Sprintf("answer number=%d %v", e.Number, e.Code)
	if e.Tag != nil {
		s += fmt.Sprintf(" tag=%v", e.Tag)
	}
	if !e.Position.IsZero() {
		s += fmt.Sprintf(" %v", e.Position)
	}
	return s
}

// Draining says that the server asks the client to go elsewhere.
type Draining struct {
	Within  time.Duration
	Servers []string
}

func (e *Draining) String() string {
	return fmt.Sprintf("draining within=%v servers=%q", e.Within, e.Servers)
}

// Staleness says that the server was cut off from the majority, or is no more.
type Staleness struct{ Stale bool }

func (e *Staleness) String() string { return fmt.Sprintf("stale=%v", e.Stale) }
