package nackproto

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nackmq/nackmq/stream"
)

// begin appends a frame's length, yet unknown, and its type. It gives the place
// where the frame begins, for end.
func begin(b []byte, t Type) ([]byte, int) {
	return append(b, 0, byte(t)), len(b)
}

// end writes the length of the frame that begins at start. A length of more than
// one byte moves the frame; only MESSAGE is hot, and it does not come this way.
func end(b []byte, start int) []byte {
	n := uint64(len(b) - start - 1)
	if n < 0x80 {
		b[start] = byte(n)
		return b
	}
	var length [binary.MaxVarintLen64]byte
	w := binary.PutUvarint(length[:], n)
	b = append(b, length[:w-1]...)
	copy(b[start+w:], b[start+1:start+1+int(n)])
	copy(b[start:], length[:w])
	return b
}

func appendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendStrings(b []byte, ss []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(ss)))
	for _, s := range ss {
		b = appendString(b, s)
	}
	return b
}

// uvarint reads a uvarint in its shortest form and says how many bytes it took:
// 0 if b is too short, -1 if it is longer than need be or than 64 bits.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	v, w := binary.Uvarint(b)
	switch {
	case w < 0 || w > 1 && b[w-1] == 0:
		return 0, -1
	case w == 0 && len(b) >= binary.MaxVarintLen64:
		return 0, -1
	}
	return v, w
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// A reader takes a body apart from the front. After the first thing that is
// wrong it says what in bad, and gives zeros. at is the field that is read, by its
// name in PROTOCOL.md §5.
type reader struct {
	b   []byte
	at  string
	bad string
}

func (r *reader) fail(reason string) {
	if r.bad == "" {
		r.bad = reason
		if r.at != "" {
			r.bad = r.at + ": " + reason
		}
	}
	r.b = nil
}

func (r *reader) more() bool { return r.bad == "" && len(r.b) > 0 }

func (r *reader) u8() byte {
	if len(r.b) < 1 {
		r.fail("body is cut short")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) u16() uint16 {
	if len(r.b) < 2 {
		r.fail("body is cut short")
		return 0
	}
	v := binary.BigEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

func (r *reader) u64() uint64 {
	if len(r.b) < 8 {
		r.fail("body is cut short")
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, w := uvarint(r.b)
	switch {
	case w == 0:
		r.fail("body is cut short")
		return 0
	case w < 0:
		r.fail("integer is not a shortest uvarint")
		return 0
	}
	r.b = r.b[w:]
	return v
}

// upto reads a uvarint that is at most most.
func (r *reader) upto(most uint64) uint64 {
	v := r.uvarint()
	if v > most {
		r.fail("integer is too large")
		return 0
	}
	return v
}

func (r *reader) alias() Alias {
	a := Alias(r.upto(uint64(MaxAlias)))
	if a == 0 {
		r.fail("alias is zero")
	}
	return a
}

func (r *reader) bytes(most int) []byte {
	n := r.uvarint()
	switch {
	case n > uint64(most):
		r.fail("string is too long")
		return nil
	case n > uint64(len(r.b)):
		r.fail("body is cut short")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// text reads a string of at most most bytes: UTF-8 without U+0000.
func (r *reader) text(most int) string {
	s := string(r.bytes(most))
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		r.fail("string is not UTF-8 without U+0000")
		return ""
	}
	return s
}

func (r *reader) subject() stream.Subject {
	s, err := stream.ParseSubject(string(r.bytes(stream.MaxSubject)))
	if err != nil {
		r.fail("not a subject")
	}
	return s
}

func (r *reader) servers() []string {
	n := r.upto(MaxServers)
	var ss []string
	for range n {
		ss = append(ss, r.text(MaxText))
	}
	return ss
}

// rest takes what is left.
func (r *reader) rest() []byte {
	v := r.b
	r.b = nil
	return v
}

// milliseconds reads a duration of at most a day.
func (r *reader) milliseconds() time.Duration {
	return time.Duration(r.upto(24*60*60*1000)) * time.Millisecond
}

func (r *reader) epoch() stream.Epoch {
	e := stream.Epoch(r.u64())
	if e == 0 {
		r.fail("epoch is zero")
	}
	return e
}

// cutText makes s a text of at most MaxText bytes: errors become reasons.
func cutText(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
