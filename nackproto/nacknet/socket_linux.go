package nacknet

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// A peer that does not read would otherwise pin megabytes of the kernel's
	// memory: the socket takes no more than this beyond what is on the wire.
	notSentLowat = 12 << 10
	// userTimeout is how long sent bytes may stay unacknowledged, milliseconds.
	userTimeout = 30_000
)

// listenControl sets what accepted sockets inherit.
func listenControl(raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
		if e := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout); err == nil {
			err = e
		}
	}); e != nil {
		return e
	}
	return err
}

// tryFD gives the descriptor of a plain TCP connection, on which writes can be
// tried. Only the loop closes it, and only the loop writes, so it stays valid.
func tryFD(nc net.Conn) int {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return -1
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return -1
	}
	out := -1
	raw.Control(func(fd uintptr) { out = int(fd) })
	return out
}

// trySend writes what the socket takes without waiting. again is false if the
// connection is broken.
func trySend(fd int, b []byte) (n int, again bool) {
	// MSG_EOR keeps the kernel from adding the next large write to the same
	// segment: it would take 32 KiB and more before it looks at the limit.
	flags := uintptr(syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL)
	if len(b) >= 4<<10 {
		flags |= unix.MSG_EOR
	}
	for {
		// The call cannot block, so the scheduler need not know of it.
		r, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			flags, 0, 0)
		switch e {
		case 0:
			return int(r), true
		case syscall.EINTR:
			continue
		case syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM:
			return 0, true
		}
		return 0, false
	}
}

// A rawReader reads a plain TCP connection. It holds a buffer only while there is
// something to read.
type rawReader struct {
	raw  syscall.RawConn
	buf  *[]byte
	n    int
	err  error
	more bool
	fn   func(fd uintptr) bool
}

func newReadFrom(c *conn) readFrom {
	if c.fd >= 0 {
		if raw, err := c.nc.(*net.TCPConn).SyscallConn(); err == nil {
			r := &rawReader{raw: raw}
			r.fn = r.try
			return r
		}
	}
	return &netReader{nc: c.nc, small: make([]byte, smallRead)}
}

func (r *rawReader) read() (*[]byte, int, error) {
	r.buf, r.n, r.err = nil, 0, nil
	if err := r.raw.Read(r.fn); err != nil {
		return r.buf, 0, err
	}
	r.more = r.buf != nil && r.n == len(*r.buf)
	return r.buf, r.n, r.err
}

func (r *rawReader) try(fd uintptr) bool {
	buf := getBuffer(r.more)
	for {
		n, err := syscall.Read(int(fd), *buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			putBuffer(buf)
			return false
		case err != nil:
			r.err = err
		case n == 0:
			r.err = net.ErrClosed
		}
		r.buf, r.n = buf, max(n, 0)
		return true
	}
}

// maxConnections gives what the limit of open files allows, with some to spare.
func maxConnections() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 1 << 14
	}
	return int(min(max(lim.Cur, 256)-128, 1<<20))
}
