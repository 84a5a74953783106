package cluster

import (
	"errors"
	"io"
	"path/filepath"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/cluster/engine"
	"github.com/nackmq/nackmq/cluster/snap"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
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
		if m.log != nil {
			m.log.log.Close()
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
	wc := wal.Config{SegmentBytes: m.cfg.SegmentBytes, ClusterID: uint64(id.Cluster), NodeID: uint64(id.Node)}
	if fresh {
		log, err := wal.Create(m.dir.log, wc)
		if err != nil {
			return m.dir.explain(err, filepath.Join(m.dir.path, logDir))
		}
		m.log = &sharedLog{log: log}
		h := snap.Header{Cluster: uint64(id.Cluster), Conf: &pb.ConfState{Voters: []uint64{uint64(id.Node)}}}
		if _, err := snap.Write(m.dir.snap, h, stream.NewLedger(id.Cluster).View()); err != nil {
			return m.dir.explain(err, filepath.Join(m.dir.path, snapDir))
		}
		m.cfg.Log.Info().Str("dir", m.dir.path).Stringer("cluster", id.Cluster).Msg("new cluster of one member")
	} else if err := m.openLog(wc); err != nil {
		return err
	}
	base, younger, ledger, err := m.loadBase()
	if err != nil {
		return err
	}
	if err := m.dir.beginLife(); err != nil {
		return err
	}
	m.broker = broker.New(ledger)
	m.queue = engine.NewQueue(id.Node, id.Life, m.cfg.QueueBytes)
	m.status = Status{Cluster: id.Cluster, Node: id.Node, Life: id.Life}
	m.engine, err = engine.New(engine.Config{
		Node: id.Node, Life: id.Life,
		Log: m.log, State: m.log.log.State(), Base: base, Younger: younger, Machine: m.broker,
		Limits: m.cfg.Limits, SnapshotBytes: m.cfg.SnapshotBytes,
		Logger: raftLog{m.cfg.Log}, Applied: m.observe,
	}, m.now())
	if err != nil {
		return refuse(err, "%s and %s do not fit together (%v): restore the whole directory from a copy, or empty it and start with nothing",
			filepath.Join(m.dir.path, logDir), m.dir.snap.Path(snap.Name(base.Index)), err)
	}
	return nil
}

func (m *Member) openLog(wc wal.Config) error {
	path := filepath.Join(m.dir.path, logDir)
	log, report, err := wal.Open(m.dir.log, wc)
	if errors.Is(err, wal.ErrNoLog) {
		return refuse(err, "%s holds no log, but %s is there: restore the whole directory from a copy, or empty it and start with nothing",
			path, filepath.Join(m.dir.path, nodeFile))
	}
	if err != nil {
		return m.dir.explain(err, path)
	}
	m.log = &sharedLog{log: log}
	if report.Repaired {
		m.cfg.Log.Warn().Str("file", report.RepairedFile).Int64("bytes", report.RepairedBytes).
			Msg("removed the end of the log, which was being written when the node stopped; nothing in it was confirmed")
	}
	if report.Guard != "" {
		m.cfg.Log.Warn().Str("found", report.Guard).Msg("put the guard of the log right")
	}
	return nil
}

// loadBase loads the snapshot that the log goes on from.
func (m *Member) loadBase() (base engine.Mark, younger []uint64, ledger *stream.Ledger, err error) {
	dir, cluster := m.dir.snap, uint64(m.dir.id.Cluster)
	set, err := snap.Survey(dir, cluster, m.log.First(), m.log.Last())
	if err != nil {
		return base, nil, nil, m.dir.explain(err, filepath.Join(m.dir.path, snapDir))
	}
	h, err := snap.Load(dir, set.Base, cluster, func(r io.Reader) (err error) {
		ledger, err = stream.ReadSnapshot(r)
		return err
	})
	if err != nil {
		return base, nil, nil, m.dir.explain(err, dir.Path(snap.Name(set.Base)))
	}
	for _, i := range set.Stale {
		m.removeSnapshot(i, "it is older than the log")
	}
	for _, i := range set.Torn {
		m.removeSnapshot(i, "it was being written when the node stopped")
	}
	return engine.Mark{Index: h.Index, Term: h.Term, Conf: h.Conf}, set.Younger, ledger, nil
}

func (m *Member) removeSnapshot(index uint64, why string) {
	file := m.dir.snap.Path(snap.Name(index))
	if err := m.dir.snap.Remove(snap.Name(index)); err != nil {
		m.cfg.Log.Warn().Err(err).Str("file", file).Msg("could not remove a snapshot that is of no use")
		return
	}
	m.cfg.Log.Info().Str("file", file).Msg("removed a snapshot: " + why)
}
