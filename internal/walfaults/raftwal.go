package main

import (
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	rw "github.com/hashicorp/raft-wal"
)

type raftWALLog struct {
	w    *rw.WAL
	logs []*raft.Log
	free []raft.Log
}

func openRaftWAL(dir string, segment int) (store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w, err := rw.Open(dir, rw.WithSegmentSize(segment), rw.WithLogger(hclog.New(&hclog.LoggerOptions{Output: io.Discard})))
	return &raftWALLog{w: w}, err
}

var raftWAL = kind{
	name: "raft-wal 0.4.2", create: openRaftWAL, open: openRaftWAL,
	segments: suffix(".wal"),
	meta:     func([]string) string { return "wal-meta.db" },
}

func (o *raftWALLog) add(index uint64, data [][]byte) error {
	if len(o.free) < len(data) {
		o.free = make([]raft.Log, len(data))
	}
	o.logs = o.logs[:0]
	for i, d := range data {
		o.free[i] = raft.Log{Index: index + uint64(i), Term: 1, Data: d}
		o.logs = append(o.logs, &o.free[i])
	}
	return o.w.StoreLogs(o.logs)
}

func (o *raftWALLog) all() (data [][]byte, told string, err error) {
	first, err := o.w.FirstIndex()
	if err != nil || first == 0 {
		return nil, "", err
	}
	last, err := o.w.LastIndex()
	for i := first; err == nil && i <= last; i++ {
		var l raft.Log
		if err = o.w.GetLog(i, &l); err == nil {
			data = append(data, l.Data)
		}
	}
	return data, "", err
}

func (o *raftWALLog) close() error { return o.w.Close() }
