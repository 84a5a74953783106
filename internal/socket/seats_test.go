package socket

import (
	"net"
	"testing"
)

func TestSeats(t *testing.T) {
	s := NewSeats(2)
	for i, want := range []bool{true, true, false} {
		if got := s.Take(); got != want {
			t.Errorf("take %d of two seats: %v", i+1, got)
		}
	}
	s.Give()
	for i, want := range []bool{true, false} {
		if got := s.Take(); got != want {
			t.Errorf("take %d of one seat that was given back: %v", i+1, got)
		}
	}
	if n := NewSeats(0).Limit(); n < 128 {
		t.Errorf("by default there are %d seats", n)
	}
	if none := (*Seats)(nil); !none.Take() {
		t.Error("nil seats have a limit")
	}
}

// A listener's connections have their seats until they are closed.
func TestSeatsOfAListener(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0", -1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := NewSeats(1)
	seated := s.Listener(l)
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	dial()
	first, err := seated.Accept()
	if err != nil {
		t.Fatal(err)
	}
	refused := dial()
	accepted := make(chan net.Conn)
	go func() {
		nc, _ := seated.Accept()
		accepted <- nc
	}()
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("the second connection of one seat was not closed")
	}
	first.Close()
	first.Close()
	dial()
	if nc := <-accepted; nc == nil {
		t.Error("a seat that is free was not given")
	} else {
		nc.Close()
	}
}
