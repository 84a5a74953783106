package nackproto

import (
	"encoding/binary"
	"fmt"

	"github.com/nackmq/nackmq/stream"
)

// Message is the next message of a subject's stream. PROTOCOL.md §5.10.
//
//	alias    uvarint
//	seq      u16      the low 16 bits of the seq
//	payload  the rest
type Message struct {
	Alias   Alias
	Seq16   uint16
	Payload []byte
}

func (*Message) fromServer() {}

// Type gives TypeMessage.
func (*Message) Type() Type { return TypeMessage }

// AppendTo appends the frame.
func (f *Message) AppendTo(b []byte) []byte {
	return AppendMessage(b, f.Alias, stream.Seq(f.Seq16), f.Payload)
}

// AppendMessage appends a MESSAGE. It allocates nothing if b has room.
func AppendMessage(b []byte, a Alias, seq stream.Seq, payload []byte) []byte {
	b = appendUvarint(b, uint64(1+uvarintLen(uint64(a))+2+len(payload)))
	b = append(b, byte(TypeMessage))
	b = appendUvarint(b, uint64(a))
	b = binary.BigEndian.AppendUint16(b, uint16(seq))
	return append(b, payload...)
}

func (f *Message) decode(r *reader) {
	r.at = "alias"
	f.Alias = r.alias()
	r.at = "seq"
	f.Seq16 = r.u16()
	r.at = "payload"
	f.Payload = r.rest()
}

// String gives the text form.
func (f *Message) String() string {
	return fmt.Sprintf("MESSAGE alias=%d seq=..%04x%s", f.Alias, f.Seq16, payloadText(f.Payload))
}

// Fits reports whether m can travel as a MESSAGE: it says nothing that only
// MESSAGE_X has room for.
func Fits(m *stream.Message) bool {
	return m.Flags&stream.Retain == 0 && m.Expiry == 0 && len(m.Props) == 0
}

// messageXFlags say which optional parts a MESSAGE_X has.
const (
	messageRetain = 1 << iota
	messageSnapshot
	messageExpiry
	messageProps
	messageKnown = 1<<iota - 1
)

// MessageX is a message with all that is known of it. PROTOCOL.md §5.11.
//
//	flags    u8
//	alias    uvarint
//	seq      uvarint
//	index    uvarint
//	time     uvarint  milliseconds since 1970, the log's clock
//	expiry   uvarint  if flag: seconds from time, not 0
//	props    string   if flag: stream.Props
//	payload  the rest
type MessageX struct {
	Alias    Alias
	Seq      stream.Seq
	Index    stream.Index
	Time     int64
	Expiry   uint32
	Props    []byte
	Payload  []byte
	Retain   bool // the publisher asked that it be retained
	Snapshot bool // stands for the subject's state; not part of the stream
}

func (*MessageX) fromServer() {}

// Type gives TypeMessageX.
func (*MessageX) Type() Type { return TypeMessageX }

// AppendMessageX appends m as a MESSAGE_X.
func AppendMessageX(b []byte, m *stream.Message, snapshot bool) []byte {
	f := MessageX{
		Alias: AliasOf(m.ID), Seq: m.Position.Seq, Index: m.Index, Time: m.Time, Expiry: m.Expiry,
		Props: m.Props, Payload: m.Payload, Retain: m.Flags&stream.Retain != 0, Snapshot: snapshot,
	}
	return f.AppendTo(b)
}

// AppendTo appends the frame.
func (f *MessageX) AppendTo(b []byte) []byte {
	var flags byte
	n := 2 + uvarintLen(uint64(f.Alias)) + uvarintLen(uint64(f.Seq)) + uvarintLen(uint64(f.Index)) + uvarintLen(uint64(f.Time)) + len(f.Payload)
	if f.Retain {
		flags |= messageRetain
	}
	if f.Snapshot {
		flags |= messageSnapshot
	}
	if f.Expiry != 0 {
		flags |= messageExpiry
		n += uvarintLen(uint64(f.Expiry))
	}
	if len(f.Props) > 0 {
		flags |= messageProps
		n += uvarintLen(uint64(len(f.Props))) + len(f.Props)
	}
	b = appendUvarint(b, uint64(n))
	b = append(b, byte(TypeMessageX), flags)
	b = appendUvarint(b, uint64(f.Alias))
	b = appendUvarint(b, uint64(f.Seq))
	b = appendUvarint(b, uint64(f.Index))
	b = appendUvarint(b, uint64(f.Time))
	if f.Expiry != 0 {
		b = appendUvarint(b, uint64(f.Expiry))
	}
	if len(f.Props) > 0 {
		b = appendUvarint(b, uint64(len(f.Props)))
		b = append(b, f.Props...)
	}
	return append(b, f.Payload...)
}

func (f *MessageX) decode(r *reader) {
	r.at = "flags"
	flags := r.u8()
	if flags&^messageKnown != 0 {
		r.fail("unknown flags")
	}
	f.Retain = flags&messageRetain != 0
	f.Snapshot = flags&messageSnapshot != 0
	r.at = "alias"
	f.Alias = r.alias()
	r.at = "seq"
	if f.Seq = stream.Seq(r.uvarint()); f.Seq == 0 {
		r.fail("seq is zero")
	}
	r.at = "index"
	if f.Index = stream.Index(r.uvarint()); f.Index == 0 {
		r.fail("index is zero")
	}
	r.at = "time"
	f.Time = int64(r.upto(1<<63 - 1))
	if flags&messageExpiry != 0 {
		r.at = "expiry"
		f.Expiry = r.expiry()
	}
	if flags&messageProps != 0 {
		r.at = "props"
		f.Props = r.props()
	}
	r.at = "payload"
	f.Payload = r.rest()
}

// String gives the text form.
func (f *MessageX) String() string {
	s := fmt.Sprintf("MESSAGE_X alias=%d seq=%d index=%d time=%d", f.Alias, f.Seq, f.Index, f.Time)
	if f.Retain {
		s += " retain"
	}
	if f.Snapshot {
		s += " snapshot"
	}
	return s + bodyText(f.Expiry, f.Props, f.Payload)
}
