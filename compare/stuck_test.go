package compare

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkNativeStuck tells what a subscriber costs that never reads, on a
// subject with 10 MB/s: 1,000 of them, beside ten that read and must miss
// nothing. The cache is small and full before they come, so that its growth does
// not count.
func BenchmarkNativeStuck(b *testing.B) {
	const stuck, live, size, perSecond = 1000, 10, 500, 20_000
	subject := "/fleet/cmd/broadcast1"
	s := startNackMQ(b, b.TempDir(), "--limits-cache-bytes", "16MiB")
	var got atomic.Int64
	for range live {
		c := subscribeNative(b, s.native, subject)
		defer c.Close()
		go c.count(&got)
	}
	pub := dialNative(b, s.native, 7)
	defer pub.Close()
	sent := int64(0)
	publish := func(length time.Duration) {
		payload := bytes.Repeat([]byte("x"), size)
		for end := time.Now().Add(length); time.Now().Before(end); {
			start := time.Now()
			n, err := pub.publish(subject, payload, perSecond/50, time.Time{})
			if err != nil {
				b.Fatal(err)
			}
			sent += int64(n)
			time.Sleep(20*time.Millisecond - time.Since(start))
		}
		waitFor(b, &got, sent*live)
	}
	publish(6 * time.Second)
	before := s.rss(b)
	for i := range stuck {
		c := dialStuck(b, s.native, i, subject)
		defer c.Close()
	}
	publish(6 * time.Second)
	user := float64(s.rss(b)-before) / stuck
	kernel := kernelMemory(b, s.native) / stuck
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(user, "B-user/stuck")
	b.ReportMetric(kernel, "B-kernel/stuck")
	b.ReportMetric(float64(sent*live), "live-deliveries")
	b.ReportMetric(float64(got.Load()-sent*live), "live-missing")
}

// dialStuck subscribes on a connection with a small receive buffer, from an
// address of its own, and never reads.
func dialStuck(b *testing.B, addr string, i int, subject string) net.Conn {
	d := net.Dialer{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		rc.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		return err
	}}
	c, err := d.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Write(helloAndSubscribe(fmt.Sprintf("stuck%d", i), subject)); err != nil {
		b.Fatal(err)
	}
	return c
}

var skmem = regexp.MustCompile(`skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+),`)

// kernelMemory sums what the kernel holds for the server's ends of the
// connections to addr: received, queued to send, and kept in advance.
func kernelMemory(b *testing.B, addr string) float64 {
	_, port, _ := net.SplitHostPort(addr)
	out, err := exec.Command("ss", "-tmnH", "sport", "=", ":"+port).Output()
	if err != nil {
		b.Skip("ss of iproute2 is needed: ", err)
	}
	sum := 0.0
	for _, m := range skmem.FindAllSubmatch(out, -1) {
		for _, k := range []int{1, 3, 4} {
			n, _ := strconv.Atoi(string(m[k]))
			sum += float64(n)
		}
	}
	return sum
}
