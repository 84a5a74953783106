package compare

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// dialSession connects with an MQTT 3.1.1 session that outlives the connection.
func dialSession(tb testing.TB, addr, id string) (c *mqttConn, present bool) {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	c = newMQTTConn(nc)
	if err := c.hello(id, 0); err != nil {
		tb.Fatal(err)
	}
	return c, c.b[0] == 1
}

// BenchmarkMQTTIdle is the memory that the process takes for each of 10,000 clients
// that are connected, have one subscription each and say nothing.
func BenchmarkMQTTIdle(b *testing.B) {
	const clients = 10_000
	one := func(s *server) float64 {
		defer s.kill()
		time.Sleep(time.Second)
		before := s.rss(b)
		conns := make([]*mqttConn, clients)
		for i := range conns {
			conns[i] = dialMQTT(b, s.mqtt, fmt.Sprintf("device-%05d", i))
			conns[i].subscribe(b, fmt.Sprintf("fleet/dev/%05d/cmd", i), 1)
		}
		time.Sleep(2 * time.Second)
		used := float64(s.rss(b)-before) / clients
		for _, c := range conns {
			c.Close()
		}
		return used
	}
	ours, theirs := one(startNackMQ(b, b.TempDir())), one(startMosquitto(b))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, "nackmq-B/client")
	b.ReportMetric(theirs, "mosquitto-B/client")
}

// BenchmarkMQTTOffline is how much the process grows when 200 sessions that are
// offline miss 1,000 messages of 64 B each, all of the same subject. The same
// messages without the sessions are the control.
func BenchmarkMQTTOffline(b *testing.B) {
	const sessions, messages = 200, 1000
	grow := func(s *server, sessions int) float64 {
		defer s.kill()
		for i := range sessions {
			c, _ := dialSession(b, s.mqtt, fmt.Sprintf("device-%d", i))
			c.subscribe(b, "fleet/all", 1)
			c.Write([]byte{0xe0, 0})
			io.Copy(io.Discard, c)
			c.Close()
		}
		p := dialMQTT(b, s.mqtt, "publisher")
		defer p.Close()
		payload := bytes.Repeat([]byte("x"), 64)
		if _, err := p.publish("fleet/warm", payload, 100, time.Now().Add(time.Second)); err != nil {
			b.Fatal(err)
		}
		before := s.rss(b)
		if err := p.publishN("fleet/all", payload, messages, 100); err != nil {
			b.Fatal(err)
		}
		time.Sleep(time.Second)
		return float64(s.rss(b)-before) / 1e6
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(grow(startNackMQ(b, b.TempDir()), sessions), "nackmq-MB")
	b.ReportMetric(grow(startNackMQ(b, b.TempDir()), 0), "nackmq-MB-without")
	b.ReportMetric(grow(startMosquitto(b), sessions), "mosquitto-MB")
	b.ReportMetric(grow(startMosquitto(b), 0), "mosquitto-MB-without")
}

// BenchmarkMQTTStorm has 10,000 kept sessions come back at once, as fast as the
// generator connects, each with 100 missed messages on a subject of its own. It
// reports how long a session took from dialling to its last message, and what a
// publisher with one QoS 1 publish under way saw before and meanwhile.
func BenchmarkMQTTStorm(b *testing.B) {
	const sessions, missed, dialers = 10_000, 100, 64
	s := startNackMQ(b, b.TempDir(), "--limits-cache-bytes", "1GiB")
	defer s.kill()
	each := func(f func(i int)) {
		var wg sync.WaitGroup
		for d := range dialers {
			wg.Go(func() {
				for i := d; i < sessions; i += dialers {
					f(i)
				}
			})
		}
		wg.Wait()
	}
	topic := func(i int) string { return fmt.Sprintf("fleet/dev/%05d/cmd", i) }
	each(func(i int) {
		c, _ := dialSession(b, s.mqtt, fmt.Sprintf("device-%05d", i))
		c.subscribe(b, topic(i), 1)
		c.Write([]byte{0xe0, 0})
		io.Copy(io.Discard, c)
		c.Close()
	})
	p := dialMQTT(b, s.mqtt, "publisher")
	defer p.Close()
	payload := bytes.Repeat([]byte("x"), 64)
	for i := range sessions {
		if err := p.publishN(topic(i), payload, missed, missed); err != nil {
			b.Fatal(err)
		}
	}
	var before, during []time.Duration
	probe := func(times *[]time.Duration, stop <-chan struct{}) {
		for {
			select {
			case <-stop:
				return
			default:
			}
			start := time.Now()
			if err := p.publishN("fleet/probe", payload, 1, 1); err != nil {
				b.Error(err)
				return
			}
			*times = append(*times, time.Since(start))
			time.Sleep(time.Millisecond)
		}
	}
	stop := make(chan struct{})
	time.AfterFunc(3*time.Second, func() { close(stop) })
	probe(&before, stop)
	took := make([]time.Duration, sessions)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); probe(&during, stop) }()
	cpu, start := s.cpu(b), time.Now()
	each(func(i int) {
		begin := time.Now()
		c, present := dialSession(b, s.mqtt, fmt.Sprintf("device-%05d", i))
		defer c.Close()
		if !present {
			b.Errorf("session %d is not present", i)
			return
		}
		if err := c.take(missed); err != nil {
			b.Errorf("session %d: %v", i, err)
		}
		took[i] = time.Since(begin)
	})
	all := time.Since(start)
	close(stop)
	<-ended
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(all.Seconds(), "s-all")
	b.ReportMetric(float64((s.cpu(b)-cpu).Microseconds())/sessions, "cpu-us/session")
	b.ReportMetric(ms(quantile(took, 0.5)), "ms-session-p50")
	b.ReportMetric(ms(quantile(took, 0.99)), "ms-session-p99")
	b.ReportMetric(ms(quantile(before, 0.99)), "ms-publish-p99-before")
	b.ReportMetric(ms(quantile(during, 0.99)), "ms-publish-p99-meanwhile")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(d []time.Duration, q float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	if len(d) == 0 {
		return 0
	}
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

// take receives and acknowledges n messages of QoS 1.
func (c *mqttConn) take(n int) error {
	var acks []byte
	for n > 0 {
		kind, err := c.next()
		if err != nil {
			return err
		}
		if kind>>4 != 3 {
			return fmt.Errorf("packet %#x where a PUBLISH was due", kind)
		}
		id := c.b[2+binary.BigEndian.Uint16(c.b):]
		acks = append(acks, 0x40, 2, id[0], id[1])
		if n--; n == 0 || c.r.Buffered() == 0 {
			if _, err := c.Write(acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
	return nil
}
