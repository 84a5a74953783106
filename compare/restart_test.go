package compare

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// BenchmarkRestart is the time from start to ready with 1M messages of 128 B in
// the log, after kill -9.
func BenchmarkRestart(b *testing.B) {
	const publishers, each, window = 8, 125_000, 1000
	dir := b.TempDir()
	s := startNackMQ(b, dir)
	var wg sync.WaitGroup
	for i := range publishers {
		c := dialNative(b, s.native, stream.PublisherID(i+1))
		defer c.Close()
		wg.Go(func() {
			payload := bytes.Repeat([]byte("x"), 128)
			for done := 0; done < each; {
				n, err := c.publish(fmt.Sprintf("/fleet/dev/%d/temp", i), payload, window, time.Time{})
				if err != nil {
					b.Error(err)
					return
				}
				done += n
			}
		})
	}
	wg.Wait()
	s.kill()
	var took []float64
	for range rounds {
		start := time.Now()
		s := startNackMQ(b, dir)
		took = append(took, time.Since(start).Seconds())
		s.kill()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took), "s-to-ready")
}
