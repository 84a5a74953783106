package nacknet

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/nackmq/nackmq/nackproto"
)

// Listen listens on a TCP address with what the server wants of its sockets: see
// listenControl.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error { return listenControl(raw) }}
	lc.SetMultipathTCP(false) // what is set on a multipath listener does not reach the connections it accepts
	return lc.Listen(ctx, "tcp", addr)
}

// ServeTLS is Serve with TLS on top.
func (s *Server) ServeTLS(ctx context.Context, l net.Listener, cf *tls.Config) error {
	if cf = cf.Clone(); len(cf.NextProtos) == 0 {
		cf.NextProtos = []string{"nack"}
	}
	return s.serve(ctx, l, func(nc net.Conn) {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			tc := tls.Server(nc, cf)
			nc.SetDeadline(time.Now().Add(nackproto.HelloTimeout))
			if err := tc.HandshakeContext(s.ctx); err != nil {
				nc.Close()
				s.live.Add(-1)
				return
			}
			nc.SetDeadline(time.Time{})
			// The reader is another goroutine: this one's stack has grown.
			s.adopt(tc)
		}()
	})
}

// serve takes connections and hands them to take, until ctx ends or the server
// is closed. An error of Accept that may pass is waited out.
func (s *Server) serve(ctx context.Context, l net.Listener, take func(net.Conn)) error {
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	if sc, ok := l.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			listenControl(raw) // of use only; a listener that refuses works as well
		}
	}
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			if s.live.Add(1) > int64(s.cf.MaxConnections) {
				s.turnAway(nc)
				continue
			}
			take(nc)
			continue
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.isClosed():
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		}
		// EMFILE, ENFILE, ENOBUFS, ECONNABORTED: the next one may do.
		if pause = min(max(2*pause, 5*time.Millisecond), time.Second); pause >= 80*time.Millisecond {
			s.cf.Log.Warn().Err(err).Dur("pause", pause).Msg("cannot accept connections")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// busy is the frame for whom there is no room.
var busy = (&nackproto.Close{Code: nackproto.CloseBusy, Retry: 5 * time.Second, Reason: "too many connections"}).AppendTo(nil)

// turnAway tells a client that there is no room, if the socket takes it at once.
func (s *Server) turnAway(nc net.Conn) {
	s.live.Add(-1)
	s.stats.turnAway()
	nc.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if _, ok := nc.(*net.TCPConn); ok {
		nc.Write(busy)
	}
	nc.Close()
}

// adopt gives a connection, counted already, to a loop.
func (s *Server) adopt(nc net.Conn) {
	serial := s.next.Add(1)
	l := s.loops[serial%uint64(len(s.loops))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		s.live.Add(-1)
		return
	}
	l.inbox.post(event{kind: evOpened, conn: newConn(l, nc, serial)})
}
