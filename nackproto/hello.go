package nackproto

import (
	"fmt"

	"github.com/nackmq/nackmq/stream"
)

// Hello is the first frame on a connection. PROTOCOL.md §5.1.
//
//	magic        4 bytes  "NACK"
//	lowest       u8       versions that the client speaks
//	highest      u8
//	incarnation  u64      the publisher; 0: does not publish
//	name         text     for the server's operator
//	token        string
type Hello struct {
	Lowest, Highest uint8
	Incarnation     stream.PublisherID
	Name            string
	Token           string
}

func (*Hello) fromClient() {}

// Type gives TypeHello.
func (*Hello) Type() Type { return TypeHello }

// AppendTo appends the frame.
func (f *Hello) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeHello)
	b = append(b, Magic...)
	b = append(b, f.Lowest, f.Highest)
	b = appendU64(b, uint64(f.Incarnation))
	b = appendString(b, f.Name)
	b = appendString(b, f.Token)
	return end(b, start)
}

func (f *Hello) decode(r *reader) {
	r.at = "magic"
	var magic [4]byte
	for i := range magic {
		magic[i] = r.u8()
	}
	if string(magic[:]) != Magic {
		r.fail("not the NACK protocol")
	}
	r.at = "versions"
	f.Lowest, f.Highest = r.u8(), r.u8()
	if f.Lowest == 0 || f.Highest < f.Lowest {
		r.fail("no version from lowest to highest")
	}
	r.at = "incarnation"
	f.Incarnation = stream.PublisherID(r.u64())
	r.at = "name"
	f.Name = r.text(MaxText)
	r.at = "token"
	f.Token = string(r.bytes(MaxToken))
}

// String hides the token.
func (f *Hello) String() string {
	return fmt.Sprintf("HELLO versions=%d..%d incarnation=%016x name=%q token=%d bytes",
		f.Lowest, f.Highest, uint64(f.Incarnation), f.Name, len(f.Token))
}
