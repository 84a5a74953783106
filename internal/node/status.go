package node

import (
	"fmt"
	"time"
)

// A Build says what the running binary was made from.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

// A State is how far a node is in its life.
type State int32

// A node goes through its states in this order.
const (
	Starting State = iota // the log is being read
	Ready                 // every door is open
	Stopping              // asked to stop, or it had to
)

func (s State) String() string {
	switch s {
	case Starting:
		return "starting: the log is being read"
	case Ready:
		return "ready"
	case Stopping:
		return "stopping"
	}
	return fmt.Sprintf("State(%d)", int32(s))
}

// A Status is what a node says about itself at /api/v1/status.
type Status struct {
	Name      string    `json:"name"`
	Cluster   string    `json:"cluster,omitempty"` // the log's identity, 16 hexadecimal digits
	Build               // flattened
	State     string    `json:"state"`
	Ready     bool      `json:"ready"`
	Started   time.Time `json:"started"`
	Now       time.Time `json:"now"` // by this machine's clock
	Listen    Addresses `json:"listen"`
	DataDir   string    `json:"data_dir"`
	Log       Log       `json:"log"`
	Anonymous bool      `json:"allow_anonymous"`
}

// Log is what a Status says about the log.
type Log struct {
	Applied       uint64 `json:"applied"` // entries
	Head          uint64 `json:"head"`    // index of the newest message
	Tail          uint64 `json:"tail"`    // index before the oldest message in the cache
	Subjects      int    `json:"subjects"`
	Publishers    int    `json:"publishers"`
	CacheBytes    int64  `json:"cache_bytes"`
	RetainedBytes int64  `json:"retained_bytes"`
}

// Status gives the node's state of the moment.
func (n *Node) Status() Status {
	state := n.State()
	s := Status{
		Name:      n.cfg.Name(),
		Build:     n.build,
		State:     state.String(),
		Ready:     state == Ready,
		Started:   n.started.UTC(),
		Now:       time.Now().UTC(),
		Listen:    n.addrs,
		DataDir:   n.cfg.DataDir,
		Anonymous: n.cfg.AllowAnonymous,
	}
	if state == Starting {
		return s
	}
	b := n.member.Broker()
	st := b.Stats()
	s.Cluster = b.Cluster().String()
	s.Log = Log{
		Applied: st.Applied, Head: uint64(st.Head), Tail: uint64(st.Tail),
		Subjects: st.Subjects, Publishers: st.Publishers,
		CacheBytes: st.CacheBytes, RetainedBytes: st.RetainedBytes,
	}
	return s
}
