package nacknet

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nackmq/nackmq/nackproto"
)

// beReceivers makes the test binary a process of receivers if it was started as
// one, so that what a benchmark measures of its own process is the sender alone.
func beReceivers() {
	if spec := os.Getenv("NACKNET_RECEIVERS"); spec != "" {
		receive(spec)
		os.Exit(0)
	}
}

// receivers is another process with many connections that read.
type receivers struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startReceivers connects n receivers to addr. With a filter they subscribe. If
// they are stuck, they read only the first bytes.
func startReceivers(t testing.TB, addr string, n int, filter string, stuck bool) *receivers {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("NACKNET_RECEIVERS=%s %d %v %s", addr, n, stuck, filter))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	r := &receivers{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	r.answer() // connected
	return r
}

func (r *receivers) answer() (n int64) {
	r.t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		r.t.Fatalf("the receivers ended: %v", err)
	}
	fmt.Sscan(line, &n)
	return n
}

// settle gives the bytes that all received, once no more come.
func (r *receivers) settle() int64 {
	r.t.Helper()
	fmt.Fprintln(r.in, "settle")
	return r.answer()
}

// wait waits until they have received so many bytes in all.
func (r *receivers) wait(total int64) {
	r.t.Helper()
	fmt.Fprintln(r.in, total)
	r.answer()
}

func receive(spec string) {
	var addr, filter string
	var n int
	var stuck bool
	fmt.Sscan(strings.TrimSpace(spec), &addr, &n, &stuck, &filter)
	var total atomic.Int64
	moved := make(chan struct{}, 1)
	for range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if filter != "" {
			b := (&nackproto.Hello{Lowest: 1, Highest: 1}).AppendTo(nil)
			nc.Write((&nackproto.Subscribe{Sub: 1, Filter: filter}).AppendTo(b))
		}
		go func() {
			buf := make([]byte, 64<<10)
			for read := 0; !stuck || read < 60; {
				k, err := nc.Read(buf)
				if err != nil {
					return
				}
				read += k
				total.Add(int64(k))
				select {
				case moved <- struct{}{}:
				default:
				}
			}
			select {}
		}()
	}
	fmt.Println(n)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "settle" {
			last := int64(-1)
			for total.Load() != last {
				last = total.Load()
				time.Sleep(300 * time.Millisecond)
			}
			fmt.Println(last)
			continue
		}
		var target int64
		fmt.Sscan(in.Text(), &target)
		for total.Load() < target {
			<-moved
		}
		fmt.Println(total.Load())
	}
}
