package socket

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// option gives an option of a TCP connection.
func option(t *testing.T, nc net.Conn, opt int) (value int) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got error
	if err := raw.Control(func(fd uintptr) { value, got = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, opt) }); err != nil || got != nil {
		t.Fatal(err, got)
	}
	return value
}

// The kernel is held to what a stuck peer may cost: the options must arrive at the
// accepted socket, which they do not on a multipath listener.
func TestAcceptedSocketsInherit(t *testing.T) {
	in, _ := pair(t)
	if got := option(t, in, unix.TCP_NOTSENT_LOWAT); got != notSentLowat {
		t.Errorf("TCP_NOTSENT_LOWAT of an accepted socket = %d, want %d", got, notSentLowat)
	}
	if got := option(t, in, unix.TCP_USER_TIMEOUT); got != int(DeadAfter.Milliseconds()) {
		t.Errorf("TCP_USER_TIMEOUT of an accepted socket = %d, want %v", got, DeadAfter)
	}
}

func TestTuneReachesBelowTLS(t *testing.T) {
	in, _ := pair(t)
	Tune(tls.Server(in, &tls.Config{}), 7*time.Second)
	if got := option(t, in, unix.TCP_USER_TIMEOUT); got != 7000 {
		t.Errorf("TCP_USER_TIMEOUT = %d, want 7000", got)
	}
}
