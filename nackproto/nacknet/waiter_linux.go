package nacknet

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nackmq/nackmq/nackproto/session"
)

// A waiter tells a loop when sockets that were full have room. It is an epoll of
// its own, in which a socket is only while it is waited for, so a stuck peer
// costs no goroutine. One goroutine reads it, by way of Go's poller.
type waiter struct {
	loop *loop
	fd   int
	file *os.File
	done chan struct{}
}

// canWait says that there are waiters, so that writes may be tried.
const canWait = true

func newWaiter(l *loop) (*waiter, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("nacknet: cannot wait for sockets: %w", err)
	}
	_ = unix.SetNonblock(fd, true) // SyscallConn's Read waits only for such a one
	w := &waiter{loop: l, fd: fd, file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{})}
	raw, err := w.file.SyscallConn()
	if err != nil {
		w.file.Close()
		return nil, fmt.Errorf("nacknet: cannot wait for sockets: %w", err)
	}
	go w.run(raw)
	return w, nil
}

// wait posts evWritable once fd has room. Closing fd ends the wait.
func (w *waiter) wait(fd int, id session.ID) {
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	if unix.EpollCtl(w.fd, unix.EPOLL_CTL_MOD, fd, &ev) == unix.ENOENT {
		unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &ev)
	}
}

func (w *waiter) run(raw syscall.RawConn) {
	defer close(w.done)
	events := make([]unix.EpollEvent, 256)
	for {
		n := 0
		if err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		}); err != nil {
			return // closed
		}
		for _, ev := range events[:n] {
			id := session.ID(uint32(ev.Fd)) | session.ID(uint32(ev.Pad))<<32
			w.loop.inbox.post(event{kind: evWritable, id: id})
		}
	}
}

func (w *waiter) close() {
	w.file.Close()
	<-w.done
}
