package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// The guard file: two slots of 128 bytes, each in a sector of its own, little
// endian, the first 16 bytes as in a segment header:
//
//	0            8         12     16        24     32       40      48     56
//	| NACKGRD\n  | version | crc  | cluster | node | number | first | last | offset
//	64      68     72           80          88           96          104
//	| chain | 0    | last index | last term | base index | base term | zeros |
//
// number, offset and chain tell the end of the last batch known to be synced;
// first and last are the segments that must exist, offset lies in the last. last
// is zero while a log is being created.
//
// Slots are written in turn, each whole or not at all, since it lies within a
// sector. If one cannot be read, it is damaged, and it said at most one batch more
// than the other one: the log must hold that batch.
const (
	guardName  = "guard"
	guardMagic = "NACKGRD\n"
	guardSlot  = 512
	guardSize  = 4096
)

type guard struct {
	number      uint64
	first, last uint64 // segments
	offset      int64
	chain       uint32
	index, term uint64 // of the last entry
	base, bterm uint64
}

func (g *guard) encode(c Config) []byte {
	b := make([]byte, headerSize)
	copy(b, guardMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	for i, v := range []uint64{c.ClusterID, c.NodeID, g.number, g.first, g.last, uint64(g.offset), uint64(g.chain), g.index, g.term, g.base, g.bterm} {
		le.PutUint64(b[16+8*i:], v)
	}
	le.PutUint32(b[12:], crc32.Checksum(b, castagnoli))
	return b
}

func decodeGuard(b []byte, path string, c Config) (guard, error) {
	if err := checkBlock(b, guardMagic, path, "guard slot"); err != nil {
		return guard{}, err
	}
	u := func(off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
	if err := c.checkOwner(u(16), u(24), path); err != nil {
		return guard{}, err
	}
	return guard{number: u(32), first: u(40), last: u(48), offset: int64(u(56)), chain: uint32(u(64)),
		index: u(72), term: u(80), base: u(88), bterm: u(96)}, nil
}

// readGuard returns the newer slot, and whether the other one is unreadable.
func readGuard(f File, path string, c Config) (g guard, torn bool, err error) {
	b := make([]byte, 2*guardSlot)
	if n, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return guard{}, false, fmt.Errorf("wal: %w", err)
	} else if n == 0 || zero(b) {
		return guard{}, false, ErrNoLog // created, not yet written; the caller knows whether that may be
	}
	g0, err0 := decodeGuard(b[:headerSize], path, c)
	g1, err1 := decodeGuard(b[guardSlot:guardSlot+headerSize], path, c)
	for _, err := range []error{err0, err1} {
		if _, damaged := err.(*CorruptError); err != nil && !damaged {
			return guard{}, false, err // foreign or newer
		}
	}
	switch {
	case err0 != nil && err1 != nil:
		return guard{}, false, corrupt(path, "is damaged in both slots")
	case err0 == nil && (err1 != nil || g0.number >= g1.number):
		return g0, err1 != nil, nil
	default:
		return g1, err0 != nil, nil
	}
}

func zero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
