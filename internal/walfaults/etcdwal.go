package main

import (
	"errors"
	"io"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// etcdLog reads all when it opens, as etcd's server does, and repairs once.
type etcdLog struct {
	w    *wal.WAL
	data [][]byte
	told string
	es   []*raftpb.Entry
	st   raftpb.HardState
}

var etcdWAL = kind{
	name: "etcd wal 3.7.3",
	create: func(dir string, segment int) (store, error) {
		wal.SegmentSizeBytes = int64(segment)
		w, err := wal.Create(zap.NewNop(), dir, []byte("meta"))
		return &etcdLog{w: w}, err
	},
	open: func(dir string, segment int) (store, error) {
		wal.SegmentSizeBytes = int64(segment)
		o := &etcdLog{}
		for {
			w, err := wal.Open(zap.NewNop(), dir, &walpb.Snapshot{})
			if err != nil {
				return nil, err
			}
			_, _, es, err := w.ReadAll()
			if err == nil {
				o.w = w
				for _, e := range es {
					o.data = append(o.data, e.Data)
				}
				return o, nil
			}
			w.Close()
			if o.told != "" || !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, err
			}
			if !wal.Repair(zap.NewNop(), dir) {
				return nil, errors.New("Repair refuses")
			}
			o.told = "Repair cut"
		}
	},
	segments: suffix(".wal"),
}

func (o *etcdLog) add(index uint64, data [][]byte) error {
	o.es = o.es[:0]
	for i, d := range data {
		idx, term := index+uint64(i), uint64(1)
		o.es = append(o.es, &raftpb.Entry{Index: &idx, Term: &term, Data: d})
	}
	term := uint64(1)
	o.st = raftpb.HardState{Term: &term, Commit: &index}
	return o.w.Save(&o.st, o.es)
}

func (o *etcdLog) all() ([][]byte, string, error) { return o.data, o.told, nil }
func (o *etcdLog) close() error                   { return o.w.Close() }
