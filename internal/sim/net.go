package sim

import (
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/nackmq/nackmq/stream"
)

// A network carries messages between members: late, in another order, or not at
// all, until the weather is fine.
type network struct {
	w    *world
	loss int           // one message in so many is lost; 0: none
	far  time.Duration // the longest a message takes
	cut  map[link]bool
}

type link struct{ from, to stream.NodeID }

func newNetwork(w *world) *network {
	return &network{w: w, loss: 5 + w.rnd.IntN(200), far: time.Duration(1+w.rnd.IntN(40)) * time.Millisecond, cut: make(map[link]bool)}
}

// send hands m to the process that is there when it arrives.
func (n *network) send(from *node, m *pb.Message) {
	w := n.w
	l := link{from.id, stream.NodeID(m.GetTo())}
	if n.cut[l] || n.loss > 0 && w.oneIn(n.loss) {
		return
	}
	m = proto.Clone(m).(*pb.Message) // as bytes on a wire do, it shares nothing
	w.after(w.upTo(n.far), "message", func() {
		for _, to := range w.nodes {
			if to.id == l.to && to.p != nil && !n.cut[l] {
				to.p.eng.HandleTime(to.p.time())
				to.p.eng.HandleMessage(m)
				to.p.round()
			}
		}
	})
}

// part cuts a member off for a while, in one direction or in both.
func (n *network) part() {
	w := n.w
	one := w.nodes[w.rnd.IntN(len(w.nodes))].id
	kind := w.rnd.IntN(3)
	for _, o := range w.nodes {
		if o.id != one && kind != 0 {
			n.cut[link{one, o.id}] = true
		}
		if o.id != one && kind != 1 {
			n.cut[link{o.id, one}] = true
		}
	}
	w.tracef("node %v is cut off (%d)", one, kind)
	w.after(w.upTo(4*time.Second), "the network is whole", func() { clear(n.cut) })
}

// repair ends all loss.
func (n *network) repair() {
	n.loss = 0
	clear(n.cut)
}
