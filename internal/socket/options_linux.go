package socket

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notSentLowat bounds the bytes that a socket takes beyond what is on the wire. A
// peer that does not read would otherwise pin megabytes of the kernel's memory.
const notSentLowat = 12 << 10

// setOptions sets them on a socket; connections inherit them from their listener.
func setOptions(raw syscall.RawConn, dead time.Duration) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
		if e := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(dead.Milliseconds())); err == nil {
			err = e
		}
	}); e != nil {
		return e
	}
	return err
}
