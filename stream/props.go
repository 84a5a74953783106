package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrProps is what ParseProps wraps.
var ErrProps = errors.New("invalid properties")

// PayloadFormat is what a publisher says of its payload.
type PayloadFormat uint8

const (
	FormatUnsaid PayloadFormat = iota // nothing was said
	FormatBytes                       // said to be bytes
	FormatText                        // said to be UTF-8
)

// A UserProperty is a pair that a publisher sends along. Keys may repeat and may
// be empty; the order counts.
type UserProperty struct{ Key, Value string }

// Props is what a publication says of itself beside its payload: the properties
// of an MQTT 5 PUBLISH that are meant for the receiver. It is what both doors
// read and write in Publication.Props; the ledger carries the bytes unread. The
// zero Props is encoded as no bytes at all. An empty field is a field that was
// not said, unless another one says that it was.
type Props struct {
	PayloadFormat   PayloadFormat
	ContentType     string  // for the application; MQTT suggests a MIME type
	EmptyType       bool    // a content type was said, and it is empty
	ResponseSubject Subject // where an answer is awaited
	CorrelationData []byte  // which question an answer belongs to; nil: unsaid, which empty is not
	User            []UserProperty
}

// The encoding is a list of fields with rising tags; the last may repeat:
//
//	tag u8
//	1  payload format     u8, 0 bytes, 1 text
//	2  content type       text
//	3  response subject   text, a Subject
//	4  correlation data   uvarint length, bytes
//	5  user property      text key, text value; any number of times
//
// Text is a uvarint length and valid UTF-8 without U+0000. A field that was not said
// is left out. So equal Props have equal bytes.
const (
	propFormat = 1 + iota
	propContentType
	propResponse
	propCorrelation
	propUser
)

// IsZero reports whether p says nothing.
func (p *Props) IsZero() bool {
	return p.PayloadFormat == FormatUnsaid && p.ContentType == "" && !p.EmptyType && p.ResponseSubject == "" &&
		p.CorrelationData == nil && len(p.User) == 0
}

// AppendProps appends p's encoding to b. It does not check p: what ParseProps
// would refuse comes out as it is.
func AppendProps(b []byte, p *Props) []byte {
	if p.PayloadFormat != FormatUnsaid {
		b = append(b, propFormat, byte(p.PayloadFormat-FormatBytes))
	}
	if p.ContentType != "" || p.EmptyType {
		b = appendText(append(b, propContentType), p.ContentType)
	}
	if p.ResponseSubject != "" {
		b = appendText(append(b, propResponse), string(p.ResponseSubject))
	}
	if p.CorrelationData != nil {
		b = append(b, propCorrelation)
		b = binary.AppendUvarint(b, uint64(len(p.CorrelationData)))
		b = append(b, p.CorrelationData...)
	}
	for _, u := range p.User {
		b = appendText(append(b, propUser), u.Key)
		b = appendText(b, u.Value)
	}
	return b
}

// ParseProps reads what AppendProps wrote. It takes nothing else: AppendProps of
// the result gives b again. CorrelationData points into b. The error wraps
// ErrProps.
func ParseProps(b []byte) (Props, error) {
	var p Props
	var err error
	for last := byte(0); len(b) > 0; {
		tag := b[0]
		if tag < last || tag == last && tag != propUser {
			return Props{}, fmt.Errorf("%w: field %d after field %d", ErrProps, tag, last)
		}
		last, b = tag, b[1:]
		switch tag {
		case propFormat:
			if len(b) == 0 || b[0] > 1 {
				return Props{}, fmt.Errorf("%w: payload format is neither 0 nor 1", ErrProps)
			}
			p.PayloadFormat, b = FormatBytes+PayloadFormat(b[0]), b[1:]
		case propContentType:
			p.ContentType, b, err = cutText(b, "content type", false)
			p.EmptyType = p.ContentType == ""
		case propResponse:
			var s string
			if s, b, err = cutText(b, "response subject", true); err == nil {
				if p.ResponseSubject, err = ParseSubject(s); err != nil {
					err = fmt.Errorf("%w: response subject: %w", ErrProps, err)
				}
			}
		case propCorrelation:
			p.CorrelationData, b, err = cutValue(b, "correlation data", false)
		case propUser:
			var u UserProperty
			if u.Key, b, err = cutText(b, "user property", false); err != nil {
				break
			}
			u.Value, b, err = cutText(b, "user property", false)
			p.User = append(p.User, u)
		default:
			err = fmt.Errorf("%w: unknown field %d", ErrProps, tag)
		}
		if err != nil {
			return Props{}, err
		}
	}
	return p, nil
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func cutText(b []byte, what string, some bool) (string, []byte, error) {
	v, rest, err := cutValue(b, what, some)
	if err != nil {
		return "", nil, err
	}
	s := string(v)
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return "", nil, fmt.Errorf("%w: %s is not UTF-8 without U+0000", ErrProps, what)
	}
	return s, rest, nil
}

// cutValue takes a length and that many bytes, at least one if some.
func cutValue(b []byte, what string, some bool) (v, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	switch {
	case w <= 0 || n > uint64(len(b)-w):
		return nil, nil, fmt.Errorf("%w: %s is cut short", ErrProps, what)
	case w != uvarintLen(n):
		return nil, nil, fmt.Errorf("%w: %s has a length longer than need be", ErrProps, what)
	case n == 0 && some:
		return nil, nil, fmt.Errorf("%w: %s is empty; leave it out", ErrProps, what)
	}
	end := w + int(n)
	return b[w:end:end], b[end:], nil
}
