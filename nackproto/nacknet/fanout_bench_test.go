//go:build linux

package nacknet

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// cpu gives the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const benchReceivers = 1000

// quiet has no heartbeat fall among the bytes that a benchmark counts: it would
// take the size of a message for larger than it is, and wait for more than comes.
var quiet = ServerConfig{Limits: session.Limits{Heartbeat: time.Hour}}

// BenchmarkFanout sends one message of 512 bytes to 1,000 subscribers in another
// process and waits until all have it. cpu-ns/delivery of "native" is to be held
// against that of "floor", a loop of write(2) over as many sockets.
func BenchmarkFanout(b *testing.B) {
	payload := make([]byte, 512)
	b.Run("floor", func(b *testing.B) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		conns := make(chan net.Conn, benchReceivers)
		go func() {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				conns <- nc
			}
		}()
		r := startReceivers(b, ln.Addr().String(), benchReceivers, "", false)
		var fds []int
		for range benchReceivers {
			nc := <-conns
			defer nc.Close()
			fds = append(fds, socket.FD(nc))
		}
		total := r.settle()
		b.ResetTimer()
		start := cpu()
		for range b.N {
			for _, fd := range fds {
				if n, _ := socket.TryWrite(fd, payload); n < len(payload) {
					b.Fatal("a socket is full")
				}
			}
			total += int64(len(fds) * len(payload))
			r.wait(total)
		}
		b.ReportMetric(float64(cpu()-start)/float64(b.N*benchReceivers), "cpu-ns/delivery")
	})
	b.Run("native", func(b *testing.B) {
		_, l, addr := serveLocal(b, quiet)
		r := startReceivers(b, addr, benchReceivers, "/bench/subject/of/20c", false)
		say := func() { placeWait(b, l, "/bench/subject/of/20c", payload) }
		r.settle()
		say()
		total := r.settle()
		say()
		size := r.settle() - total
		total += size
		b.ResetTimer()
		start := cpu()
		for range b.N {
			say()
			total += size
			r.wait(total)
		}
		b.ReportMetric(float64(cpu()-start)/float64(b.N*benchReceivers), "cpu-ns/delivery")
		b.ReportMetric(float64(size)/benchReceivers, "wire-bytes/delivery")
	})
}

// BenchmarkHotSubject publishes messages of 64 bytes to one subject as fast as
// 100 subscribers in another process take them.
func BenchmarkHotSubject(b *testing.B) {
	const subscribers, outstanding = 100, 4096
	_, l, addr := serveLocal(b, quiet)
	r := startReceivers(b, addr, subscribers, "/bench/hot", false)
	payload := make([]byte, 64)
	r.settle()
	placeWait(b, l, "/bench/hot", payload)
	total := r.settle()
	placeWait(b, l, "/bench/hot", payload)
	size := r.settle() - total
	total += size
	b.ResetTimer()
	start := cpu()
	for sent := 0; sent < b.N; {
		n := min(outstanding, b.N-sent)
		for range n {
			l.Publish(stream.Item{Publication: stream.Publication{Subject: "/bench/hot", Payload: payload}}, func(stream.Place, error) {})
		}
		sent += n
		total += size * int64(n)
		r.wait(total)
	}
	b.ReportMetric(float64(b.N*subscribers)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(cpu()-start)/float64(b.N*subscribers), "cpu-ns/delivery")
}
