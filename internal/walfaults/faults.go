package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	total   = 2400 // entries, in batches of ten
	batch   = 10
	size    = 150
	segment = 64 << 10
)

// scene is a copy of a killed store's directory, to be damaged.
type scene struct {
	kind        kind
	dir, before string
}

// file returns the path of a segment file and how much of it is used. Files that
// hold nothing yet (allocated in advance) do not count.
func (s scene) file(pick func(n int) int) (path string, used int64) {
	var paths []string
	var ends []int64
	for _, n := range s.kind.segments(names(s.dir)) {
		b, _ := os.ReadFile(join(s.dir, n))
		if end := dataEnd(b); end > 512 {
			paths, ends = append(paths, join(s.dir, n)), append(ends, end)
		}
	}
	i := pick(len(paths))
	return paths[i], ends[i]
}

// dataEnd is where the entries of a file end. Behind that lie zeros, or what a file
// that is used again held before.
func dataEnd(b []byte) int64 {
	for n := total; n > total-2*batch; n-- {
		if at := bytes.LastIndex(b, entry(uint64(n), size)); at >= 0 {
			return int64(at + size)
		}
	}
	return int64(len(bytes.TrimRight(b, "\x00")))
}

// inEntry is a place in the data of an entry behind off, if entries can be found.
func inEntry(b []byte, off int64) int64 {
	if at := bytes.Index(b[off:], []byte("entry-")); at >= 0 {
		return off + int64(at) + 20
	}
	return off
}

func first(int) int        { return 0 }
func middle(n int) int     { return n / 2 }
func newest(n int) int     { return n - 1 }
func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

func flip(off int64) func([]byte) []byte {
	return func(b []byte) []byte { b[off] ^= 0x10; return b }
}
func flipIn(off int64) func([]byte) []byte {
	return func(b []byte) []byte { return flip(inEntry(b, off))(b) }
}
func zeros(lo, hi int64) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[lo:hi]); return b }
}
func cut(off int64) func([]byte) []byte { return func(b []byte) []byte { return b[:off] } }

type fault struct {
	name   string
	unsync bool // the last batch was never confirmed: it may go
	plant  func(s scene)
}

func onFile(pick func(int) int, f func(used int64) func([]byte) []byte) func(scene) {
	return func(s scene) {
		p, used := s.file(pick)
		edit(p, f(used))
	}
}

var tailCut = onFile(newest, func(used int64) func([]byte) []byte { return cut(used - 100) })
var tailZero = onFile(newest, func(used int64) func([]byte) []byte { return zeros(used-900, used-600) })

var faults = []fault{
	{"none", false, func(scene) {}},
	{"torn unsynced tail, cut", true, tailCut},
	{"torn unsynced tail, zeros in it", true, tailZero},
	{"synced tail cut by 100 bytes", false, tailCut},
	{"synced tail cut between batches", false, func(s scene) {
		p, _ := s.file(newest)
		b, err := os.ReadFile(join(s.before, base(p)))
		if err != nil {
			panic(err)
		}
		used := dataEnd(b)
		edit(p, func(b []byte) []byte { return zeros(used, int64(len(b)))(b) })
	}},
	{"bit flip in the last batch", false, onFile(newest, func(u int64) func([]byte) []byte { return flip(u - 50) })},
	{"bit flip, last segment", false, onFile(newest, func(u int64) func([]byte) []byte { return flipIn(u / 2) })},
	{"bit flip, middle segment", false, onFile(middle, func(u int64) func([]byte) []byte { return flipIn(u / 2) })},
	{"bit flip, first segment", false, onFile(first, func(u int64) func([]byte) []byte { return flipIn(u / 2) })},
	{"bit flip, file header", false, onFile(middle, func(u int64) func([]byte) []byte { return flip(4) })},
	{"zeroed record header", false, onFile(newest, func(u int64) func([]byte) []byte {
		return func(b []byte) []byte {
			at := bytes.Index(b[u/2:], []byte("entry-"))
			if at < 0 {
				panic("no entry")
			}
			at += int(u / 2)
			// etcd's is a length of 8 bytes, of which the low 7 count; others begin within 32 bytes.
			for off := at &^ 7; off > at-64; off -= 8 {
				if n := int(binary.LittleEndian.Uint64(b[off:]) & (1<<56 - 1)); off+8+n >= at+size && n < size+64 {
					clear(b[off : off+8])
					return b
				}
			}
			clear(b[at-32 : at])
			return b
		}
	})},
	{"zeroed 4 KiB page, last segment", false, onFile(newest, func(u int64) func([]byte) []byte {
		lo := max(4096, u/2&^4095)
		return zeros(lo, min(lo+4096, u))
	})},
	{"zeroed 4 KiB page, middle segment", false, onFile(middle, func(u int64) func([]byte) []byte {
		lo := max(4096, u/2&^4095)
		return zeros(lo, min(lo+4096, u))
	})},
	{"missing last segment", false, func(s scene) { p, _ := s.file(newest); os.Remove(p) }},
	{"missing middle segment", false, func(s scene) { p, _ := s.file(middle); os.Remove(p) }},
	{"missing first segment", false, func(s scene) { p, _ := s.file(first); os.Remove(p) }},
	{"missing guard, manifest or meta file", false, func(s scene) {
		if s.kind.meta == nil {
			panic("it has none")
		}
		if err := os.Remove(join(s.dir, s.kind.meta(names(s.dir)))); err != nil {
			panic(err)
		}
	}},
}

// table runs everything and prints the table.
func table() error {
	tmp, err := os.MkdirTemp(".", "tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	rows := make(map[string][]string)
	var order []string
	put := func(row, cell string) {
		if rows[row] == nil {
			order = append(order, row)
		}
		rows[row] = append(rows[row], strings.ReplaceAll(cell, "|", "/"))
	}
	for _, k := range kinds {
		dir := join(tmp, strings.ReplaceAll(strings.Fields(k.name)[0], "/", "-"))
		if out := self("write", k.name, join(dir, "live", "log"), join(dir, "before")); out != "" {
			return fmt.Errorf("%s: %s", k.name, out)
		}
		if err := copyDir(join(dir, "live", "log"), join(dir, "after")); err != nil {
			return err
		}
		s := scene{kind: k, dir: join(dir, "after")}
		for _, pick := range []func(int) int{first, middle, newest} {
			p, used := s.file(pick)
			fmt.Fprintf(os.Stderr, "%s: %s uses %d bytes\n", k.name, base(p), used)
		}
		for i, f := range faults {
			s := scene{k, join(dir, fmt.Sprint(i)), join(dir, "before")}
			if err := copyDir(join(dir, "after"), s.dir); err != nil {
				return err
			}
			put(f.name, plantAndOpen(f, s))
		}
		put("full disk", full(k, join(dir, "full")))
		put("failed fsync", self("nosync", k.name, join(dir, "nosync", "log")))
	}
	fmt.Print("| fault |")
	for _, k := range kinds {
		fmt.Printf(" %s |", k.name)
	}
	fmt.Println("\n|---|" + strings.Repeat("---|", len(kinds)))
	for _, row := range order {
		fmt.Printf("| %s | %s |\n", row, strings.Join(rows[row], " | "))
	}
	return nil
}

func plantAndOpen(f fault, s scene) (result string) {
	defer func() {
		if p := recover(); p != nil {
			result = fmt.Sprint("– (", p, ")")
		}
	}()
	f.plant(s)
	want := total
	if f.unsync {
		if s.kind.unsync != nil {
			if err := s.kind.unsync(s.dir, s.before); err != nil {
				panic(err)
			}
		}
		want -= batch
	}
	return self("read", s.kind.name, s.dir, strconv.Itoa(want))
}

// self runs a step in a process of its own, which may die of it.
func self(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "hangs"
	}
	text := strings.TrimSpace(string(out))
	if err != nil {
		for _, line := range strings.Split(text, "\n") {
			if strings.Contains(line, "panic:") || strings.Contains(line, "fatal") {
				return "dies: " + line
			}
		}
		return "dies: " + text
	}
	return text
}
