package nackproto

import (
	"fmt"
	"time"
)

// Drain asks the client to go to another server. PROTOCOL.md §5.16.
//
//	within   uvarint  milliseconds
//	servers  uvarint count, that many texts; none: the ones that it knows
type Drain struct {
	Within  time.Duration // whole milliseconds
	Servers []string
}

func (*Drain) fromServer() {}

// Type gives TypeDrain.
func (*Drain) Type() Type { return TypeDrain }

// AppendTo appends the frame.
func (f *Drain) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeDrain)
	b = appendUvarint(b, uint64(f.Within/time.Millisecond))
	return end(appendStrings(b, f.Servers), start)
}

func (f *Drain) decode(r *reader) {
	r.at = "within"
	f.Within = r.milliseconds()
	r.at = "servers"
	f.Servers = r.servers()
}

// String gives the text form.
func (f *Drain) String() string {
	return fmt.Sprintf("DRAIN within=%v servers=%q", f.Within, f.Servers)
}
