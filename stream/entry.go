package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of one entry. The engine closes a batch at the first that is reached.
const (
	MaxEntryItems = 512
	MaxEntryBytes = 64 << 10 // a single item may be larger; it then travels alone
	MaxItemBytes  = 16 << 20 // encoded; a ledger refuses an entry with a larger one
)

// ErrEntry is what Apply wraps when it cannot read an entry: damaged, or written
// by a newer version.
var ErrEntry = errors.New("unreadable entry")

// An Item is a publication on its way into the log. (Publisher, Number) names it:
// an item whose Number is not above the last one that was placed for its
// Publisher is a repetition (S5). The items of one publisher must enter in the
// order of their numbers; numbers may be left out.
type Item struct {
	Publication
	Publisher PublisherID
	Number    uint64 // 0: not deduplicated; Publisher is then only the origin

	// A publication that a session numbers is placed if the session has Fence and
	// no publication of that number pending (S11).
	Session string // "": it is none
	Fence   Fence
	Packet  uint16

	Op SessionOp // not nil: the item is not a publication, and all else is empty
}

// An entry's layout, all integers big-endian, uvarint as in encoding/binary:
//
//	 0  version  u8   entryVersion
//	 1  kind     u8   entryBatch, entryLimits
//	 2  time     i64  Unix milliseconds; the leader overwrites it, StampEntry
//	10  origin   u64  the member that made the batch; 0: not deduplicated
//	18  life     u32  counts the starts of that member
//	22  batch    u64  counts the batches of that life, from 1
//	30  count    u16  items
//	32  items    count × (uvarint length, item), or the limits: see AppendLimits
//
// An item's layout:
//
//	flags     u8       Flags in bits 0 to 2; hasOp and the other bits below
//	publisher u64, number uvarint     if hasPublisher
//	expiry    uvarint                 if hasExpiry
//	session   uvarint length, bytes; fence uvarint; packet uvarint   if hasSession
//	subject   uvarint length, bytes
//	props     uvarint length, bytes   if hasProps
//	payload   the rest
//
// With hasOp it is a SessionOp.
const (
	entryVersion = 1

	entryBatch  = 1
	entryLimits = 2

	entryHeader = 32

	hasOp        = 1 << 3
	hasSession   = 1 << 4
	hasPublisher = 1 << 5
	hasExpiry    = 1 << 6
	hasProps     = 1 << 7
	flagsMask    = Retain | qosLow | qosHigh
)

// header is what the front of an entry says.
type header struct {
	kind   byte
	time   int64
	origin Origin
	count  int
}

// parseHeader cuts an entry into its header and its body.
func parseHeader(data []byte) (h header, body []byte, err error) {
	if len(data) < entryHeader || data[0] != entryVersion {
		return h, nil, fmt.Errorf("%w: it is damaged or of a newer version", ErrEntry)
	}
	return header{
		kind: data[1],
		time: int64(binary.BigEndian.Uint64(data[2:])),
		origin: Origin{
			Node:  NodeID(binary.BigEndian.Uint64(data[10:])),
			Life:  binary.BigEndian.Uint32(data[18:]),
			Batch: binary.BigEndian.Uint64(data[22:]),
		},
		count: int(binary.BigEndian.Uint16(data[30:])),
	}, data[entryHeader:], nil
}

// A Batch collects items into an entry. The zero Batch is not usable: call Reset
// first. A Batch belongs to the engine's loop.
type Batch struct {
	buf   []byte
	count int
}

// A NodeID names a member for ever. It is drawn at random, and drawn again by a
// member that lost its disk. Zero is nobody.
type NodeID uint64

// String gives 16 hexadecimal digits.
func (n NodeID) String() string { return fmt.Sprintf("%016x", uint64(n)) }

// Origin names a batch: the member it came from, which of that member's lives,
// and a count within it. The ledger applies the batches of an origin in order
// and each once, so a member may propose a batch again after a leader change.
type Origin struct {
	Node  NodeID
	Life  uint32
	Batch uint64
}

// Reset empties b and begins an entry from o. The bytes of the entry before stay
// valid.
func (b *Batch) Reset(o Origin) {
	b.buf = make([]byte, 0, 512)
	b.buf = append(b.buf, entryVersion, entryBatch)
	b.buf = binary.BigEndian.AppendUint64(b.buf, 0)
	b.buf = binary.BigEndian.AppendUint64(b.buf, uint64(o.Node))
	b.buf = binary.BigEndian.AppendUint32(b.buf, o.Life)
	b.buf = binary.BigEndian.AppendUint64(b.buf, o.Batch)
	b.buf = append(b.buf, 0, 0)
	b.count = 0
}

// Add appends it if there is room; an empty batch has room for anything. It
// reports whether it was added. The item's bytes are copied.
func (b *Batch) Add(it *Item) bool {
	n := it.EncodedLen()
	if b.count == MaxEntryItems || b.count > 0 && len(b.buf)+n > MaxEntryBytes {
		return false
	}
	b.buf = binary.AppendUvarint(b.buf, uint64(n))
	b.buf = it.appendTo(b.buf)
	b.count++
	binary.BigEndian.PutUint16(b.buf[30:], uint16(b.count))
	return true
}

// Len gives the number of items.
func (b *Batch) Len() int { return b.count }

// Entry gives the entry's bytes, which the caller owns from now on: Reset before
// the next Add.
func (b *Batch) Entry() []byte { return b.buf }

// AppendTime appends an entry that brings nothing but its time.
func AppendTime(b []byte) []byte {
	var batch Batch
	batch.Reset(Origin{})
	return append(b, batch.Entry()...)
}

// StampEntry writes the leader's time into an entry that is about to be proposed.
func StampEntry(data []byte, now int64) {
	if len(data) >= entryHeader {
		binary.BigEndian.PutUint64(data[2:], uint64(now))
	}
}

// EncodedLen gives the number of bytes that it takes in an entry, without the
// length in front.
func (it *Item) EncodedLen() int {
	if it.Op != nil {
		return len(it.Op)
	}
	n := 1 + uvarintLen(uint64(len(it.Subject))) + len(it.Subject) + len(it.Payload)
	if it.Publisher != 0 {
		n += 8 + uvarintLen(it.Number)
	}
	if it.Expiry != 0 {
		n += uvarintLen(uint64(it.Expiry))
	}
	if it.Session != "" {
		n += uvarintLen(uint64(len(it.Session))) + len(it.Session) + uvarintLen(uint64(it.Fence)) + uvarintLen(uint64(it.Packet))
	}
	if len(it.Props) > 0 {
		n += uvarintLen(uint64(len(it.Props))) + len(it.Props)
	}
	return n
}

func (it *Item) appendTo(b []byte) []byte {
	if it.Op != nil {
		return append(b, it.Op...)
	}
	// What has no meaning must not get in: every ledger stops at it.
	flags := byte(it.Flags.WithQoS(it.Flags.QoS()) & flagsMask)
	if it.Publisher != 0 {
		flags |= hasPublisher
	}
	if it.Expiry != 0 {
		flags |= hasExpiry
	}
	if it.Session != "" {
		flags |= hasSession
	}
	if len(it.Props) > 0 {
		flags |= hasProps
	}
	b = append(b, flags)
	if it.Publisher != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(it.Publisher))
		b = binary.AppendUvarint(b, it.Number)
	}
	if it.Expiry != 0 {
		b = binary.AppendUvarint(b, uint64(it.Expiry))
	}
	if it.Session != "" {
		b = binary.AppendUvarint(b, uint64(len(it.Session)))
		b = append(b, it.Session...)
		b = binary.AppendUvarint(b, uint64(it.Fence))
		b = binary.AppendUvarint(b, uint64(it.Packet))
	}
	b = binary.AppendUvarint(b, uint64(len(it.Subject)))
	b = append(b, it.Subject...)
	if len(it.Props) > 0 {
		b = binary.AppendUvarint(b, uint64(len(it.Props)))
		b = append(b, it.Props...)
	}
	return append(b, it.Payload...)
}

// rawItem is an item as it lies in an entry: its slices point into the entry.
type rawItem struct {
	subject   []byte
	props     []byte
	payload   []byte
	publisher PublisherID
	number    uint64
	expiry    uint32
	flags     Flags

	session []byte // nil: no session has numbered it
	fence   Fence
	packet  uint16
}

var (
	errShortItem  = fmt.Errorf("%w: item cut short", ErrEntry)
	errNewerFlags = fmt.Errorf("%w: item with flags of a newer version", ErrEntry)
)

// parseItem reads one item, b being exactly its bytes. It allocates nothing. A
// flag that this version does not know is an error: a member that placed the item
// without it would differ from those that know it (S1).
func parseItem(b []byte) (it rawItem, err error) {
	if len(b) < 1 {
		return it, errShortItem
	}
	flags := b[0]
	b = b[1:]
	if it.flags = Flags(flags) &^ (hasSession | hasPublisher | hasExpiry | hasProps); it.flags&^flagsMask != 0 || it.flags.QoS() > 2 {
		return it, errNewerFlags
	}
	if flags&hasPublisher != 0 {
		if len(b) < 8 {
			return it, errShortItem
		}
		it.publisher = PublisherID(binary.BigEndian.Uint64(b))
		n, w := binary.Uvarint(b[8:])
		if w <= 0 {
			return it, errShortItem
		}
		it.number, b = n, b[8+w:]
	}
	if flags&hasExpiry != 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > 1<<32-1 {
			return it, errShortItem
		}
		it.expiry, b = uint32(n), b[w:]
	}
	if flags&hasSession != 0 {
		c := cutter{rest: b}
		it.session, it.fence, it.packet = c.bytes(), Fence(c.num(1<<64-1)), uint16(c.num(1<<16-1))
		if c.short {
			return it, errShortItem
		}
		b = c.rest
	}
	if it.subject, b, err = cutBytes(b); err != nil {
		return it, err
	}
	if flags&hasProps != 0 {
		if it.props, b, err = cutBytes(b); err != nil {
			return it, err
		}
	}
	it.payload = b
	return it, nil
}

// cutBytes takes a length and that many bytes from the front of b.
func cutBytes(b []byte) (head, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, errShortItem
	}
	end := w + int(n)
	return b[w:end:end], b[end:], nil
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
