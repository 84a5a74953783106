package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// kill -9 under load, then a restart on the same directory. What was confirmed,
// in either language, is there; what native publishers published is there once;
// epochs stay, seqs go on; and a subscriber that was there all the time has seen
// every message in order, or was told.
func TestKillUnderLoad(t *testing.T) {
	const kills = 3
	b := serveNode(t)
	watching := subJSON(b, "/load/#")

	// Native publishers: nackmq pub, which connects again and repeats what was not
	// confirmed under the numbers it had.
	type native struct {
		subject string
		in      io.WriteCloser
		w       *watcher
		sent    int
	}
	var natives []*native
	for i := range 2 {
		n := &native{subject: fmt.Sprintf("/load/nack%d", i)}
		cmd := exec.Command(binary, "pub", "--json", "--timeout", "60s", "--server", b.nack(), n.subject, "-")
		var err error
		if n.in, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		n.w = watchCommand(t, cmd)
		natives = append(natives, n)
	}
	stop := make(chan struct{})
	var feeding sync.WaitGroup
	for _, n := range natives {
		feeding.Go(func() {
			defer n.in.Close()
			for tick := time.NewTicker(2 * time.Millisecond); ; <-tick.C {
				select {
				case <-stop:
					return
				default:
				}
				for range 10 {
					n.sent++
					if _, err := fmt.Fprintf(n.in, "%d\n", n.sent); err != nil {
						t.Errorf("%s: %v: %s", n.subject, err, n.w.errs)
						return
					}
				}
			}
		})
	}

	// MQTT publishers with QoS 1 that note what was acknowledged.
	type mqtt struct {
		topic     string
		confirmed []int
	}
	var mqtts []*mqtt
	for i := range 4 {
		m := &mqtt{topic: fmt.Sprintf("load/mqtt%d", i)}
		mqtts = append(mqtts, m)
		feeding.Go(func() {
			for k := 1; ; {
				c := dialPaho(b.mqtt, stop)
				if c == nil {
					return
				}
				for {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					err := publishMQTT(ctx, c, &paho.Publish{Topic: m.topic, QoS: 1, Payload: []byte(fmt.Sprint(k))})
					cancel()
					if err != nil {
						break // the same number again, on the next connection
					}
					m.confirmed = append(m.confirmed, k)
					k++
					select {
					case <-stop:
						c.Disconnect(&paho.Disconnect{})
						return
					default:
					}
				}
				c.Disconnect(&paho.Disconnect{})
			}
		})
	}

	// Some messages of every publisher, so that all are at work when the node dies.
	done := 0
	round := func() {
		for seen := map[string]int{}; ; {
			r := watching.message()
			if seen[r.Subject]++; seen[r.Subject] != 25 {
				continue
			}
			if done++; done%(len(natives)+len(mqtts)) == 0 {
				return
			}
		}
	}
	for range kills {
		round()
		b.kill()
		b.start()
		watching.event("up")
	}
	round()
	close(stop)
	feeding.Wait()

	epochs := map[string]string{}
	for _, n := range natives {
		seq := uint64(0)
		for line := range n.w.lines {
			r := parseRecord(t, line)
			seq++
			if r.Seq != seq || seq > 1 && r.Epoch != epochs[n.subject] {
				t.Fatalf("%s: confirmation %d is %s:%d; the epoch was %s", n.subject, seq, r.Epoch, r.Seq, epochs[n.subject])
			}
			epochs[n.subject] = r.Epoch
		}
		if err := n.w.cmd.Wait(); err != nil {
			t.Fatalf("%s: pub ended with %v: %s", n.subject, err, n.w.errs)
		}
		if int(seq) != n.sent {
			t.Fatalf("%s: %d of %d were confirmed", n.subject, seq, n.sent)
		}
		w := subJSON(b, "--from", epochs[n.subject]+":0", "--count", fmt.Sprint(n.sent), n.subject)
		for k := 1; k <= n.sent; k++ {
			if m := w.message(); m.Payload != fmt.Sprint(k) || m.Seq != uint64(k) {
				t.Fatalf("%s: message %d is %+v: published twice, or lost", n.subject, k, m)
			}
		}
		t.Logf("%s: %d messages, each once", n.subject, n.sent)
	}
	for _, m := range mqtts {
		out := must(t, "", binary, "sub", "--json", "--server", b.nack(), "--from", "last", "--count", "1", "/"+m.topic)
		var newest record
		for _, r := range parseRecords(t, out) {
			if r.Event == "" {
				newest = r
			}
		}
		have := map[string]bool{}
		w := subJSON(b, "--from", newest.Epoch+":0", "/"+m.topic)
		for seq := uint64(1); seq <= newest.Seq; seq++ {
			r := w.message()
			if r.Seq != seq || r.Epoch != newest.Epoch {
				t.Fatalf("%s: message %d is %+v", m.topic, seq, r)
			}
			have[r.Payload] = true
		}
		for _, k := range m.confirmed {
			if !have[fmt.Sprint(k)] {
				t.Fatalf("%s: %d was acknowledged and is lost", m.topic, k)
			}
		}
		t.Logf("%s: %d acknowledged, %d in the log", m.topic, len(m.confirmed), newest.Seq)
	}

	// The one who watched: every subject in order without a hole. It was live, so
	// it is to see all.
	must(t, "", binary, "pub", "--server", b.nack(), "/load/end", "end")
	seen := map[string]uint64{}
	for {
		r := parseRecord(t, watching.next())
		if r.Event == "reset" {
			t.Fatalf("the subscriber lost messages that the cache holds: %+v", r)
		}
		if r.Event != "" {
			continue
		}
		if r.Subject == "/load/end" {
			break
		}
		// It did not keep what it saw before; what it sees now continues.
		if was, ok := seen[r.Subject]; ok && r.Seq != was+1 {
			t.Fatalf("the subscriber saw %s seq %d after %d", r.Subject, r.Seq, was)
		}
		seen[r.Subject] = r.Seq
	}
}

// dialPaho connects to an MQTT broker, again and again until it works or stop is
// closed.
func dialPaho(addr string, stop <-chan struct{}) *paho.Client {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			select {
			case <-stop:
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		c := paho.NewClient(paho.ClientConfig{Conn: conn, PacketTimeout: patience})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err = c.Connect(ctx, &paho.Connect{ClientID: "load-" + strings.TrimPrefix(conn.LocalAddr().String(), "127.0.0.1:"), KeepAlive: 30, CleanStart: true})
		cancel()
		if err == nil {
			return c
		}
		conn.Close()
	}
}
