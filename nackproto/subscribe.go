package nackproto

import (
	"fmt"
	"strings"

	"github.com/nackmq/nackmq/stream"
)

// A StartKind says where a subscription begins. PROTOCOL.md §6.2.
type StartKind uint8

const (
	StartLive    StartKind = 0 // with the next message
	StartLast    StartKind = 1 // with the last message of each subject
	StartHistory StartKind = 2 // with the newest Count of each subject
	StartIndex   StartKind = 3 // after Index
)

// A Mark is a position and the subject it belongs to.
type Mark struct {
	Subject  stream.Subject
	Position stream.Position
}

// A Start says where a subscription begins: the subjects in Marks after their
// positions, all others as Kind says. The zero Start is live.
type Start struct {
	Kind    StartKind
	Count   uint64           // StartHistory
	Cluster stream.ClusterID // StartIndex: whose index it is
	Index   stream.Index     // StartIndex
	Marks   []Mark
}

// Subscribe asks for the messages of all subjects that a filter matches.
// PROTOCOL.md §5.3.
//
//	sub      uvarint  chosen by the client
//	filter   string
//	start    u8       StartKind
//	count    uvarint  history
//	cluster  u64      index
//	index    uvarint  index
//	marks    uvarint count, that many (string subject, u64 epoch, uvarint seq)
type Subscribe struct {
	Sub    uint64
	Filter string // unchecked: the answer to a bad one is SUBSCRIBED
	Start  Start
}

func (*Subscribe) fromClient() {}

// Type gives TypeSubscribe.
func (*Subscribe) Type() Type { return TypeSubscribe }

// AppendTo appends the frame.
func (f *Subscribe) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeSubscribe)
	b = appendUvarint(b, f.Sub)
	b = appendString(b, f.Filter)
	b = append(b, byte(f.Start.Kind))
	switch f.Start.Kind {
	case StartHistory:
		b = appendUvarint(b, f.Start.Count)
	case StartIndex:
		b = appendU64(b, uint64(f.Start.Cluster))
		b = appendUvarint(b, uint64(f.Start.Index))
	}
	return end(appendMarks(b, f.Start.Marks), start)
}

func appendMarks(b []byte, ms []Mark) []byte {
	b = appendUvarint(b, uint64(len(ms)))
	for _, m := range ms {
		b = appendString(b, string(m.Subject))
		b = appendU64(b, uint64(m.Position.Epoch))
		b = appendUvarint(b, uint64(m.Position.Seq))
	}
	return b
}

// EncodedLen gives the bytes that m takes in a SUBSCRIBE.
func (m Mark) EncodedLen() int {
	return uvarintLen(uint64(len(m.Subject))) + len(m.Subject) + 8 + uvarintLen(uint64(m.Position.Seq))
}

func (f *Subscribe) decode(r *reader) {
	r.at = "sub"
	f.Sub = r.uvarint()
	r.at = "filter"
	f.Filter = string(r.bytes(stream.MaxSubject))
	r.at = "start"
	f.Start.Kind = StartKind(r.u8())
	switch f.Start.Kind {
	case StartLive, StartLast:
	case StartHistory:
		r.at = "count"
		f.Start.Count = r.uvarint()
	case StartIndex:
		r.at = "cluster"
		f.Start.Cluster = stream.ClusterID(r.u64())
		r.at = "index"
		f.Start.Index = stream.Index(r.uvarint())
	default:
		r.fail("unknown start")
	}
	r.at = "marks"
	f.Start.Marks = r.marks()
}

func (r *reader) marks() []Mark {
	n := r.uvarint()
	// A mark takes 12 bytes and more: a count that cannot be true takes no memory.
	if n > uint64(len(r.b)/12) {
		r.fail("body is cut short")
		return nil
	}
	var ms []Mark
	for range n {
		m := Mark{Subject: r.subject()}
		m.Position.Epoch = r.epoch()
		m.Position.Seq = stream.Seq(r.uvarint())
		ms = append(ms, m)
	}
	return ms
}

// String gives the text form.
func (f *Subscribe) String() string {
	return fmt.Sprintf("SUBSCRIBE sub=%d filter=%q start=%v", f.Sub, f.Filter, f.Start)
}

// String gives the text form.
func (s Start) String() string {
	var t strings.Builder
	switch s.Kind {
	case StartLive:
		t.WriteString("live")
	case StartLast:
		t.WriteString("last")
	case StartHistory:
		fmt.Fprintf(&t, "history:%d", s.Count)
	case StartIndex:
		fmt.Fprintf(&t, "index:%016x:%d", uint64(s.Cluster), s.Index)
	}
	for _, m := range s.Marks {
		fmt.Fprintf(&t, " %q@%v", string(m.Subject), m.Position)
	}
	return t.String()
}

// Unsubscribe ends a subscription. It is not answered. PROTOCOL.md §5.4.
//
//	sub  uvarint
type Unsubscribe struct{ Sub uint64 }

func (*Unsubscribe) fromClient() {}

// Type gives TypeUnsubscribe.
func (*Unsubscribe) Type() Type { return TypeUnsubscribe }

// AppendTo appends the frame.
func (f *Unsubscribe) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeUnsubscribe)
	return end(appendUvarint(b, f.Sub), start)
}

func (f *Unsubscribe) decode(r *reader) {
	r.at = "sub"
	f.Sub = r.uvarint()
}

// String gives the text form.
func (f *Unsubscribe) String() string { return fmt.Sprintf("UNSUBSCRIBE sub=%d", f.Sub) }

// Subscribed answers SUBSCRIBE. PROTOCOL.md §5.5.
//
//	sub    uvarint
//	code   u8
//	index  uvarint  where the subscription begins in the log
type Subscribed struct {
	Sub   uint64
	Code  SubscribeCode
	Index stream.Index
}

func (*Subscribed) fromServer() {}

// Type gives TypeSubscribed.
func (*Subscribed) Type() Type { return TypeSubscribed }

// AppendTo appends the frame.
func (f *Subscribed) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeSubscribed)
	b = appendUvarint(b, f.Sub)
	b = append(b, byte(f.Code))
	return end(appendUvarint(b, uint64(f.Index)), start)
}

func (f *Subscribed) decode(r *reader) {
	r.at = "sub"
	f.Sub = r.uvarint()
	r.at = "code"
	f.Code = SubscribeCode(r.u8())
	r.at = "index"
	f.Index = stream.Index(r.uvarint())
}

// String gives the text form.
func (f *Subscribed) String() string {
	return fmt.Sprintf("SUBSCRIBED sub=%d %v index=%d", f.Sub, f.Code, f.Index)
}
