package nacknet

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAcceptedSocketsInherit holds the kernel to what a stuck peer may cost: the
// option must arrive at the accepted socket, which it does not on a multipath
// listener.
func TestAcceptedSocketsInherit(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for name, opt := range map[string]struct{ opt, want int }{
		"TCP_NOTSENT_LOWAT": {unix.TCP_NOTSENT_LOWAT, notSentLowat},
		"TCP_USER_TIMEOUT":  {unix.TCP_USER_TIMEOUT, userTimeout},
	} {
		raw, err := in.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, opt.opt); err != nil || got != opt.want {
				t.Errorf("%s of an accepted socket = %d, %v, want %d", name, got, err, opt.want)
			}
		})
	}
}
