package nackproto

import (
	"fmt"
	"time"
)

// Close is the last frame of whoever sends it. PROTOCOL.md §5.8.
//
//	code    u8
//	retry   uvarint  milliseconds to stay away; 0: as the table of §10 says
//	reason  text     for a person
type Close struct {
	Code   CloseCode
	Retry  time.Duration // whole milliseconds
	Reason string
}

func (*Close) fromClient() {}
func (*Close) fromServer() {}

// Type gives TypeClose.
func (*Close) Type() Type { return TypeClose }

// AppendTo appends the frame. A reason that is too long is cut.
func (f *Close) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeClose)
	b = append(b, byte(f.Code))
	b = appendUvarint(b, uint64(f.Retry/time.Millisecond))
	return end(appendString(b, cutText(f.Reason)), start)
}

func (f *Close) decode(r *reader) {
	r.at = "code"
	f.Code = CloseCode(r.u8())
	r.at = "retry"
	f.Retry = r.milliseconds()
	r.at = "reason"
	f.Reason = r.text(MaxText)
}

// String gives the text form.
func (f *Close) String() string {
	return fmt.Sprintf("CLOSE %v retry=%v reason=%q", f.Code, f.Retry, f.Reason)
}
