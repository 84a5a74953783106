package compare

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// floorEnv makes the test binary be the floor: a process that does nothing but
// write(2), to hold fan-out against.
const floorEnv = "NACKMQ_COMPARE_FLOOR"

// floorMain accepts connections until one sends a byte. That one is the control:
// for each byte it sends, the floor writes a frame to every other connection.
func floorMain() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	// Unlike a broker the floor knows its clients by count: the control comes last.
	var n int
	fmt.Sscan(os.Getenv(floorEnv), &n)
	fds := make([]int, 0, n)
	for range n {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			os.Exit(1)
		}
		c.Close()
		fds = append(fds, int(f.Fd()))
	}
	control, err := l.Accept()
	if err != nil {
		os.Exit(1)
	}
	frame := make([]byte, floorFrame)
	frame[0] = floorFrame - 1
	b := make([]byte, 1)
	for {
		if _, err := control.Read(b); err != nil {
			os.Exit(0)
		}
		for _, fd := range fds {
			if _, err := syscall.Write(fd, frame); err != nil {
				os.Exit(1)
			}
		}
	}
}

// floorFrame is as long as a native message of 64 bytes.
const floorFrame = 70

// startFloor starts a floor for n receivers.
func startFloor(tb testing.TB, n int) *server {
	tb.Helper()
	s := &server{name: "write(2)", cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", floorEnv, n))
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	s.run(tb)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	s.native = strings.TrimSpace(line)
	return s
}
