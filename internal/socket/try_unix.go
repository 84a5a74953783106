//go:build unix && !linux

package socket

import "syscall"

const canTry = true

// TryWrite writes what the socket takes at once, which may be nothing. Fewer than
// all without an error: it is full.
func TryWrite(fd int, b []byte) (n int, err error) {
	for {
		n, err = syscall.Write(fd, b) // Go's sockets do not block
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
			continue
		case syscall.EAGAIN, syscall.ENOBUFS:
			return 0, nil
		}
		return 0, err
	}
}
