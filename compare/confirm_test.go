package compare

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// BenchmarkNativeConfirmed is the rate of native publishes of 128 B that are
// confirmed, which is after they are synced to the disk: 8 publishers with 1,000
// under way each, the generator on the same machine.
func BenchmarkNativeConfirmed(b *testing.B) {
	const publishers, window, length = 8, 1000, 3 * time.Second
	var rates, cpus []float64
	for range rounds {
		s := startNackMQ(b, b.TempDir())
		payload := bytes.Repeat([]byte("x"), 128)
		conns := make([]*nativeConn, publishers)
		for i := range conns {
			conns[i] = dialNative(b, s.native, stream.PublisherID(i+1))
			defer conns[i].Close()
		}
		var wg sync.WaitGroup
		done := make([]int, publishers)
		before, start := s.cpu(b), time.Now()
		for i, c := range conns {
			wg.Go(func() {
				var err error
				if done[i], err = c.publish(fmt.Sprintf("/fleet/dev/%d/temp", i), payload, window, start.Add(length)); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		total := 0
		for _, n := range done {
			total += n
		}
		rates = append(rates, float64(total)/time.Since(start).Seconds())
		cpus = append(cpus, float64((s.cpu(b)-before).Nanoseconds())/float64(total))
		s.kill()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates), "confirmed/s")
	b.ReportMetric(median(cpus), "cpu-ns/msg")
}
