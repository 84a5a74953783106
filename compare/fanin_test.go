package compare

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// rounds is how often the brokers take turns; medians are reported.
const rounds = 3

// BenchmarkMQTTFanIn is the rate of acknowledged QoS 1 publishes of 100 clients
// with 20 under way each. NackMQ has synced what it acknowledges; mosquitto has
// not.
func BenchmarkMQTTFanIn(b *testing.B) {
	var ours, theirs []float64
	for range rounds {
		theirs = append(theirs, fanIn(b, startMosquitto(b)))
		ours = append(ours, fanIn(b, startNackMQ(b, b.TempDir())))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "nackmq-msg/s")
	b.ReportMetric(median(theirs), "mosquitto-msg/s")
	b.ReportMetric(ratio(ours, theirs), "ratio")
}

func fanIn(b *testing.B, s *server) float64 {
	const clients, window, length = 100, 20, 3 * time.Second
	payload := bytes.Repeat([]byte("x"), 64)
	var wg sync.WaitGroup
	acked := make([]int, clients)
	conns := make([]*mqttConn, clients)
	for i := range conns {
		conns[i] = dialMQTT(b, s.mqtt, fmt.Sprintf("pub%d", i))
		defer conns[i].Close()
	}
	before, start := s.cpu(b), time.Now()
	deadline := start.Add(length)
	for i, c := range conns {
		wg.Go(func() {
			var err error
			if acked[i], err = c.publish(fmt.Sprintf("fleet/dev/%d", i), payload, window, deadline); err != nil {
				b.Error(s.name, err)
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range acked {
		total += n
	}
	rate := float64(total) / time.Since(start).Seconds()
	b.Logf("%s: %.0f acknowledged publishes/s, %.2f µs CPU each", s.name, rate, float64((s.cpu(b)-before).Microseconds())/float64(total))
	s.kill()
	return rate
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// ratio is the median of the ratios of the rounds, each of which ran both.
func ratio(a, b []float64) float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return median(r)
}
