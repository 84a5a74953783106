package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A segment begins with a header of 128 bytes, little endian. Magic, version and
// crc stay where they are in every version to come, and crc always covers all 128
// bytes (itself as zero), so that a newer version can be told from damage.
//
//	0            8         12     16        24     32        40
//	| NACKWAL\n  | version | crc  | cluster | node | segment | number
//	48     56           64          72           80     88       96     100
//	| next | base index | base term | state term | vote | commit | prev | flags | zeros |
//
// number is a batch number: the beginning of a segment counts as a batch. next is
// the index behind the last entry so far, prev the crc of the last frame before.
// flags is 1 if the log begins anew here, behind the base (Reset).
const (
	headerSize  = 128
	version     = 1
	flagReset   = 1
	headerMagic = "NACKWAL\n"
)

type header struct {
	cluster, node uint64
	segment       uint64
	number        uint64
	next          uint64
	base, term    uint64
	state         State
	prev          uint32
	reset         bool
	crc           uint32
}

func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, headerMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	for i, v := range []uint64{h.cluster, h.node, h.segment, h.number, h.next, h.base, h.term, h.state.Term, h.state.Vote, h.state.Commit} {
		le.PutUint64(b[16+8*i:], v)
	}
	le.PutUint32(b[96:], h.prev)
	if h.reset {
		le.PutUint32(b[100:], flagReset)
	}
	h.crc = crc32.Checksum(b, castagnoli)
	le.PutUint32(b[12:], h.crc)
	return b
}

// decodeHeader checks what can be checked without the other files.
func decodeHeader(b []byte, path string) (header, error) {
	if err := checkBlock(b, headerMagic, path, "segment header"); err != nil {
		return header{}, err
	}
	le := binary.LittleEndian
	u := func(off int) uint64 { return le.Uint64(b[off:]) }
	return header{
		cluster: u(16), node: u(24), segment: u(32), number: u(40), next: u(48), base: u(56), term: u(64),
		state: State{Term: u(72), Vote: u(80), Commit: u(88)},
		prev:  le.Uint32(b[96:]), reset: le.Uint32(b[100:])&flagReset != 0, crc: le.Uint32(b[12:]),
	}, nil
}

// checkBlock checks magic, checksum and version of a header or guard slot.
func checkBlock(b []byte, magic, path, what string) error {
	le := binary.LittleEndian
	if string(b[:8]) != magic {
		return corrupt(path, "does not begin with a %s", what)
	}
	crc := crc32.Update(0, castagnoli, b[:12])
	crc = crc32.Update(crc, castagnoli, []byte{0, 0, 0, 0})
	crc = crc32.Update(crc, castagnoli, b[16:])
	if crc != le.Uint32(b[12:]) {
		return corrupt(path, "has a damaged %s", what)
	}
	if v := le.Uint32(b[8:]); v > version {
		return &refusal{fmt.Sprintf("wal: %s has format %d, this program reads up to %d: start the newer version again", path, v, version), ErrNewer}
	}
	return nil
}

func (c Config) checkOwner(cluster, node uint64, path string) error {
	if cluster == c.ClusterID && node == c.NodeID {
		return nil
	}
	return &refusal{fmt.Sprintf("wal: %s belongs to node %x of cluster %x and this is node %x of cluster %x: give this node its own directory",
		path, node, cluster, c.NodeID, c.ClusterID), ErrForeign}
}

func segmentName(n uint64) string { return fmt.Sprintf("%016x.wal", n) }
