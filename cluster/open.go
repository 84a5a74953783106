package cluster

import (
	"bytes"
	"errors"
	"fmt"
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
	c.Log.Info().Stringer("cluster", s.Cluster).Str("node", fmt.Sprintf("%016x", s.Node)).Uint32("life", s.Life).
		Uint64("index", uint64(m.broker.Head())).Uint64("entries", s.Last+1-s.First).Dur("took", time.Since(start)).Msg("member ready")
	return m, nil
}

// load reads what the directory holds, or makes what a first start needs.
func (m *Member) load(fresh bool) error {
	id := &m.dir.id
	wc := wal.Config{SegmentBytes: m.cfg.SegmentBytes, ClusterID: uint64(id.Cluster), NodeID: id.Node}
	if fresh {
		log, err := wal.Create(m.dir.log, wc)
		if err != nil {
			return m.dir.explain(err, filepath.Join(m.dir.path, logDir))
		}
		m.log = &sharedLog{log: log}
		h := snap.Header{Cluster: uint64(id.Cluster), Conf: &pb.ConfState{Voters: []uint64{id.Node}}}
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

// loadBase loads the oldest snapshot that the log goes on from. Older ones are
// left over from a compaction that was cut short; younger ones may become the
// base, unless they are cut short themselves.
func (m *Member) loadBase() (base engine.Mark, younger []uint64, ledger *stream.Ledger, err error) {
	dir, cluster := m.dir.snap, uint64(m.dir.id.Cluster)
	all, err := snap.List(dir)
	if err != nil {
		return base, nil, nil, m.dir.explain(err, filepath.Join(m.dir.path, snapDir))
	}
	first, last := m.log.First(), m.log.Last()
	found := false
	for _, i := range all {
		switch {
		case i+1 < first:
			m.removeSnapshot(i, "it is older than the log")
		case !found:
			if base, ledger, err = m.readSnapshot(i); err != nil {
				return base, nil, nil, m.dir.explain(err, dir.Path(snap.Name(i)))
			}
			found = true
		case i > last:
			return base, nil, nil, refuse(nil, "%s is of entry %d, but the log in %s ends at entry %d: restore the whole directory from a copy, or empty it and start with nothing",
				dir.Path(snap.Name(i)), i, filepath.Join(m.dir.path, logDir), last)
		default:
			if err := snap.Check(dir, i, cluster); errors.Is(err, snap.ErrDamaged) {
				m.removeSnapshot(i, "it was being written when the node stopped")
			} else if err != nil {
				return base, nil, nil, m.dir.explain(err, dir.Path(snap.Name(i)))
			} else {
				younger = append(younger, i)
			}
		}
	}
	if !found {
		return base, nil, nil, refuse(nil, "%s holds no snapshot that the log can go on from, which begins at entry %d: restore the whole directory from a copy, or empty it and start with nothing",
			filepath.Join(m.dir.path, snapDir), first)
	}
	return base, younger, ledger, nil
}

func (m *Member) readSnapshot(index uint64) (engine.Mark, *stream.Ledger, error) {
	r, err := snap.Open(m.dir.snap, index, uint64(m.dir.id.Cluster))
	if err != nil {
		return engine.Mark{}, nil, err
	}
	defer r.Close()
	var ledger *stream.Ledger
	if ledger, err = stream.ReadSnapshot(r); err == nil {
		_, err = new(bytes.Buffer).ReadFrom(r) // to the end, which is checked
	}
	if err != nil {
		return engine.Mark{}, nil, fmt.Errorf("%s: %w", m.dir.snap.Path(snap.Name(index)), err)
	}
	return engine.Mark{Index: r.Header.Index, Term: r.Header.Term, Conf: r.Header.Conf}, ledger, nil
}

func (m *Member) removeSnapshot(index uint64, why string) {
	file := m.dir.snap.Path(snap.Name(index))
	if err := m.dir.snap.Remove(snap.Name(index)); err != nil {
		m.cfg.Log.Warn().Err(err).Str("file", file).Msg("could not remove a snapshot that is of no use")
		return
	}
	m.cfg.Log.Info().Str("file", file).Msg("removed a snapshot: " + why)
}
