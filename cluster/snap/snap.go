// Package snap is the snapshot file: what a machine was at one entry of the log,
// with the members at that entry. It is pure over a wal.Dir.
//
// A file is written under its own name and needs no renaming: it is whole when
// its last record, the end, is, and the end is written when all before it is
// synced. One that was cut short is of no use to anybody and is removed at the next
// start; a snapshot is read back and checked before anything that it replaces is
// deleted.
//
// Layout, all integers big-endian, sums CRC-32C:
//
//	header   magic "NACKSNAP" | format u32 | cluster u64 | index u64 | term u64 |
//	         n u32 | n bytes of ConfState (protobuf) | sum u32 of all before
//	chunk    n u32, 1 to maxChunk | sum u32 | n bytes
//	…
//	end      0 u32 | sum u32 | bytes in all chunks u64
//
// Each sum goes on from the one before, so that chunks cannot change places.
package snap

import (
	"errors"
	"fmt"
	"hash/crc32"

	pb "go.etcd.io/raft/v3/raftpb"
)

const (
	magic    = "NACKSNAP"
	format   = 1
	fixed    = len(magic) + 4 + 3*8 + 4
	maxChunk = 256 << 10
	maxConf  = 1 << 20
	endSize  = 16
	suffix   = ".snap"

	// syncEvery spreads the writing of a large snapshot, so that its end is not
	// one sync that makes the log's syncs wait.
	syncEvery = 4 << 20
)

var sums = crc32.MakeTable(crc32.Castagnoli)

// Header says what a snapshot is of.
type Header struct {
	Cluster     uint64
	Index, Term uint64
	Conf        *pb.ConfState
}

var (
	// ErrDamaged: the file is not what was written.
	ErrDamaged = errors.New("snap: damaged")
	// ErrNewer: a newer version wrote it.
	ErrNewer = errors.New("snap: newer format")
	// ErrForeign: it is of another cluster.
	ErrForeign = errors.New("snap: another cluster")
)

// refusal is a sentence for people that is still one of the errors above.
type refusal struct {
	sentence string
	is       error
}

func (r *refusal) Error() string { return r.sentence }
func (r *refusal) Unwrap() error { return r.is }

func damaged(path, what string) error {
	return &refusal{fmt.Sprintf("snap: %s %s: put back a copy of the whole data directory if nothing was confirmed since it was made, or empty it and let the node join again under a new identity", path, what), ErrDamaged}
}

// Name gives the file name of the snapshot at index.
func Name(index uint64) string { return fmt.Sprintf("%020d%s", index, suffix) }
