package nackproto

import (
	"fmt"

	"github.com/nackmq/nackmq/stream"
)

// Nack says that messages of a subject are missing. PROTOCOL.md §5.7.
//
//	alias  uvarint  the server's
//	epoch  u64
//	after  uvarint  the last seq that the client took
//	upto   uvarint  the newest seq that it knows of; above after
type Nack struct {
	Alias       Alias
	Epoch       stream.Epoch
	After, Upto stream.Seq
}

func (*Nack) fromClient() {}

// Type gives TypeNack.
func (*Nack) Type() Type { return TypeNack }

// AppendTo appends the frame.
func (f *Nack) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeNack)
	b = appendUvarint(b, uint64(f.Alias))
	b = appendU64(b, uint64(f.Epoch))
	b = appendUvarint(b, uint64(f.After))
	return end(appendUvarint(b, uint64(f.Upto)), start)
}

func (f *Nack) decode(r *reader) {
	r.at = "alias"
	f.Alias = r.alias()
	r.at = "epoch"
	f.Epoch = r.epoch()
	r.at = "after"
	f.After = stream.Seq(r.uvarint())
	r.at = "upto"
	f.Upto = stream.Seq(r.uvarint())
	if r.bad == "" && f.Upto <= f.After {
		r.fail("nothing is missing")
	}
}

// String gives the text form.
func (f *Nack) String() string {
	return fmt.Sprintf("NACK alias=%d epoch=%v after=%d upto=%d", f.Alias, f.Epoch, f.After, f.Upto)
}
