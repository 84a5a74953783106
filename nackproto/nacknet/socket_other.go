//go:build !linux

package nacknet

import (
	"net"
	"syscall"
)

func listenControl(syscall.RawConn) error { return nil }

func tryFD(net.Conn) int { return -1 }

func trySend(int, []byte) (int, bool) { panic("nacknet: no descriptor to try") }

func newReadFrom(c *conn) readFrom {
	return &netReader{nc: c.nc, small: make([]byte, smallRead)}
}

func maxConnections() int { return 1 << 14 }
