package bridge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/stream"
)

// The benchmarks compare this door, over a log in memory, with Mosquitto. Each
// broker is a process of its own, and its CPU time is read from /proc; the load
// generator is the same. Set NACKMQ_BENCH_ADDR and NACKMQ_BENCH_PID to measure a
// broker that runs already, for example `nackmq serve` with its disk.
//
//	go test -run '^$' -bench . -benchtime 3s ./bridge

const benchChild = "NACKMQ_BENCH_CHILD"

// TestBenchChild is the broker's process of the benchmarks.
func TestBenchChild(t *testing.T) {
	if os.Getenv(benchChild) == "" {
		t.Skip("only the benchmarks run it")
	}
	log := brokertest.NewLocal(t, stream.Limits{})
	b, err := New(Config{Broker: log.Broker, Publisher: log, Metrics: metrics.New(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("addr %s\n", ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the benchmark
		_ = b.Close()
	}()
	if err := b.Serve(t.Context(), ln); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
}

// A rival is a broker under measurement.
type rival struct {
	name string
	addr string
	pid  int
}

// rivals starts the brokers.
func rivals(b *testing.B) []rival {
	b.Helper()
	var out []rival
	if addr := os.Getenv("NACKMQ_BENCH_ADDR"); addr != "" {
		pid, _ := strconv.Atoi(os.Getenv("NACKMQ_BENCH_PID"))
		out = append(out, rival{"given", addr, pid})
	} else {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBenchChild$", "-test.count=1", "-test.timeout=1h")
		cmd.Env = append(os.Environ(), benchChild+"=1")
		in, _ := cmd.StdinPipe()
		stdout, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		addr, ok := strings.CutPrefix(strings.TrimSpace(line), "addr ")
		if !ok {
			b.Fatalf("the child said %q", line)
		}
		b.Cleanup(func() {
			in.Close()
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			_ = cmd.Wait()
		})
		out = append(out, rival{"nackmq", addr, cmd.Process.Pid})
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	if _, err := os.Stat(path); err != nil {
		b.Log("mosquitto is not installed (Debian: apt-get install mosquitto): measured alone")
		return out
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(b.TempDir(), "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path, "-c", conf)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(patience); ; {
		if nc, err := net.Dial("tcp", addr); err == nil {
			nc.Close()
			break
		}
		if time.Now().After(end) {
			b.Fatal("mosquitto does not listen")
		}
	}
	return append(out, rival{"mosquitto", addr, cmd.Process.Pid})
}

// cpu gives the CPU time that the broker used.
func (r rival) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// benchClient connects and, with a filter, subscribes.
func (r rival) client(b *testing.B, id, filter string, qos byte) net.Conn {
	b.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	p := &peer{t: b, nc: nc, br: bufio.NewReaderSize(nc, 16), version: 4, name: id}
	p.send(connectPacket(4, id))
	p.want(packets.Connack)
	if filter != "" {
		p.subscribe(1, sub(filter, qos))
	}
	_ = nc.SetDeadline(time.Time{})
	return nc
}

const benchPayload = 64

func benchPublish(topic string, qos byte, id uint16) []byte {
	var buf bytes.Buffer
	pk := pub(topic, strings.Repeat("x", benchPayload), qos, id)
	pk.ProtocolVersion = 4
	_ = pk.PublishEncode(&buf)
	return buf.Bytes()
}

// 100 publishers with 20 publications of QoS 1 in flight each.
func BenchmarkFanIn(b *testing.B) {
	for _, r := range rivals(b) {
		b.Run(r.name, func(b *testing.B) {
			const publishers, window = 100, 20
			conns := make([]net.Conn, publishers)
			for i := range conns {
				conns[i] = r.client(b, fmt.Sprintf("in%d-%d", b.N, i), "", 0)
			}
			share := b.N/publishers + 1
			cpu := r.cpu()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, nc := range conns {
				wg.Add(1)
				go func() {
					defer wg.Done()
					frame := benchPublish(fmt.Sprintf("bench/in/%d", i), 1, 1)
					at := len(frame) - benchPayload - 2
					var out []byte
					ack := make([]byte, 4*window)
					for sent, acked, rest := 0, 0, 0; acked < share; {
						out = out[:0]
						for sent < share && sent-acked < window {
							binary.BigEndian.PutUint16(frame[at:], uint16(sent%60000+1))
							out = append(out, frame...)
							sent++
						}
						if len(out) > 0 {
							if _, err := nc.Write(out); err != nil {
								b.Error(err)
								return
							}
						}
						n, err := nc.Read(ack)
						if err != nil {
							b.Error(err)
							return
						}
						n += rest
						acked, rest = acked+n/4, n%4
					}
				}()
			}
			wg.Wait()
			b.StopTimer()
			report(b, r, cpu, float64(share*publishers), "msg")
		})
	}
}

// One publisher, many subscribers, so many messages in flight.
func BenchmarkFanOut(b *testing.B) {
	for _, r := range rivals(b) {
		for _, qos := range []byte{0, 1} {
			for _, flight := range []int{1, 8, 64} {
				b.Run(fmt.Sprintf("QoS%d/flight%d/%s", qos, flight, r.name), func(b *testing.B) { benchFanOut(b, r, qos, flight) })
			}
		}
	}
}

func benchFanOut(b *testing.B, r rival, qos byte, flight int) {
	const subscribers = 200
	topic := fmt.Sprintf("bench/out/%d", time.Now().UnixNano())
	frame := benchPublish(topic, qos, 1)
	rounds := b.N/subscribers/flight + 1
	total := rounds * flight
	got := make(chan struct{}, subscribers*(rounds+1))
	for i := range subscribers {
		nc := r.client(b, fmt.Sprintf("out%d-%d-%d-%d", qos, flight, b.N, i), topic, qos)
		go func() {
			buf := make([]byte, 32<<10)
			var acks []byte
			have, count := 0, 0
			for count < total {
				n, err := nc.Read(buf[have:])
				if err != nil {
					return
				}
				have += n
				acks = acks[:0]
				at := 0
				for ; have-at >= len(frame); at += len(frame) {
					if count++; count%flight == 0 {
						got <- struct{}{}
					}
					if qos == 1 {
						id := buf[at+len(frame)-benchPayload-2:]
						acks = append(acks, 0x40, 2, id[0], id[1])
					}
				}
				have = copy(buf, buf[at:have])
				if len(acks) > 0 {
					if _, err := nc.Write(acks); err != nil {
						return
					}
				}
			}
		}()
	}
	p := r.client(b, fmt.Sprintf("pub%d-%d-%d", qos, flight, b.N), "", 0)
	go func() { _, _ = io.Copy(io.Discard, p) }()
	batch := bytes.Repeat(frame, flight)
	cpu := r.cpu()
	b.ResetTimer()
	for range rounds {
		if _, err := p.Write(batch); err != nil {
			b.Fatal(err)
		}
		for range subscribers {
			select {
			case <-got:
			case <-time.After(30 * time.Second):
				b.Fatal("a delivery is missing")
			}
		}
	}
	b.StopTimer()
	report(b, r, cpu, float64(total*subscribers), "delivery")
}

func report(b *testing.B, r rival, before time.Duration, n float64, unit string) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/b.Elapsed().Seconds(), unit+"/s")
	if r.pid != 0 {
		b.ReportMetric(float64((r.cpu()-before).Microseconds())/n, "cpu-µs/"+unit)
	}
}

// Kept sessions, each with 100 missed messages on a subject of its own, come
// back at once while others publish.
func BenchmarkComeBack(b *testing.B) {
	const sessions, missed = 1000, 100
	for range b.N {
		b.StopTimer()
		log := brokertest.NewLocal(b, stream.Limits{})
		h := newHouseOver(b, log)
		for i := range sessions {
			p := h.connect(4, fmt.Sprint(i), keep)
			p.subscribe(1, sub(fmt.Sprintf("own/%d", i), 1))
			p.goodbye()
		}
		var wg sync.WaitGroup
		for k := range missed {
			for i := range sessions {
				wg.Add(1)
				log.Publish(stream.Item{Publication: stream.Publication{Subject: stream.Subject(fmt.Sprintf("/own/%d", i)),
					Payload: []byte(strconv.Itoa(k)), Flags: q1}}, func(stream.Place, error) { wg.Done() })
			}
		}
		wg.Wait()
		took := make([]time.Duration, sessions)
		b.StartTimer()
		for i := range sessions {
			wg.Add(1)
			go func() {
				defer wg.Done()
				start := time.Now()
				p := h.connect(4, fmt.Sprint(i), keep)
				for range missed {
					m := p.want(packets.Publish)
					p.send(ackOf(packets.Puback, m.PacketID))
				}
				took[i] = time.Since(start)
				p.nc.Close()
			}()
		}
		wg.Wait()
		b.StopTimer()
		slices.Sort(took)
		b.ReportMetric(float64(took[sessions*99/100].Milliseconds()), "p99-ms")
		_ = h.Close()
	}
}
