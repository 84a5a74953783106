package engine

import (
	"fmt"
	"testing"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// Nobody leads by a vote that is not on the disk.
func TestVoteIsDurableFirst(t *testing.T) {
	m := newMember(t, nil)
	again := &member{t: t, log: m.log, broker: broker.New(stream.NewLedger(1)), now: m.now}
	var err error
	again.eng, err = New(Config{Node: 1, Life: 2, Log: m.log, State: m.log.State(),
		Base: Mark{Conf: &pb.ConfState{Voters: []uint64{1}}}, Machine: again.broker}, again.now)
	if err != nil {
		t.Fatal(err)
	}
	for again.eng.Step() { // what was committed before
	}
	w, ok := again.eng.PollWrite()
	if !ok || w.State == nil || w.State.Term != 2 || w.State.Vote != 1 {
		t.Fatalf("the first write is %+v (%v), want the vote in term 2", w, ok)
	}
	if again.eng.Status().Leading {
		t.Fatal("it leads before its vote is durable")
	}
	again.eng.HandleWritten(again.log.Append(w.State, w.Entries))
	if !again.eng.Status().Leading {
		t.Error("it does not lead although its vote is durable")
	}
}

// What raft replaces while a write is under way is not written at all, and all who
// wait for it are answered in order.
func TestWriteMergesWhatWasGathered(t *testing.T) {
	entries := func(term uint64, from, to uint64) (es []*pb.Entry) {
		for i := from; i <= to; i++ {
			es = append(es, &pb.Entry{Index: new(i), Term: new(term)})
		}
		return es
	}
	message := func(term uint64, commit uint64, es []*pb.Entry, answers uint64) *pb.Message {
		m := &pb.Message{To: new(uint64(raft.LocalAppendThread)), Entries: es, Responses: []*pb.Message{{Index: new(answers)}}}
		if term > 0 {
			m.Term, m.Vote, m.Commit = new(term), new(uint64(0)), new(commit)
		}
		return m
	}
	for name, tt := range map[string]struct {
		gathered []*pb.Message
		want     string
	}{
		"in a row":        {[]*pb.Message{message(1, 0, entries(1, 1, 2), 1), message(0, 0, entries(1, 3, 3), 2)}, "[1/1 2/1 3/1] {1 0 0} [1 2]"},
		"some replaced":   {[]*pb.Message{message(1, 0, entries(1, 1, 4), 1), message(2, 1, entries(2, 3, 3), 2)}, "[1/1 2/1 3/2] {2 0 1} [1 2]"},
		"all replaced":    {[]*pb.Message{message(1, 0, entries(1, 5, 6), 1), message(2, 0, entries(2, 4, 4), 2)}, "[4/2] {2 0 0} [1 2]"},
		"only the commit": {[]*pb.Message{message(1, 0, entries(1, 1, 1), 1), message(1, 1, nil, 2)}, "[1/1] {1 0 1} [1 2]"},
	} {
		t.Run(name, func(t *testing.T) {
			e := new(Engine)
			for _, m := range tt.gathered {
				e.write.add(m)
			}
			if r := e.write.free(); r != nil {
				t.Fatalf("%d answers before anything is written", len(r))
			}
			w, ok := e.PollWrite()
			if !ok {
				t.Fatal("nothing to write")
			}
			var es []string
			for _, x := range w.Entries {
				es = append(es, fmt.Sprintf("%d/%d", x.Index, x.Term))
			}
			var answers []uint64
			for _, r := range e.write.responses {
				answers = append(answers, r.GetIndex())
			}
			if w.State == nil {
				w.State = new(wal.State)
			}
			if got := fmt.Sprint(es, " ", *w.State, " ", answers); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
