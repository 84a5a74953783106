package stream

import (
	"encoding/binary"
	"fmt"
)

// MaxSessionID is the longest name of a session, and MaxSessionState the most that
// its holder may save, bytes.
const (
	MaxSessionID    = 1<<16 - 1
	MaxSessionState = 4 << 20
)

// An item that is not a publication but says what happens to a session has hasOp
// alone as its flags, and then:
//
//	op      u8
//	session uvarint length, bytes
//	fence   uvarint               0 for attach, end and gone
//	attach:      clean u8, holder u64, expiry uvarint, delay uvarint, will uvarint length, bytes
//	detach:      noWill u8, expiry uvarint, state
//	save:        state
//	subscribe:   count uvarint, count × (name uvarint length, bytes; options uvarint)
//	unsubscribe: count uvarint, count × (name uvarint length, bytes)
//	release:     number uvarint
//	gone:        holder u64       its session is empty
//
// state is the rest. Will is an item of a publication without publisher.
const (
	opAttach = 1 + iota
	opDetach
	opSave
	opSubscribe
	opUnsubscribe
	opRelease
	opEnd
	opGone
)

// A SessionOp is an item that says what happens to a session. It goes into an
// Item's Op.
type SessionOp []byte

// Check reports whether a ledger takes op. One that it does not take must not get
// into the log: every member would stop at it. The error wraps ErrEntry.
func (op SessionOp) Check() error {
	_, err := parseOp(op)
	return err
}

func newOp(kind byte, id string, fence Fence) SessionOp {
	b := make([]byte, 0, 32+len(id))
	b = append(b, hasOp, kind)
	b = binary.AppendUvarint(b, uint64(len(id)))
	b = append(b, id...)
	return binary.AppendUvarint(b, uint64(fence))
}

// An Attachment is what a client that connects wants of its session.
type Attachment struct {
	ID     string
	Holder NodeID // the member that it is connected to
	Clean  bool   // an earlier session ends
	Expiry uint32 // seconds that the session outlives its connection; ForEver
	Will   *Publication
	Origin PublisherID // of the will
	Delay  uint32      // seconds from the end of the connection to the will
}

// AttachSession makes a session or takes it over. It is answered with its fence,
// and Resumed if it was there.
func AttachSession(a *Attachment) SessionOp {
	b := newOp(opAttach, a.ID, 0)
	b = append(b, boolByte(a.Clean))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Holder))
	b = binary.AppendUvarint(b, uint64(a.Expiry))
	b = binary.AppendUvarint(b, uint64(a.Delay))
	if a.Will == nil {
		return append(b, 0)
	}
	it := Item{Publication: *a.Will, Publisher: a.Origin}
	b = binary.AppendUvarint(b, uint64(it.EncodedLen()))
	return it.appendTo(b)
}

// DetachSession says that the session's connection has ended: it outlives it by
// expiry, and its will goes out unless noWill.
func DetachSession(id string, f Fence, expiry uint32, noWill bool, state []byte) SessionOp {
	b := append(newOp(opDetach, id, f), boolByte(noWill))
	return append(binary.AppendUvarint(b, uint64(expiry)), state...)
}

// SaveSession keeps state, which the session's next holder finds.
func SaveSession(id string, f Fence, state []byte) SessionOp {
	return append(newOp(opSave, id, f), state...)
}

// SubscribeSession gives the session filters, or new options for those that it
// has. Their Since is not read. It is answered with the index after which new
// ones begin, or TooManySessions: then it has none of them.
func SubscribeSession(id string, f Fence, filters []SessionFilter) SessionOp {
	b := binary.AppendUvarint(newOp(opSubscribe, id, f), uint64(len(filters)))
	for i := range filters {
		b = binary.AppendUvarint(b, uint64(len(filters[i].Name)))
		b = append(b, filters[i].Name...)
		b = binary.AppendUvarint(b, filters[i].Options)
	}
	return b
}

// UnsubscribeSession takes filters away.
func UnsubscribeSession(id string, f Fence, names []string) SessionOp {
	b := binary.AppendUvarint(newOp(opUnsubscribe, id, f), uint64(len(names)))
	for _, n := range names {
		b = binary.AppendUvarint(b, uint64(len(n)))
		b = append(b, n...)
	}
	return b
}

// ReleaseSession forgets the number of a publication: the next one that has it is
// another one. It is answered with NoSuchNumber if there was none.
func ReleaseSession(id string, f Fence, number uint16) SessionOp {
	return binary.AppendUvarint(newOp(opRelease, id, f), uint64(number))
}

// EndSession ends a session, whoever holds it.
func EndSession(id string) SessionOp { return newOp(opEnd, id, 0) }

// SessionsGone detaches all sessions that a member holds.
func SessionsGone(n NodeID) SessionOp {
	return binary.BigEndian.AppendUint64(newOp(opGone, "", 0), uint64(n))
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// sessionOp is a SessionOp as it lies in an entry: its slices point into it.
type sessionOp struct {
	kind    byte
	id      []byte
	fence   Fence
	clean   bool
	noWill  bool
	holder  NodeID
	expiry  uint32
	delay   uint32
	packet  uint16
	will    []byte
	state   []byte
	filters []rawFilter
}

type rawFilter struct {
	name    []byte
	options uint64
}

// parseOp reads a SessionOp, b being exactly its bytes.
func parseOp(b []byte) (op sessionOp, err error) {
	c := cutter{rest: b}
	c.u8() // flags
	op.kind = c.u8()
	op.id = c.bytes()
	op.fence = Fence(c.num(1<<64 - 1))
	switch op.kind {
	case opAttach:
		op.clean, op.holder = c.u8() == 1, NodeID(c.u64())
		op.expiry, op.delay = uint32(c.num(1<<32-1)), uint32(c.num(1<<32-1))
		if op.will = c.bytes(); len(op.will) > 0 {
			if it, err := parsePublication(op.will); err != nil {
				return op, err
			} else if it.session != nil || it.number != 0 {
				return op, fmt.Errorf("%w: a will that is numbered", ErrEntry)
			}
		}
	case opDetach:
		op.noWill, op.expiry = c.u8() == 1, uint32(c.num(1<<32-1))
		op.state, c.rest = c.rest, nil
	case opSave:
		op.state, c.rest = c.rest, nil
	case opSubscribe, opUnsubscribe:
		for n := c.num(uint64(len(c.rest))); n > 0 && !c.short; n-- {
			f := rawFilter{name: c.bytes()}
			if op.kind == opSubscribe {
				f.options = c.num(1<<64 - 1)
			}
			op.filters = append(op.filters, f)
		}
	case opRelease:
		op.packet = uint16(c.num(1<<16 - 1))
	case opGone:
		op.holder = NodeID(c.u64())
	case opEnd:
	default:
		return op, fmt.Errorf("%w: an item of kind %d for a session is of a newer version", ErrEntry, op.kind)
	}
	switch {
	case c.short:
		return op, errShortItem
	case len(c.rest) > 0:
		return op, fmt.Errorf("%w: %d bytes behind an item for a session", ErrEntry, len(c.rest))
	case len(op.id) > MaxSessionID || len(op.id) == 0 != (op.kind == opGone):
		return op, fmt.Errorf("%w: an item for a session without a name", ErrEntry)
	case len(op.state) > MaxSessionState:
		return op, fmt.Errorf("%w: %d bytes of a session's state, at most %d", ErrEntry, len(op.state), MaxSessionState)
	}
	return op, nil
}

// A cutter takes values from the front of bytes. Once there is nothing to take it
// is short, and gives zeros.
type cutter struct {
	rest  []byte
	short bool
}

func (c *cutter) take(n uint64) []byte {
	if n > uint64(len(c.rest)) {
		c.short, c.rest = true, nil
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cutter) u8() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cutter) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// num takes a uvarint that is most at most.
func (c *cutter) num(most uint64) uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 || v > most {
		c.short, c.rest = true, nil
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cutter) bytes() []byte { return c.take(c.num(1<<64 - 1)) }
