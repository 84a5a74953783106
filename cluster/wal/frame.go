package wal

import (
	"encoding/binary"
	"hash/crc32"
)

// A frame, little endian, at a multiple of 8:
//
//	0       3       4        8                16       20       24
//	| "NWL" | flags | length | number         | prev   | crc    | body | zeros to 8 |
//
// flags is 1 on the last frame of a batch. length is the body's. number is the
// batch's. prev is the crc of the frame before; for a segment's first frame, of
// its header. crc is CRC-32C over the segment header's crc, the frame's offset as
// 8 bytes, the first 20 bytes of the frame, and the body.
//
// The body is records, integers uvarint:
//
//	entry: 1 | kind u8 | index | term | length | data
//	state: 2 | term | vote | commit
//	base:  3 | index | term
//
// The entries of a frame follow each other.
const (
	frameHeader = 24
	frameBody   = 64 << 10 // a body ends with the record that reaches this
	flagLast    = 1
	maxBatch    = 1 << 30

	recordEntry = 1
	recordState = 2
	recordBase  = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type frame struct {
	number    uint64
	prev, crc uint32
	last      bool
	body      []byte
	size      int64 // with header and padding
}

// seal fills in the header of the frame that begins at b[0] and is to lie at off.
func seal(b []byte, salt uint32, off int64, number uint64, prev uint32, last bool) (crc uint32) {
	b[0], b[1], b[2], b[3] = 'N', 'W', 'L', 0
	if last {
		b[3] = flagLast
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHeader))
	binary.LittleEndian.PutUint64(b[8:], number)
	binary.LittleEndian.PutUint32(b[16:], prev)
	crc = frameCRC(b[:20], b[frameHeader:], salt, off)
	binary.LittleEndian.PutUint32(b[20:], crc)
	return crc
}

func frameCRC(head, body []byte, salt uint32, off int64) uint32 {
	var o [8]byte
	binary.LittleEndian.PutUint64(o[:], uint64(off))
	crc := crc32.Update(salt, castagnoli, o[:])
	crc = crc32.Update(crc, castagnoli, head)
	return crc32.Update(crc, castagnoli, body)
}

// frameLength says how long a frame with this header is, and whether it can be one.
func frameLength(head []byte) (body int, ok bool) {
	if len(head) < frameHeader || head[0] != 'N' || head[1] != 'W' || head[2] != 'L' || head[3]&^flagLast != 0 {
		return 0, false
	}
	n := binary.LittleEndian.Uint32(head[4:])
	return int(n), n <= maxBatch
}

// frameNumber gives what a frame's header says of its batch.
func frameNumber(head []byte) uint64 { return binary.LittleEndian.Uint64(head[8:]) }

// parse checks a frame that lies at off; b is its header and body.
func parse(b []byte, salt uint32, off int64) (frame, bool) {
	f := frame{
		number: binary.LittleEndian.Uint64(b[8:]),
		prev:   binary.LittleEndian.Uint32(b[16:]),
		crc:    binary.LittleEndian.Uint32(b[20:]),
		last:   b[3]&flagLast != 0,
		body:   b[frameHeader:],
		size:   align(int64(len(b))),
	}
	return f, f.crc == frameCRC(b[:20], f.body, salt, off)
}

func align(n int64) int64 { return (n + 7) &^ 7 }

// record is one record of a body; which fields hold is said by tag.
type record struct {
	tag        byte
	entry      Entry
	state      State
	base, term uint64
}

// next takes a record from the front of a body. A body whose checksum holds was
// written by us, so !ok is a newer version's record or a fault of our own.
func next(b []byte) (r record, rest []byte, ok bool) {
	r.tag, b = b[0], b[1:]
	num := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	ok = true
	switch r.tag {
	case recordEntry:
		if len(b) == 0 {
			return r, nil, false
		}
		r.entry.Kind, b = b[0], b[1:]
		r.entry.Index, r.entry.Term = num(), num()
		n := num()
		if !ok || n > uint64(len(b)) {
			return r, nil, false
		}
		r.entry.Data, b = b[:n:n], b[n:]
	case recordState:
		r.state = State{Term: num(), Vote: num(), Commit: num()}
	case recordBase:
		r.base, r.term = num(), num()
	default:
		ok = false
	}
	return r, b, ok
}

func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, recordEntry, e.Kind)
	b = binary.AppendUvarint(b, e.Index)
	b = binary.AppendUvarint(b, e.Term)
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	return append(b, e.Data...)
}

func appendState(b []byte, s State) []byte {
	b = append(b, recordState)
	b = binary.AppendUvarint(b, s.Term)
	b = binary.AppendUvarint(b, s.Vote)
	return binary.AppendUvarint(b, s.Commit)
}

func appendBase(b []byte, index, term uint64) []byte {
	b = append(b, recordBase)
	b = binary.AppendUvarint(b, index)
	return binary.AppendUvarint(b, term)
}
