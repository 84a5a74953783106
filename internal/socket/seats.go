package socket

import (
	"net"
	"sync"
	"sync/atomic"
)

// Seats are the connections that all doors of a node may have together, so that
// none of them takes the last file descriptor: a log that cannot open its next
// file stops the node. The nil Seats are without limit.
type Seats struct {
	limit int64
	taken atomic.Int64
}

// NewSeats gives seats for limit connections; 0: for as many as the limit of open
// files allows.
func NewSeats(limit int) *Seats {
	if limit == 0 {
		limit = maxSeats()
	}
	return &Seats{limit: int64(limit)}
}

// Limit gives how many there are.
func (s *Seats) Limit() int { return int(s.limit) }

// Take takes a seat; false: there is none. Give gives it back.
func (s *Seats) Take() bool {
	if s == nil {
		return true
	}
	if s.taken.Add(1) > s.limit {
		s.taken.Add(-1)
		return false
	}
	return true
}

func (s *Seats) Give() {
	if s != nil {
		s.taken.Add(-1)
	}
}

// Listener gives l with a seat for each connection that it accepts, until that is
// closed. One for which there is none is closed as it comes.
func (s *Seats) Listener(l net.Listener) net.Listener { return &seatListener{l, s} }

type seatListener struct {
	net.Listener
	seats *Seats
}

func (l *seatListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.seats.Take() {
			return &seatConn{Conn: nc, leave: sync.OnceFunc(l.seats.Give)}, nil
		}
		nc.Close()
	}
}

type seatConn struct {
	net.Conn
	leave func()
}

// NetConn gives the connection itself: see Tune.
func (c *seatConn) NetConn() net.Conn { return c.Conn }

func (c *seatConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
