package engine

import (
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// Log is what the engine reads of the log on disk. What is to be written it asks
// for by PollWrite and PollCompact.
type Log interface {
	First() uint64
	Last() uint64
	Term(index uint64) (uint64, error)
	Entries(lo, hi uint64, maxBytes int64, buf []wal.Entry) ([]wal.Entry, error)
}

// Machine is what entries are applied to: a *broker.Broker.
type Machine interface {
	Apply(stream.Entry) (stream.Applied, error)
	View() *stream.View
	Floor() uint64
	Time() int64
	Due() int64 // when an entry of that time makes something happen; 0: never
	Limits() stream.Limits
}

// A Mark is where a snapshot stands in the log.
type Mark struct {
	Index, Term uint64
	Conf        *pb.ConfState // the members as of Index
}

// Config says what an engine works with. Zero values mean the default that is
// named; the rest must be given.
type Config struct {
	Node stream.NodeID // this member, not 0; raft's name for it, too
	Life uint32        // counts its starts

	Log     Log
	State   wal.State // raft's, as the log has it
	Base    Mark      // the snapshot that Machine was loaded from
	Younger []uint64  // indexes of the snapshots after Base, rising
	Machine Machine
	Limits  stream.Limits // what the cluster's limits are to be; each has its default

	SnapshotBytes int64         // log bytes between two snapshots; default half of Limits.CacheBytes
	InflightBytes int           // of batches proposed and not applied; default 8 MiB
	TailBytes     int           // of the entries kept in memory for raft; default 16 MiB
	TickEvery     time.Duration // default 50 ms; an election takes 10 to 20 of them
	NoQuorumAfter time.Duration // without a leader, publications are refused; default 2 s
	Logger        raft.Logger   // default: nothing is logged
	Applied       func(*Batch)  // called after the Dones of a batch that got its places; may be nil
}

const (
	heartbeatTicks = 1
	electionTicks  = 10
	reproposeAfter = time.Second // by a member that follows, if its oldest batch does not come back
	applyBytes     = 512 << 10   // applied by one Step
)

func (c *Config) setDefaults() {
	c.Limits = c.Limits.WithDefaults()
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = max(c.Limits.CacheBytes/2, 1<<20)
	}
	if c.InflightBytes == 0 {
		c.InflightBytes = 8 << 20
	}
	if c.TailBytes == 0 {
		c.TailBytes = 16 << 20
	}
	if c.TickEvery == 0 {
		c.TickEvery = 50 * time.Millisecond
	}
	if c.NoQuorumAfter == 0 {
		c.NoQuorumAfter = 2 * time.Second
	}
	if c.Logger == nil {
		c.Logger = silent{}
	}
}
