package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// BenchmarkPublish is confirmed publications of 128 bytes a second, with a sync
// before each confirmation: many publishers, each with a window in flight.
func BenchmarkPublish(b *testing.B) {
	for _, inflight := range []int{1, 64, 4096, 16384} {
		b.Run(fmt.Sprintf("inflight=%d", inflight), func(b *testing.B) {
			m := open(b, Config{DataDir: b.TempDir()})
			defer m.Close()
			payload := make([]byte, 128)
			publishers := min(inflight, 16)
			var wg sync.WaitGroup
			var failed atomic.Int64
			b.SetBytes(128)
			b.ReportAllocs()
			start := time.Now()
			b.ResetTimer()
			for p := range publishers {
				wg.Go(func() {
					subject := stream.Subject(fmt.Sprintf("/bench/%d", p))
					window := make(chan struct{}, inflight/publishers)
					done := func(_ stream.Place, err error) {
						if err != nil {
							failed.Add(1)
						}
						<-window
					}
					for n := p; n < b.N; n += publishers {
						window <- struct{}{}
						m.Publish(stream.Item{
							Publication: stream.Publication{Subject: subject, Payload: payload},
							Publisher:   stream.PublisherID(p + 1), Number: uint64(n + 1),
						}, done)
					}
					for range cap(window) {
						window <- struct{}{}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msg/s")
			if failed.Load() > 0 {
				b.Errorf("%d of %d publications failed", failed.Load(), b.N)
			}
		})
	}
}

// BenchmarkRestart is a start with a million messages in the log. cpu-ms says what
// it costs where other programs share the processors.
func BenchmarkRestart(b *testing.B) {
	for _, subjects := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("subjects=%d", subjects), func(b *testing.B) { benchmarkRestart(b, subjects) })
	}
}

func benchmarkRestart(b *testing.B, subjects int) {
	c := Config{DataDir: b.TempDir(), Limits: stream.Limits{CacheBytes: 512 << 20}}
	m := open(b, c)
	var wg sync.WaitGroup
	payload := make([]byte, 128)
	window := make(chan struct{}, 16384)
	for n := range 1_000_000 {
		window <- struct{}{}
		wg.Add(1)
		m.Publish(stream.Item{
			Publication: stream.Publication{Subject: stream.Subject(fmt.Sprintf("/bench/%d", n%subjects)), Payload: payload},
			Publisher:   stream.PublisherID(n%1000 + 1), Number: uint64(n + 1),
		}, func(_ stream.Place, err error) {
			if err != nil {
				b.Error(err)
			}
			<-window
			wg.Done()
		})
	}
	wg.Wait()
	m.Close()
	var cpu time.Duration
	b.ResetTimer()
	for range b.N {
		cpu -= cpuTime(b)
		m := open(b, c)
		cpu += cpuTime(b)
		b.StopTimer()
		if got := m.Broker().Head(); got != 1_000_000 {
			b.Fatalf("%d messages came back, want 1,000,000", got)
		}
		m.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
}

// cpuTime gives the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Skip(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
