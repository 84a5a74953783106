package wal

import (
	"fmt"
	"testing"
)

// fill writes n entries of size bytes, in batches.
func fill(b *testing.B, l *Log, n, size, batch int) {
	es := make([]Entry, 0, batch)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i)
	}
	for i := range n {
		es = append(es, Entry{Index: uint64(i + 1), Term: 1, Data: data})
		if len(es) == batch || i == n-1 {
			if err := l.Append(nil, es); err != nil {
				b.Fatal(err)
			}
			es = es[:0]
		}
	}
}

// BenchmarkAppend: durable appends, one at a time.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{150, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, err := OpenDir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			l, err := Create(d, Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			b.SetBytes(int64(size))
			b.ResetTimer()
			fill(b, l, b.N, size, 1)
		})
	}
}

// BenchmarkStart: what a node does with a million messages of 150 bytes when it
// starts, as a million entries and as fewer larger ones.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct{ n, size, batch int }{{1_000_000, 150, 500}, {2400, 64 << 10, 1}} {
		d, err := OpenDir(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		l, err := Create(d, Config{})
		if err != nil {
			b.Fatal(err)
		}
		fill(b, l, c.n, c.size, c.batch)
		l.Close()
		name := fmt.Sprintf("%dx%d", c.n, c.size)
		b.Run("open/"+name, func(b *testing.B) {
			for range b.N {
				l, _, err := Open(d, Config{})
				if err != nil {
					b.Fatal(err)
				}
				l.Close()
			}
		})
		l, _, err = Open(d, Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run("replay/"+name, func(b *testing.B) {
			for range b.N {
				n := 0
				if err := l.Replay(1, func(e Entry) error { n++; return nil }); err != nil || n != c.n {
					b.Fatal(n, err)
				}
			}
		})
		b.Run("entry/"+name, func(b *testing.B) {
			var buf []Entry
			for i := range b.N {
				lo := uint64(i*7919%c.n) + 1
				if buf, err = l.Entries(lo, lo+1, 1, buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
		l.Close()
		d.Close()
	}
}
