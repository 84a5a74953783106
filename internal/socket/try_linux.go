package socket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canTry = true

// eorFrom is the size of a write from which the next one begins a segment.
const eorFrom = 4 << 10

// TryWrite writes what the socket takes at once, which may be nothing. Fewer than
// all without an error: it is full.
func TryWrite(fd int, b []byte) (n int, err error) {
	// MSG_EOR keeps the kernel from adding the next large write to the same
	// segment: it would take 32 KiB and more before it looks at the limit.
	flags := uintptr(syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL)
	if len(b) >= eorFrom {
		flags |= unix.MSG_EOR
	}
	for {
		// The call cannot block, so the scheduler need not know of it.
		r, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			flags, 0, 0)
		switch e {
		case 0:
			return int(r), nil
		case syscall.EINTR:
			continue
		case syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM:
			return 0, nil
		}
		return 0, e
	}
}
