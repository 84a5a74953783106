package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// store is a log as the engine would use it.
type store interface {
	// add makes entries durable; the first has this index.
	add(index uint64, data [][]byte) error
	// all returns every entry from index 1 on, and what the store told about a repair.
	all() (data [][]byte, told string, err error)
	close() error
}

type kind struct {
	name   string
	create func(dir string, segment int) (store, error)
	open   func(dir string, segment int) (store, error)
	// segments returns the files that hold entries, oldest first; meta the file
	// that says what belongs to the log, or "".
	segments func(names []string) []string
	meta     func(names []string) string
	// unsync makes the newest batch one that the store never confirmed, given
	// the directory as it was before.
	unsync func(dir, before string) error
}

var kinds = []kind{ours, raftWAL, pebbleStore, etcdWAL}

func kindOf(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	panic("no store " + name)
}

// entry i of the workload: 150 bytes that can be found in a file.
func entry(i uint64, size int) []byte {
	b := fmt.Appendf(nil, "entry-%08d|", i)
	for len(b) < size {
		b = append(b, byte('!'+(uint64(len(b))*i)%90))
	}
	return b[:size]
}

func names(dir string) []string {
	es, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	var ns []string
	for _, e := range es {
		ns = append(ns, e.Name())
	}
	slices.Sort(ns)
	return ns
}

func suffix(ends ...string) func([]string) []string {
	return func(ns []string) (out []string) {
		for _, n := range ns {
			for _, e := range ends {
				if strings.HasSuffix(n, e) {
					out = append(out, n)
				}
			}
		}
		return out
	}
}

func copyDir(from, to string) error {
	return os.CopyFS(to, os.DirFS(from))
}

func edit(path string, f func([]byte) []byte) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o600)
	}
	if err != nil {
		panic(err)
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

var join = filepath.Join
