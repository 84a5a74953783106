package main

import (
	"fmt"

	"github.com/nackmq/nackmq/cluster/wal"
)

type oursLog struct {
	d    *wal.OSDir
	l    *wal.Log
	told string
	es   []wal.Entry
}

var ours = kind{
	name: "cluster/wal",
	create: func(dir string, segment int) (store, error) {
		d, err := wal.OpenDir(dir)
		if err != nil {
			return nil, err
		}
		l, err := wal.Create(d, wal.Config{SegmentBytes: int64(segment), ClusterID: 1, NodeID: 1})
		return &oursLog{d: d, l: l}, err
	},
	open: func(dir string, segment int) (store, error) {
		d, err := wal.OpenDir(dir)
		if err != nil {
			return nil, err
		}
		l, r, err := wal.Open(d, wal.Config{SegmentBytes: int64(segment), ClusterID: 1, NodeID: 1})
		o := &oursLog{d: d, l: l}
		if r.Repaired {
			o.told = fmt.Sprintf("cut %d bytes", r.RepairedBytes)
		}
		return o, err
	},
	segments: suffix(".wal"),
	meta:     func([]string) string { return "guard" },
	unsync:   func(dir, before string) error { return copyFile(join(before, "guard"), join(dir, "guard")) },
}

func (o *oursLog) add(index uint64, data [][]byte) error {
	o.es = o.es[:0]
	for i, d := range data {
		o.es = append(o.es, wal.Entry{Index: index + uint64(i), Term: 1, Data: d})
	}
	return o.l.Append(nil, o.es)
}

func (o *oursLog) all() (data [][]byte, told string, err error) {
	err = o.l.Replay(1, func(e wal.Entry) error { data = append(data, e.Data); return nil })
	return data, o.told, err
}

func (o *oursLog) close() error { return o.l.Close() }
