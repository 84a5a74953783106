package compare

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// BenchmarkNativeFanOut is what a delivery costs the broker's process when there
// is nothing to batch: one message of 64 B at a time to 1,000 subscribers, and
// the same by a process that does nothing but write(2).
func BenchmarkNativeFanOut(b *testing.B) {
	const subs, messages = 1000, 300
	var ours, floor []float64
	for range rounds {
		s := startNackMQ(b, b.TempDir())
		pub := dialNative(b, s.native, 7)
		var got atomic.Int64
		for range subs {
			c := subscribeNative(b, s.native, "/fleet/cmd/broadcast1")
			defer c.Close()
			go c.count(&got)
		}
		ours = append(ours, perDelivery(b, s, subs, messages, &got, func() {
			if _, err := pub.publish("/fleet/cmd/broadcast1", bytes.Repeat([]byte("x"), 64), 1, time.Time{}); err != nil {
				b.Error(err)
			}
		}))
		pub.Close()
		s.kill()

		s = startFloor(b, subs)
		got.Store(0)
		for range subs {
			c, err := net.Dial("tcp", s.native)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			go countBytes(c, &got)
		}
		control, err := net.Dial("tcp", s.native)
		if err != nil {
			b.Fatal(err)
		}
		floor = append(floor, perDelivery(b, s, subs, messages, &got, func() { control.Write([]byte{1}) }))
		control.Close()
		s.kill()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "nackmq-cpu-us/delivery")
	b.ReportMetric(median(floor), "write2-cpu-us/delivery")
	b.ReportMetric(ratio(ours, floor), "ratio")
}

// perDelivery gives the CPU time in µs that s took for each delivery, when send
// is called again each time all have received.
func perDelivery(b *testing.B, s *server, subs, messages int64, got *atomic.Int64, send func()) float64 {
	b.Helper()
	before := s.cpu(b)
	for i := range messages {
		send()
		waitFor(b, got, (i+1)*subs)
	}
	return float64((s.cpu(b) - before).Microseconds()) / float64(subs*messages)
}

func waitFor(b *testing.B, got *atomic.Int64, want int64) {
	b.Helper()
	for deadline := time.Now().Add(30 * time.Second); got.Load() < want; {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d deliveries after 30 s", got.Load(), want)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func countBytes(c net.Conn, n *atomic.Int64) {
	buf := make([]byte, 64<<10)
	rest := 0
	for {
		k, err := c.Read(buf)
		if err != nil {
			return
		}
		rest += k
		n.Add(int64(rest / floorFrame))
		rest %= floorFrame
	}
}

// BenchmarkMQTTFanOut is the rate at which 1,000 subscribers receive what one
// publisher keeps under way, and what a delivery costs the broker's process.
func BenchmarkMQTTFanOut(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		for _, flight := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("QoS%d/flight%d", qos, flight), func(b *testing.B) {
				var ours, theirs, ourCPU, theirCPU []float64
				for range rounds {
					rate, cpu := mqttFanOut(b, startMosquitto(b), qos, flight)
					theirs, theirCPU = append(theirs, rate), append(theirCPU, cpu)
					rate, cpu = mqttFanOut(b, startNackMQ(b, b.TempDir()), qos, flight)
					ours, ourCPU = append(ours, rate), append(ourCPU, cpu)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(ours), "nackmq-deliveries/s")
				b.ReportMetric(median(theirs), "mosquitto-deliveries/s")
				b.ReportMetric(median(ourCPU), "nackmq-cpu-us/delivery")
				b.ReportMetric(median(theirCPU), "mosquitto-cpu-us/delivery")
				b.ReportMetric(ratio(ours, theirs), "ratio")
			})
		}
	}
}

// mqttFanOut gives deliveries per second, and the CPU time in µs for each.
func mqttFanOut(b *testing.B, s *server, qos byte, flight int) (rate, cpu float64) {
	const subs, length, topic = 1000, 2 * time.Second, "fleet/cmd/broadcast1"
	defer s.kill()
	var got atomic.Int64
	for i := range subs {
		c := dialMQTT(b, s.mqtt, fmt.Sprintf("sub%d", i))
		defer c.Close()
		c.subscribe(b, topic, qos)
		go c.count(&got)
	}
	pub := dialMQTT(b, s.mqtt, "pub")
	defer pub.Close()
	go io.Copy(io.Discard, pub)
	var batch []byte
	for id := range flight {
		batch = append(batch, mqttPublish(topic, bytes.Repeat([]byte("x"), 64), qos, uint16(id+1))...)
	}
	total, before, start := int64(0), s.cpu(b), time.Now()
	for time.Since(start) < length {
		if _, err := pub.Write(batch); err != nil {
			b.Fatal(err)
		}
		total += int64(subs * flight)
		waitFor(b, &got, total)
	}
	took := time.Since(start)
	return float64(total) / took.Seconds(), float64((s.cpu(b) - before).Microseconds()) / float64(total)
}

// BenchmarkNativeHotSubject is the rate of deliveries when 8 publishers keep 64
// messages each under way to 1,000 subscribers of one subject. Nothing may be
// missing.
func BenchmarkNativeHotSubject(b *testing.B) {
	const subs, publishers, window, length = 1000, 8, 64, 3 * time.Second
	var rates, cpus []float64
	for range rounds {
		s := startNackMQ(b, b.TempDir())
		var got atomic.Int64
		for range subs {
			c := subscribeNative(b, s.native, "/fleet/cmd/broadcast1")
			defer c.Close()
			go c.count(&got)
		}
		before, start := s.cpu(b), time.Now()
		sent := make(chan int, publishers)
		for i := range publishers {
			pub := dialNative(b, s.native, stream.PublisherID(100+i))
			defer pub.Close()
			go func() {
				n, err := pub.publish("/fleet/cmd/broadcast1", bytes.Repeat([]byte("x"), 64), window, start.Add(length))
				if err != nil {
					b.Error(err)
				}
				sent <- n
			}()
		}
		total := int64(0)
		for range publishers {
			total += int64(<-sent)
		}
		waitFor(b, &got, total*subs)
		rates = append(rates, float64(total*subs)/time.Since(start).Seconds())
		cpus = append(cpus, float64((s.cpu(b)-before).Microseconds())/float64(total*subs))
		s.kill()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates), "deliveries/s")
	b.ReportMetric(median(cpus), "cpu-us/delivery")
}
