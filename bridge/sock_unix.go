//go:build unix

package bridge

import "syscall"

const canTryWrite = true

// tryWrite writes what the kernel takes at once, which may be nothing.
func tryWrite(raw syscall.RawConn, p []byte) (n int, err error) {
	rerr := raw.Write(func(fd uintptr) bool {
		for n < len(p) {
			var m int
			m, err = syscall.Write(int(fd), p[n:])
			if err == syscall.EINTR {
				err = nil
				continue
			}
			if err != nil {
				if err == syscall.EAGAIN {
					err = nil
				}
				break
			}
			n += m
			if n < len(p) { // a short write: the socket is full
				break
			}
		}
		return true
	})
	if err == nil {
		err = rerr
	}
	return n, err
}
