package nackproto

import (
	"fmt"

	"github.com/nackmq/nackmq/stream"
)

// Continuous ends a resume: nothing is missing up to seq. PROTOCOL.md §5.12.
//
//	alias  uvarint
//	seq    uvarint
type Continuous struct {
	Alias Alias
	Seq   stream.Seq
}

func (*Continuous) fromServer() {}

// Type gives TypeContinuous.
func (*Continuous) Type() Type { return TypeContinuous }

// AppendTo appends the frame.
func (f *Continuous) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeContinuous)
	b = appendUvarint(b, uint64(f.Alias))
	return end(appendUvarint(b, uint64(f.Seq)), start)
}

func (f *Continuous) decode(r *reader) {
	r.at = "alias"
	f.Alias = r.alias()
	r.at = "seq"
	f.Seq = stream.Seq(r.uvarint())
}

// String gives the text form.
func (f *Continuous) String() string {
	return fmt.Sprintf("CONTINUOUS alias=%d seq=%d", f.Alias, f.Seq)
}

// Reset says that a subject's stream has a hole and where it goes on.
// PROTOCOL.md §5.13. A subject of which the server has no history has no alias
// either; then Alias is zero, Name says which, and there is nothing else to say.
//
//	alias   uvarint  0: no history here
//	reason  u8
//	name    string   if alias is 0; then nothing follows
//	epoch   u64
//	first   uvarint  the oldest seq still available; last+1 if none
//	last    uvarint  the newest seq; 0 if the history has no message yet
//	next    uvarint  the seq of the next message of this stream; first to last+1
type Reset struct {
	Alias             Alias
	Reason            ResetReason
	Name              stream.Subject
	Epoch             stream.Epoch
	First, Last, Next stream.Seq
}

func (*Reset) fromServer() {}

// Type gives TypeReset.
func (*Reset) Type() Type { return TypeReset }

// AppendTo appends the frame.
func (f *Reset) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeReset)
	b = appendUvarint(b, uint64(f.Alias))
	b = append(b, byte(f.Reason))
	if f.Alias == 0 {
		return end(appendString(b, string(f.Name)), start)
	}
	b = appendU64(b, uint64(f.Epoch))
	b = appendUvarint(b, uint64(f.First))
	b = appendUvarint(b, uint64(f.Last))
	return end(appendUvarint(b, uint64(f.Next)), start)
}

func (f *Reset) decode(r *reader) {
	r.at = "alias"
	f.Alias = Alias(r.upto(uint64(MaxAlias)))
	r.at = "reason"
	f.Reason = ResetReason(r.u8())
	if r.bad == "" && (f.Reason < Trimmed || f.Reason > Slow) {
		r.fail("unknown reason")
	}
	if f.Alias == 0 {
		r.at = "name"
		f.Name = r.subject()
		return
	}
	r.at = "epoch"
	f.Epoch = r.epoch()
	r.at = "first"
	f.First = stream.Seq(r.uvarint())
	r.at = "last"
	f.Last = stream.Seq(r.upto(1<<64 - 2))
	r.at = "next"
	f.Next = stream.Seq(r.uvarint())
	if r.bad == "" && (f.First == 0 || f.Next < f.First || f.Next > f.Last+1) {
		r.fail("first, next and last do not fit")
	}
}

// String gives the text form.
func (f *Reset) String() string {
	if f.Alias == 0 {
		return fmt.Sprintf("RESET %v name=%q", f.Reason, string(f.Name))
	}
	return fmt.Sprintf("RESET %v alias=%d epoch=%v first=%d last=%d next=%d", f.Reason, f.Alias, f.Epoch, f.First, f.Last, f.Next)
}
