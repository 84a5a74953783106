package socket

import (
	"context"
	"net"
	"syscall"
	"time"
)

// DeadAfter is how long sent bytes may stay unacknowledged by the peer's kernel
// before the connection breaks.
const DeadAfter = 30 * time.Second

// Listen listens on a TCP address with the options that Tune sets and DeadAfter.
// keepAlive is how often an idle peer is probed, as in net.ListenConfig: 0 is
// Go's default, and a negative one, for a protocol that finds dead peers itself,
// is never.
func Listen(ctx context.Context, addr string, keepAlive time.Duration) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: keepAlive, Control: func(_, _ string, raw syscall.RawConn) error {
		return setOptions(raw, DeadAfter)
	}}
	// Devices have one path, and what is set on a multipath listener does not reach
	// the connections it accepts.
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", addr)
}

// Tune bounds what the kernel holds for a peer that does not read, and how long
// it keeps one that is gone: of a connection, also one below TLS, or of all that
// a listener accepts from now on. It is of use only: what it cannot be set on
// works as well.
func Tune(c any, dead time.Duration) {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn()
	}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = setOptions(raw, dead)
		}
	}
}
