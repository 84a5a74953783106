package nacknet

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/nackmq/nackmq/internal/socket"
	"github.com/nackmq/nackmq/nackproto"
)

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
				s.give()
				return
			}
			nc.SetDeadline(time.Time{})
			// The reader is another goroutine: this one's stack has grown.
			s.adopt(tc)
		}()
	})
}

// serve takes connections and hands them to take, until ctx ends or the server
// is closed.
func (s *Server) serve(ctx context.Context, l net.Listener, take func(net.Conn)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(s.ctx, func() { stop(ErrServerClosed) })()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.Close()
		return ErrServerClosed
	}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	socket.Tune(l, socket.DeadAfter)
	return socket.Accept(ctx, l, s.cf.Log, func(nc net.Conn) {
		if !s.take() {
			s.turnAway(nc)
			return
		}
		take(nc)
	})
}

// take counts a connection, if there is a seat for it; give ends that.
func (s *Server) take() bool {
	ok := s.cf.Seats.Take()
	if ok {
		s.live.Add(1)
	}
	return ok
}

func (s *Server) give() {
	s.live.Add(-1)
	s.cf.Seats.Give()
}

// busy is the frame for whom there is no room.
var busy = (&nackproto.Close{Code: nackproto.CloseBusy, Retry: 5 * time.Second, Reason: "too many connections"}).AppendTo(nil)

// turnAway tells a client that there is no room, if the socket takes it at once.
func (s *Server) turnAway(nc net.Conn) {
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
		s.give()
		return
	}
	l.inbox.post(event{kind: evOpened, conn: newConn(l, nc, serial)})
}
