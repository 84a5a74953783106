package nackproto

import (
	"fmt"

	"github.com/nackmq/nackmq/stream"
)

// Subject binds a server's alias to a subject and says where its stream stands.
// PROTOCOL.md §5.9.
//
//	alias  uvarint
//	epoch  u64
//	after  uvarint  the seq before the next message of this stream
//	upto   uvarint  the subject's last seq as of here; not below after
//	name   string
type Subject struct {
	Alias       Alias
	Epoch       stream.Epoch
	After, Upto stream.Seq
	Name        stream.Subject
}

func (*Subject) fromServer() {}

// Type gives TypeSubject.
func (*Subject) Type() Type { return TypeSubject }

// AppendTo appends the frame.
func (f *Subject) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeSubject)
	b = appendUvarint(b, uint64(f.Alias))
	b = appendU64(b, uint64(f.Epoch))
	b = appendUvarint(b, uint64(f.After))
	b = appendUvarint(b, uint64(f.Upto))
	return end(appendString(b, string(f.Name)), start)
}

func (f *Subject) decode(r *reader) {
	r.at = "alias"
	f.Alias = r.alias()
	r.at = "epoch"
	f.Epoch = r.epoch()
	r.at = "after"
	f.After = stream.Seq(r.uvarint())
	r.at = "upto"
	f.Upto = stream.Seq(r.uvarint())
	if r.bad == "" && f.Upto < f.After {
		r.fail("upto is below after")
	}
	r.at = "name"
	f.Name = r.subject()
}

// String gives the text form.
func (f *Subject) String() string {
	return fmt.Sprintf("SUBJECT alias=%d epoch=%v after=%d upto=%d name=%q", f.Alias, f.Epoch, f.After, f.Upto, string(f.Name))
}

// AliasOf gives the alias under which every session of a server knows a subject:
// so a MESSAGE is encoded once, and its bytes are the same for all.
func AliasOf(id stream.SubjectID) Alias { return Alias(id) + 1 }
