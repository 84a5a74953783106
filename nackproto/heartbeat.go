package nackproto

import (
	"fmt"
	"strings"

	"github.com/nackmq/nackmq/stream"
)

// A Top is the seq of the last message of a subject that the server has written
// to the session.
type Top struct {
	Alias Alias
	Seq   stream.Seq
}

// Heartbeat says that the server lives and what the client should have by here.
// PROTOCOL.md §5.15.
//
//	flags  u8       1: stale
//	index  uvarint  all that matches up to it was written before this frame
//	tops, to the end: alias uvarint, seq uvarint
type Heartbeat struct {
	Stale bool // the server is cut off from the majority
	Index stream.Index
	Tops  []Top
}

const heartbeatStale = 1

func (*Heartbeat) fromServer() {}

// Type gives TypeHeartbeat.
func (*Heartbeat) Type() Type { return TypeHeartbeat }

// AppendTo appends the frame.
func (f *Heartbeat) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeHeartbeat)
	var flags byte
	if f.Stale {
		flags = heartbeatStale
	}
	b = append(b, flags)
	b = appendUvarint(b, uint64(f.Index))
	for _, t := range f.Tops {
		b = appendUvarint(b, uint64(t.Alias))
		b = appendUvarint(b, uint64(t.Seq))
	}
	return end(b, start)
}

func (f *Heartbeat) decode(r *reader) {
	r.at = "flags"
	flags := r.u8()
	if flags&^heartbeatStale != 0 {
		r.fail("unknown flags")
	}
	f.Stale = flags&heartbeatStale != 0
	r.at = "index"
	f.Index = stream.Index(r.uvarint())
	r.at = "tops"
	for r.more() {
		r.at = "tops"
		f.Tops = append(f.Tops, Top{r.alias(), stream.Seq(r.uvarint())})
	}
}

// String gives the text form.
func (f *Heartbeat) String() string {
	var s strings.Builder
	s.WriteString("HEARTBEAT")
	if f.Stale {
		s.WriteString(" stale")
	}
	fmt.Fprintf(&s, " index=%d", f.Index)
	for _, t := range f.Tops {
		fmt.Fprintf(&s, " %d:%d", t.Alias, t.Seq)
	}
	return s.String()
}
