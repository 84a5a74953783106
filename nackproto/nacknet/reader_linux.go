package nacknet

import (
	"net"
	"syscall"
)

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
