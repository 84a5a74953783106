package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

type pebbleLog struct {
	db   *pebble.DB
	told string
}

// quiet says nothing but the last words: pebble stops the process when the disk fails.
type quiet struct{}

func (q quiet) Infof(f string, a ...any)  {}
func (q quiet) Errorf(f string, a ...any) {}
func (q quiet) Fatalf(f string, a ...any) {
	fmt.Printf("fatal: "+f+"\n", a...)
	os.Exit(3)
}

func openPebble(dir string, segment int) (store, error) {
	o := &pebbleLog{}
	// Small memtables make several files of a small log, as small segments do elsewhere.
	opts := &pebble.Options{Logger: quiet{}, DisableAutomaticCompactions: true, FormatMajorVersion: pebble.FormatNewest, L0StopWritesThreshold: 1000}
	opts.MemTableSize = uint64(segment)
	db, err := pebble.Open(dir, opts)
	o.db = db
	return o, err
}

// pebbleFiles orders tables before the newest log; older logs are spent.
func pebbleFiles(ns []string) []string {
	logs := suffix(".log")(ns)
	return append(suffix(".sst")(ns), logs[len(logs)-1:]...)
}

var pebbleStore = kind{
	name: "pebble 2.1.7", create: openPebble, open: openPebble,
	segments: pebbleFiles,
	meta: func(ns []string) string {
		for _, n := range ns {
			if strings.HasPrefix(n, "MANIFEST") {
				return n
			}
		}
		return ""
	},
}

func (o *pebbleLog) add(index uint64, data [][]byte) error {
	b := o.db.NewBatch()
	for i, d := range data {
		if err := b.Set(binary.BigEndian.AppendUint64(nil, index+uint64(i)), d, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (o *pebbleLog) all() (data [][]byte, told string, err error) {
	it, err := o.db.NewIter(nil)
	if err != nil {
		return nil, "", err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return data, "", err
		}
		data = append(data, slices.Clone(v))
	}
	return data, "", it.Close()
}

func (o *pebbleLog) close() error { return o.db.Close() }
