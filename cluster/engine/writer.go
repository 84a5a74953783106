package engine

import (
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// A Write is what must be durable before HandleWritten is called, all or nothing.
type Write struct {
	State   *wal.State // nil: as it was
	Entries []wal.Entry
}

// writer gathers what raft wants durable while a write is under way, so that the
// next write takes it all: that is the group commit.
type writer struct {
	gathered []*pb.Message // MsgStorageAppend, oldest first
	out      bool          // a write was polled and is not handled yet

	entries   []*pb.Entry   // of the write under way
	responses []*pb.Message // due when it is durable
	hard      wal.State     // as raft has it
	stored    wal.State     // as the log has it, or will have once the write is done
}

func (w *writer) add(m *pb.Message) {
	w.gathered = append(w.gathered, m)
	if m.Term != nil {
		w.hard = wal.State{Term: m.GetTerm(), Vote: m.GetVote(), Commit: m.GetCommit()}
	}
}

// free gives the responses that wait for no write: raft answers itself through
// its storage even when there is nothing to store.
func (w *writer) free() (responses []*pb.Message) {
	if w.out {
		return nil
	}
	// The commit index alone need not be durable; it travels with the next write.
	if w.hard.Term != w.stored.Term || w.hard.Vote != w.stored.Vote {
		return nil
	}
	for _, m := range w.gathered {
		if len(m.GetEntries()) > 0 {
			return nil
		}
	}
	for _, m := range w.gathered {
		responses = append(responses, m.GetResponses()...)
	}
	w.gathered = nil
	return responses
}

// PollWrite gives the next write. There is one at a time: it gives none before
// HandleWritten has come for the last.
func (e *Engine) PollWrite() (Write, bool) {
	w := &e.write
	if e.err != nil || w.out || len(w.gathered) == 0 {
		return Write{}, false
	}
	var out Write
	var es []*pb.Entry
	for _, m := range w.gathered {
		// A later message may replace what an earlier one appends.
		if next := m.GetEntries(); len(next) > 0 {
			if n := len(es); n > 0 && next[0].GetIndex() <= es[n-1].GetIndex() {
				es = es[:max(int64(next[0].GetIndex())-int64(es[0].GetIndex()), 0)]
			}
			es = append(es, next...)
		}
		w.responses = append(w.responses, m.GetResponses()...)
	}
	if w.hard != w.stored {
		state := w.hard
		out.State, w.stored = &state, state
	}
	w.gathered, w.entries, w.out = nil, es, true
	out.Entries = make([]wal.Entry, len(es))
	for i, en := range es {
		out.Entries[i] = toLog(en)
	}
	return out, true
}

// HandleWritten says that the write is durable, or that it is not known whether
// it is. After an error the engine stops: nothing more is confirmed.
func (e *Engine) HandleWritten(err error) {
	w := &e.write
	if !w.out {
		panic("engine: HandleWritten without PollWrite")
	}
	w.out = false
	if e.err != nil {
		return
	}
	if err != nil {
		e.fail(fmt.Errorf("engine: the log cannot be written, so nothing more is confirmed: %w", err))
		return
	}
	e.store.append(w.entries)
	responses := w.responses
	w.entries, w.responses = nil, nil
	e.respond(responses)
	e.ready()
	e.propose()
}

// Status tells how the engine stands.
type Status struct {
	Term                     uint64
	Leader                   stream.NodeID // 0 if none is known
	Leading                  bool
	Applied, Committed, Last uint64 // indexes of entries
	First                    uint64
	Base                     uint64 // of the snapshot that a start begins with
	Waiting, WaitingBytes    int    // own batches not applied yet, and their bytes
	Members                  *pb.ConfState
	State                    raft.StateType
}

// Status gives it.
func (e *Engine) Status() Status {
	b := e.node.BasicStatus()
	return Status{
		Term: b.HardState.GetTerm(), Leader: stream.NodeID(b.SoftState.Lead), Leading: e.leading, State: b.SoftState.RaftState,
		Applied: e.applied, Committed: b.HardState.GetCommit(), Last: e.store.last, First: e.store.first,
		Base: e.snaps.base, Waiting: len(e.own.waiting), WaitingBytes: e.own.bytes, Members: e.conf,
	}
}

// Ready reports whether the member has caught up with the log and can serve: it
// has applied an entry of the present term.
func (e *Engine) Ready() bool { return e.err == nil && e.lead != 0 && e.settled }
