package stream

import (
	"fmt"
	"io"
	"runtime"
	"testing"
)

// BenchmarkSubjectMemory tells what a subject costs beside its name: 1M subjects
// with one message each, whose cache has moved on.
func BenchmarkSubjectMemory(b *testing.B) {
	const n = 1 << 20
	for b.Loop() {
		names := 0
		before := liveBytes()
		bk := newBook(b, Limits{CacheMessages: 1})
		for i := 0; i < n; i += MaxEntryItems {
			items := make([]Item, MaxEntryItems)
			for k := range items {
				items[k] = say(Subject(fmt.Sprintf("/site/%d/dev/%d/temp", i%97, i+k)), "21.5")
				names += len(items[k].Subject)
			}
			bk.publish(items...)
		}
		b.ReportMetric((liveBytes()-before-float64(names))/n, "B/subject")
		runtime.KeepAlive(bk)
	}
}

func liveBytes() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func benchEntries(subjects int) [][]byte {
	var entries [][]byte
	payload := make([]byte, 128)
	for e := range 256 {
		var b Batch
		b.Reset(Origin{})
		for k := 0; ; k++ {
			it := Item{Publication: Publication{Subject: Subject(fmt.Sprintf("/site/dev/%d/temp", (e*7919+k*31)%subjects)), Payload: payload}}
			if !b.Add(&it) {
				break
			}
		}
		StampEntry(b.Entry(), 1_000_000)
		entries = append(entries, b.Entry())
	}
	return entries
}

// BenchmarkApply tells what a message costs in Apply, in a full cache.
func BenchmarkApply(b *testing.B) {
	for _, subjects := range []int{1, 100, 100_000} {
		b.Run(fmt.Sprintf("subjects=%d", subjects), func(b *testing.B) {
			entries := benchEntries(subjects)
			bk := newBook(b, Limits{CacheBytes: 32 << 20})
			n := 0
			for b.Loop() {
				n += len(bk.entry(entries[bk.number%256]).Places)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/msg")
		})
	}
}

// BenchmarkReadLog tells what it costs to read a message out of the cache.
func BenchmarkReadLog(b *testing.B) {
	bk := newBook(b, Limits{CacheBytes: 32 << 20})
	for _, e := range benchEntries(1000) {
		bk.entry(e)
	}
	buf, n := room(512), 0
	for b.Loop() {
		if buf = bk.ReadLog(Index(n)%(bk.Head()-512), buf); len(buf) != 512 {
			b.Fatal(len(buf))
		}
		n += len(buf)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/msg")
}

// BenchmarkView tells how long Apply stands still for a snapshot of 1M subjects.
func BenchmarkView(b *testing.B) {
	bk := newBook(b, Limits{})
	for i := 0; i < 1<<20; i += MaxEntryItems {
		items := make([]Item, MaxEntryItems)
		for k := range items {
			items[k] = say(Subject(fmt.Sprintf("/site/dev/%d/temp", i+k)), "21.5")
		}
		bk.publish(items...)
	}
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			bk.View()
		}
	})
	b.Run("write", func(b *testing.B) {
		v := bk.View()
		for b.Loop() {
			v.WriteTo(io.Discard)
		}
	})
}

// BenchmarkRepeats tells what a repeated publication costs when 50 publishers
// repeat their windows of 1,000, taking turns.
func BenchmarkRepeats(b *testing.B) {
	const publishers, window = 50, 1000
	bk := newBook(b, Limits{})
	items := func(n int) []Item {
		var out []Item
		for p := range publishers {
			it := say(Subject(fmt.Sprintf("/dev/%d", p)), "21.5")
			it.Publisher, it.Number = PublisherID(p+1), uint64(n+1)
			out = append(out, it)
		}
		return out
	}
	for n := range window {
		bk.publish(items(n)...)
	}
	repeated := 0
	for b.Loop() {
		for n := range window {
			repeated += len(bk.publish(items(n)...))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(repeated), "ns/repeat")
}
