package nackproto

import (
	"fmt"

	"github.com/nackmq/nackmq/stream"
)

// PublishFlags say which optional parts a PUBLISH has.
type PublishFlags uint8

const (
	PublishRetain PublishFlags = 1 << iota
	publishName
	publishExpiry
	publishProps
	publishKnown = 1<<iota - 1
)

// Publish asks for a place. PROTOCOL.md §5.6.
//
//	flags    u8
//	number   uvarint  from 1, rising by one
//	alias    uvarint  0: none, and a name must follow
//	name     string   if flag: bound to alias from here on
//	expiry   uvarint  if flag: seconds, not 0
//	props    string   if flag: stream.Props
//	payload  the rest
type Publish struct {
	Number  uint64
	Alias   Alias
	Name    string // empty: the name that is bound to Alias. Unchecked: the answer to a bad one is CONFIRM.
	Expiry  uint32
	Props   []byte
	Payload []byte
	Retain  bool
}

func (*Publish) fromClient() {}

// Type gives TypePublish.
func (*Publish) Type() Type { return TypePublish }

// AppendTo appends the frame.
func (f *Publish) AppendTo(b []byte) []byte {
	var flags PublishFlags
	n := 2 + uvarintLen(f.Number) + uvarintLen(uint64(f.Alias)) + len(f.Payload)
	if f.Retain {
		flags |= PublishRetain
	}
	if f.Name != "" {
		flags |= publishName
		n += uvarintLen(uint64(len(f.Name))) + len(f.Name)
	}
	if f.Expiry != 0 {
		flags |= publishExpiry
		n += uvarintLen(uint64(f.Expiry))
	}
	if len(f.Props) > 0 {
		flags |= publishProps
		n += uvarintLen(uint64(len(f.Props))) + len(f.Props)
	}
	b = appendUvarint(b, uint64(n))
	b = append(b, byte(TypePublish), byte(flags))
	b = appendUvarint(b, f.Number)
	b = appendUvarint(b, uint64(f.Alias))
	if f.Name != "" {
		b = appendString(b, f.Name)
	}
	if f.Expiry != 0 {
		b = appendUvarint(b, uint64(f.Expiry))
	}
	if len(f.Props) > 0 {
		b = appendUvarint(b, uint64(len(f.Props)))
		b = append(b, f.Props...)
	}
	return append(b, f.Payload...)
}

func (f *Publish) decode(r *reader) {
	r.at = "flags"
	flags := PublishFlags(r.u8())
	if flags&^publishKnown != 0 {
		r.fail("unknown flags")
	}
	f.Retain = flags&PublishRetain != 0
	r.at = "number"
	if f.Number = r.uvarint(); f.Number == 0 {
		r.fail("number is zero")
	}
	r.at = "alias"
	f.Alias = Alias(r.upto(uint64(MaxAlias)))
	if flags&publishName != 0 {
		r.at = "name"
		if f.Name = string(r.bytes(stream.MaxSubject)); f.Name == "" {
			r.fail("name is empty")
		}
		if f.Alias != 0 && len(f.Name) > MaxAliasName {
			r.fail("name is too long for an alias")
		}
	} else if f.Alias == 0 {
		r.fail("neither alias nor name")
	}
	if flags&publishExpiry != 0 {
		r.at = "expiry"
		f.Expiry = r.expiry()
	}
	if flags&publishProps != 0 {
		r.at = "props"
		f.Props = r.props()
	}
	r.at = "payload"
	f.Payload = r.rest()
}

func (r *reader) expiry() uint32 {
	v := uint32(r.upto(1<<32 - 1))
	if v == 0 {
		r.fail("expiry is zero")
	}
	return v
}

func (r *reader) props() []byte {
	v := r.bytes(len(r.b))
	if len(v) == 0 {
		r.fail("properties are empty")
	}
	return v
}

// String gives the text form.
func (f *Publish) String() string {
	s := fmt.Sprintf("PUBLISH number=%d alias=%d", f.Number, f.Alias)
	if f.Name != "" {
		s += fmt.Sprintf(" name=%q", f.Name)
	}
	if f.Retain {
		s += " retain"
	}
	return s + bodyText(f.Expiry, f.Props, f.Payload)
}

// bodyText is the text form of what PUBLISH and MESSAGE_X have in common.
func bodyText(expiry uint32, props, payload []byte) string {
	s := ""
	if expiry != 0 {
		s += fmt.Sprintf(" expiry=%ds", expiry)
	}
	if len(props) > 0 {
		s += fmt.Sprintf(" props=%x", clip(props))
	}
	return s + payloadText(payload)
}

func payloadText(payload []byte) string {
	if c := clip(payload); len(c) < len(payload) {
		return fmt.Sprintf(" payload=%q... %d bytes", c, len(payload))
	}
	return fmt.Sprintf(" payload=%q", payload)
}

// clip shortens what goes into a log.
func clip(b []byte) []byte { return b[:min(len(b), 64)] }
