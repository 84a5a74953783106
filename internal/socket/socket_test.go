package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// pair gives both ends of a connection through Listen.
func pair(t *testing.T) (in, out net.Conn) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", -1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if out, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	if in, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in, out
}

func TestTryWrite(t *testing.T) {
	in, out := pair(t)
	fd := FD(in)
	if fd < 0 {
		t.Skip("writes are not tried on this platform")
	}
	chunk, took := make([]byte, 64<<10), 0
	for full := false; !full; {
		n, err := TryWrite(fd, chunk)
		if err != nil {
			t.Fatal(err)
		}
		took += n
		full = n < len(chunk)
	}
	if n, err := TryWrite(fd, chunk); err != nil || n == len(chunk) {
		t.Errorf("a full socket took %d bytes, %v", n, err)
	} else {
		took += n
	}
	if _, err := io.ReadFull(out, make([]byte, took)); err != nil {
		t.Errorf("the peer did not get the %d bytes that were taken: %v", took, err)
	}
	out.(*net.TCPConn).SetLinger(0)
	out.Close() // with a reset
	in.Read(chunk)
	if _, err := TryWrite(fd, chunk); err == nil {
		t.Error("a broken connection took a write")
	}
}

func TestOnlyPlainTCPHasAnFD(t *testing.T) {
	in, _ := pair(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for name, nc := range map[string]net.Conn{"TLS": tls.Server(in, &tls.Config{}), "a pipe": a} {
		if fd := FD(nc); fd >= 0 {
			t.Errorf("%s has descriptor %d, want none", name, fd)
		}
	}
}

// A faulty listener fails with EMFILE until it is closed, but for those Accepts
// for which there is a connection.
type faulty struct {
	closed chan struct{}
	conns  chan net.Conn
	asked  int
}

func newFaulty() *faulty { return &faulty{closed: make(chan struct{}), conns: make(chan net.Conn, 1)} }

func (l *faulty) Accept() (net.Conn, error) {
	l.asked++
	select {
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Err: net.ErrClosed}
	case nc := <-l.conns:
		return nc, nil
	default:
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
}

func (l *faulty) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *faulty) Addr() net.Addr { return &net.TCPAddr{} }

// An error that may pass is waited out, more and more patiently, and told once.
func TestAcceptErrorsAreWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := newFaulty(), 0
		log := zerolog.New(io.Discard).Hook(zerolog.HookFunc(func(*zerolog.Event, zerolog.Level, string) { told++ }))
		took, done := make(chan net.Conn, 1), make(chan error, 1)
		go func() { done <- Accept(t.Context(), l, log, func(nc net.Conn) { took <- nc }) }()
		time.Sleep(time.Minute)
		l.conns <- nil
		<-took
		l.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept = %v, want net.ErrClosed", err)
		}
		if told != 1 {
			t.Errorf("%d lines in the log, want 1", told)
		}
		if l.asked < 60 || l.asked > 80 {
			t.Errorf("%d Accepts in a minute, want about one a second", l.asked)
		}
	})
}

// The end of the context ends a wait, too, and its cause is the error.
func TestAcceptEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, why := newFaulty(), errors.New("enough")
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- Accept(ctx, l, zerolog.Nop(), func(net.Conn) {}) }()
		time.Sleep(10*time.Second + 1)
		before := time.Now()
		stop(why)
		if err := <-done; err != why || time.Since(before) > 0 {
			t.Errorf("Accept = %v after %v, want %v at once", err, time.Since(before), why)
		}
		synctest.Wait()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error("the listener is still open")
		}
	})
}
