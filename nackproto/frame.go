package nackproto

import "fmt"

// A Type says which frame it is. PROTOCOL.md §4.
type Type uint8

const (
	TypeHello       Type = 0x01
	TypeSubscribe   Type = 0x02
	TypeUnsubscribe Type = 0x03
	TypePublish     Type = 0x04
	TypeNack        Type = 0x05

	TypeWelcome    Type = 0x41
	TypeSubscribed Type = 0x42
	TypeSubject    Type = 0x43
	TypeMessage    Type = 0x44
	TypeMessageX   Type = 0x45
	TypeContinuous Type = 0x46
	TypeReset      Type = 0x47
	TypeConfirm    Type = 0x48
	TypeHeartbeat  Type = 0x49
	TypeDrain      Type = 0x4a

	TypeClose Type = 0x7f
)

// String gives the name in PROTOCOL.md, or the code of a type that has none.
func (t Type) String() string {
	switch t {
	case TypeHello:
		return "HELLO"
	case TypeSubscribe:
		return "SUBSCRIBE"
	case TypeUnsubscribe:
		return "UNSUBSCRIBE"
	case TypePublish:
		return "PUBLISH"
	case TypeNack:
		return "NACK"
	case TypeWelcome:
		return "WELCOME"
	case TypeSubscribed:
		return "SUBSCRIBED"
	case TypeSubject:
		return "SUBJECT"
	case TypeMessage:
		return "MESSAGE"
	case TypeMessageX:
		return "MESSAGE_X"
	case TypeContinuous:
		return "CONTINUOUS"
	case TypeReset:
		return "RESET"
	case TypeConfirm:
		return "CONFIRM"
	case TypeHeartbeat:
		return "HEARTBEAT"
	case TypeDrain:
		return "DRAIN"
	case TypeClose:
		return "CLOSE"
	}
	return fmt.Sprintf("type %#02x", uint8(t))
}

// A Frame is one of the structs of this package, by pointer. Its byte slices may
// point into the bytes it was decoded from.
type Frame interface {
	Type() Type
	// AppendTo appends the whole frame, its length in front.
	AppendTo(b []byte) []byte
	// String gives the text form that stands in PROTOCOL.md's vectors. It does
	// not show tokens.
	String() string

	decode(r *reader)
}

// A ClientFrame is a frame that clients send.
type ClientFrame interface {
	Frame
	fromClient()
}

// A ServerFrame is a frame that servers send.
type ServerFrame interface {
	Frame
	fromServer()
}

// An Alias is a small number that stands for a subject's name on a connection.
// The server's aliases (SUBJECT) and the client's (PUBLISH) are apart. Zero is
// no alias.
type Alias uint64

// MaxAlias is the largest alias: a stream.SubjectID and one.
const MaxAlias Alias = 1 << 32
