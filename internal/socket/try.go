package socket

import (
	"net"
)

// FD gives the descriptor of a plain TCP connection, for TryWrite; -1 if nc is
// none, or cannot be written to without waiting. It is valid until nc is closed:
// who uses it must be who closes, or have a lock in common.
func FD(nc net.Conn) int {
	tc, ok := nc.(*net.TCPConn)
	if !ok || !canTry {
		return -1
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return -1
	}
	out := -1
	_ = raw.Control(func(fd uintptr) { out = int(fd) })
	return out
}
