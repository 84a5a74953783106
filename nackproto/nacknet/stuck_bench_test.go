//go:build linux

package nacknet

import (
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/stream"
)

// BenchmarkStuck has 1,000 subscribers that read nothing on a subject of 10 MB/s,
// beside 10 that read everything, for three seconds. It reports what a stuck one
// costs: of the kernel's memory at the server's end, and of ours beyond what the
// idle connection costs. The live ones must get every byte.
func BenchmarkStuck(b *testing.B) {
	const stuck, live, size = 1000, 10, 540
	for range b.N {
		s, l, ln := serveLimited(b, quiet, stream.Limits{CacheBytes: 16 << 20})
		addr := ln.Addr().String()
		payload := make([]byte, size)
		say := func(n int) {
			for range n {
				l.Publish(stream.Item{Publication: stream.Publication{Subject: "/stuck/subject", Payload: payload}}, func(stream.Place, error) {})
			}
		}
		startReceivers(b, addr, stuck, "/stuck/subject", true)
		r := startReceivers(b, addr, live, "/stuck/subject", false)
		eventually(b, func() bool { return s.Connections() == stuck+live })
		placeWait(b, l, "/stuck/subject", payload)
		total := r.settle()
		placeWait(b, l, "/stuck/subject", payload)
		frame := (r.settle() - total) / live
		total += frame * live
		for range 40 { // fill the cache
			say(1000)
			total += 1000 * frame * live
			r.wait(total)
		}
		before := ours()
		start, sent := time.Now(), 0
		for el := time.Duration(0); el < 3*time.Second; el = time.Since(start) {
			n := int(el.Seconds()*10e6/size) - sent
			say(n)
			sent += n
			time.Sleep(5 * time.Millisecond)
		}
		r.wait(total + int64(sent)*frame*live) // every byte, or this never ends
		var kernel int64
		for _, nc := range ln.taken() {
			kernel += queued(socket.FD(nc))
		}
		b.ReportMetric(float64(ours()-before)/stuck, "our-B/stuck")
		b.ReportMetric(float64(kernel)/stuck, "kernel-B/stuck")
		b.ReportMetric(float64(sent*size)/time.Since(start).Seconds()/1e6, "MB/s")
	}
}

// queued gives the bytes that the kernel holds for sending on a socket.
func queued(fd int) int64 {
	const soMeminfo, wmemQueued, vars = 55, 5, 9
	var mem [vars]uint32
	n := uint32(unsafe.Sizeof(mem))
	if _, _, e := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, soMeminfo, uintptr(unsafe.Pointer(&mem)), uintptr(unsafe.Pointer(&n)), 0); e != 0 {
		return 0
	}
	return int64(mem[wmemQueued])
}
