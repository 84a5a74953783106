package bridge

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const notSentLowat = 16 << 10

// tune bounds what the kernel holds for a peer that does not read, and how long
// it keeps one that is gone.
func tune(tc *net.TCPConn, dead time.Duration) {
	raw, err := tc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(dead/time.Millisecond))
	})
}
