package cluster

import (
	"path/filepath"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/cluster/snap"
	"github.com/nackmq/nackmq/cluster/store"
)

// Open starts the member whose data is in c.DataDir, or a new one if the
// directory is empty, and returns when it has caught up with its log. The error
// of a directory that cannot be used is ErrDataDir, and one sentence.
func Open(c Config) (*Member, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.setDefaults()
	start := time.Now()
	dir, fresh, err := openDataDir(&c)
	if err != nil {
		return nil, err
	}
	m := &Member{
		cfg: c, dir: dir, born: time.Now(),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), halt: make(chan struct{}),
		toDisk: make(chan diskWork, 2), written: make(chan diskDone, 2),
		toHouse: make(chan engine.Snapshot, 1), saved: make(chan saved, 1),
		ready: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := m.load(fresh); err != nil {
		if m.store != nil {
			m.store.Log.Close()
		}
		dir.close()
		return nil, err
	}
	m.metrics = newMetrics(c.Registerer, m)
	m.wg.Add(3)
	go m.loop()
	go m.disk()
	go m.house()
	select {
	case <-m.ready:
	case <-m.stopped:
		m.Close()
		return nil, m.Err()
	}
	s := m.Status()
	c.Log.Info().Stringer("cluster", s.Cluster).Stringer("node", s.Node).Uint32("life", s.Life).
		Uint64("index", uint64(m.broker.Head())).Uint64("entries", s.Last+1-s.First).Dur("took", time.Since(start)).Msg("member ready")
	return m, nil
}

// load reads what the directory holds, or makes what a first start needs.
func (m *Member) load(fresh bool) error {
	id := &m.dir.id
	c := store.Config{Log: m.dir.log, Snap: m.dir.snap, Cluster: id.Cluster, Node: id.Node, SegmentBytes: m.cfg.SegmentBytes}
	var found store.Found
	var err error
	if fresh {
		m.store, found, err = store.Create(c, id.Node)
	} else {
		m.store, found, err = store.Open(c)
	}
	if err != nil {
		return m.dir.explain(err, m.dir.path)
	}
	m.log = &sharedLog{log: m.store.Log}
	m.tell(fresh, &found)
	if err := m.dir.beginLife(); err != nil {
		return err
	}
	m.broker = broker.New(found.Ledger)
	m.queue = engine.NewQueue(id.Node, id.Life, m.cfg.QueueBytes)
	m.status = Status{Cluster: id.Cluster, Node: id.Node, Life: id.Life}
	m.engine, err = engine.New(engine.Config{
		Node: id.Node, Life: id.Life,
		Log: m.log, State: m.store.Log.State(), Base: found.Base, Younger: found.Younger, Machine: m.broker,
		Limits: m.cfg.Limits, SnapshotBytes: m.cfg.SnapshotBytes,
		Logger: raftLog{m.cfg.Log}, Applied: m.observe,
	}, m.now())
	if err != nil {
		return refuse(err, "%s and %s do not fit together (%v): put back a copy of the whole directory if nothing was confirmed since it was made, or empty it and start with nothing",
			filepath.Join(m.dir.path, logDir), m.dir.snap.Path(snap.Name(found.Base.Index)), err)
	}
	return nil
}

// tell says what a start found that an operator wants to know.
func (m *Member) tell(fresh bool, f *store.Found) {
	log := &m.cfg.Log
	if fresh {
		log.Info().Str("dir", m.dir.path).Stringer("cluster", m.dir.id.Cluster).Msg("new cluster of one member")
	}
	if f.Log.Repaired {
		log.Warn().Str("file", f.Log.RepairedFile).Int64("bytes", f.Log.RepairedBytes).
			Msg("removed the end of the log, which was being written when the node stopped; nothing in it was confirmed")
	}
	if f.Log.Guard != "" {
		log.Warn().Str("found", f.Log.Guard).Msg("put the guard of the log right")
	}
	for _, r := range f.Removed {
		if r.Err != nil {
			log.Warn().Err(r.Err).Str("file", r.Path).Msg("could not remove a snapshot that is of no use")
		} else {
			log.Info().Str("file", r.Path).Msg("removed a snapshot: " + r.Why)
		}
	}
}
