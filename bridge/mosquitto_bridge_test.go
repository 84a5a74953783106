package bridge

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

// A neighbour is a Mosquitto as Debian installs it, with a bridge to a door.
type neighbour struct {
	*exec.Cmd
	t    *testing.T
	conf string
	addr string
	log  bytes.Buffer // of one run, to be read when it is over
}

func newNeighbour(t *testing.T, door string) *neighbour {
	t.Helper()
	const path = "/usr/sbin/mosquitto"
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there (Debian: apt-get install mosquitto)", path)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &neighbour{t: t, addr: ln.Addr().String()}
	ln.Close()
	_, port, _ := net.SplitHostPort(n.addr)
	dir := t.TempDir()
	n.conf = filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location " + dir + "/\n" +
		"connection up\naddress " + door + "\ntopic # both 1\nrestart_timeout 1 1\n"
	if os.Getuid() == 0 {
		text += "user root\n" // or it could not write into dir
	}
	if err := os.WriteFile(n.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *neighbour) start() {
	n.t.Helper()
	n.log.Reset()
	n.Cmd = exec.Command("/usr/sbin/mosquitto", "-v", "-c", n.conf)
	n.Stderr = &n.log
	if err := n.Start(); err != nil {
		n.t.Fatal(err)
	}
	eventually(n.t, "mosquitto listens", func() bool {
		nc, err := net.Dial("tcp", n.addr)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

// stop ends it in good order and gives what it logged.
func (n *neighbour) stop() string {
	if n.Cmd == nil {
		return ""
	}
	_ = n.Process.Signal(syscall.SIGTERM)
	_ = n.Wait()
	n.Cmd = nil
	return n.log.String()
}

// house gives it as one that peers can connect to.
func (n *neighbour) house() *house { return &house{t: n.t, addr: n.addr} }

// A doorstep is an address that stays the same when the house behind it is another.
type doorstep struct {
	addr string
	mu   sync.Mutex
	to   string
}

func newDoorstep(t *testing.T, to string) *doorstep {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &doorstep{addr: ln.Addr().String(), to: to}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		to.Close()
	}
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			out, err := net.Dial("tcp", d.to)
			d.mu.Unlock()
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { pass(in, out) })
			wg.Go(func() { pass(out, in) })
		}
	})
	return d
}

func (d *doorstep) lead(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
}

// bridged waits for the session of a bridge of "#".
func (h *house) bridged() {
	h.t.Helper()
	eventually(h.t, "the bridge connects and subscribes", func() (there bool) {
		h.loop.do(func() {
			for _, s := range h.loop.sessions {
				there = there || s.client != nil && s.client.bridge && s.subs["#"] != nil
			}
		})
		return there
	})
}

// put publishes with QoS 1 and waits for the PUBACK.
func (p *peer) put(topic, payload string, id uint16) {
	p.t.Helper()
	p.send(pub(topic, payload, 1, id))
	p.want(packets.Puback)
}

// A Mosquitto that bridges "# both 1" with its defaults connects at its first
// attempt, carries messages both ways with their retain bit, and echoes nothing,
// neither live nor as a retained message when it comes back.
func TestMosquittoBridge(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n := newNeighbour(t, h.addr)
	n.start()
	h.bridged()

	ours, theirs := h.connect(5, "ours"), n.house().connect(4, "theirs")
	all := sub("#", 1)
	all.RetainAsPublished = true
	ours.subscribe(1, all)
	theirs.subscribe(1, sub("#", 1))
	next := func(p *peer, topic, payload string) *packets.Packet {
		t.Helper()
		m := p.message(topic, payload)
		p.send(ackOf(packets.Puback, m.PacketID))
		return m
	}

	them := n.house().connect(4, "pub")
	kept := pub("kept/theirs", "k", 1, 1)
	kept.FixedHeader.Retain = true
	them.send(kept)
	them.want(packets.Puback)
	next(theirs, "kept/theirs", "k")
	if m := next(ours, "kept/theirs", "k"); !m.FixedHeader.Retain {
		t.Error("what Mosquitto retained lost its retain bit on the way")
	}
	for i := range 10 {
		them.put("from/theirs", fmt.Sprint(i), uint16(i+2))
		next(theirs, "from/theirs", fmt.Sprint(i))
		next(ours, "from/theirs", fmt.Sprint(i))
		h.publish("from/ours", fmt.Sprint(i), q1)
		// An echo of what came before would be here.
		next(ours, "from/ours", fmt.Sprint(i))
		next(theirs, "from/ours", fmt.Sprint(i))
	}
	theirs.goodbye()
	them.goodbye()
	if log := n.stop(); strings.Count(log, "sending CONNECT") != 1 {
		t.Errorf("mosquitto did not connect at its first attempt:\n%.2000s", log)
	}

	// When it comes back it asks for the retained messages, and has its own already.
	n.start()
	h.bridged()
	theirs = n.house().connect(4, "theirs")
	theirs.subscribe(1, sub("#", 1))
	next(theirs, "kept/theirs", "k")
	h.publish("from/ours", "end", q1)
	next(theirs, "from/ours", "end")
}

// What a bridge does not say in MQTT 3 is said for it: no local, also for retained
// messages, and retain as published.
func TestBridgeWantsNoEcho(t *testing.T) {
	h := newHouse(t)
	b := h.dial(4)
	b.name = "bridge"
	b.raw("10 0d 0004 4d515454 84 02 003c 0001 62")
	b.want(packets.Connack)
	kept := pub("own", "1", 1, 1)
	kept.FixedHeader.Retain = true
	b.send(kept)
	b.want(packets.Puback)
	h.publish("foreign", "1", q1|stream.Retain)
	b.subscribe(2, sub("#", 1))
	b.message("foreign", "1")
	b.put("own", "2", 3)
	h.publish("foreign", "2", q1|stream.Retain)
	if m := b.message("foreign", "2"); !m.FixedHeader.Retain {
		t.Error("a live message lost its retain bit")
	}
	b.silence()
	shared := b.subscribe(4, sub("$share/g/#", 1)) // no local is not for those
	if shared.ReasonCodes[0] != 1 {
		t.Errorf("SUBACK %#x for a shared subscription", shared.ReasonCodes[0])
	}
}

// Nothing that was acknowledged on either side is missing on the other one after
// both went down and came back, in turns.
func TestMosquittoBridgeOutlivesRestarts(t *testing.T) {
	t.Parallel()
	h := newHouseOver(t, brokertest.NewLocal(t, stream.Limits{}))
	step := newDoorstep(t, h.addr)
	n := newNeighbour(t, step.addr)
	n.start()
	h.bridged()

	// gathered gives the payloads that come until the last one, each once.
	gathered := func(p *peer, topic, last string) (got []string) {
		t.Helper()
		for {
			m := p.want(packets.Publish)
			p.send(ackOf(packets.Puback, m.PacketID))
			if s := string(m.Payload); m.TopicName == topic && (len(got) == 0 || got[len(got)-1] != s) {
				got = append(got, s)
				if s == last {
					return got
				}
			}
		}
	}
	const each = 20
	check := func(what string, got []string, from int) {
		t.Helper()
		seen := map[string]bool{}
		for _, s := range got {
			seen[s] = true
		}
		for i := from; i < from+each; i++ {
			if !seen[strconv.Itoa(i)] {
				t.Errorf("%s: %d is missing in %v", what, i, got)
			}
		}
	}
	for round := range 3 {
		from := round * each
		names := [2]string{fmt.Sprint("ours", round), fmt.Sprint("theirs", round)}
		ours := h.connect(5, names[0], keep)
		ours.subscribe(1, sub("from/theirs", 1))
		theirs := n.house().connect(4, names[1], keep)
		theirs.subscribe(1, sub("from/ours", 1))
		them := n.house().connect(4, "pub")
		put := func(lo, hi int) {
			for i := lo; i < hi; i++ {
				them.put("from/theirs", strconv.Itoa(i), uint16(i+1))
				h.publish("from/ours", strconv.Itoa(i), q1)
			}
		}
		put(from, from+each/2)
		switch round {
		case 0, 1: // ours goes down, also without a word
			step.lead("127.0.0.1:1")
			h = h.restart(round == 1, ours)
			put(from+each/2, from+each)
			step.lead(h.addr)
			h.bridged()
			ours, _ = h.tryConnect(5, names[0], keep)
		case 2: // theirs goes down
			for i := from + each/2; i < from+each; i++ {
				them.put("from/theirs", strconv.Itoa(i), uint16(i+1))
			}
			n.stop()
			theirs.nc.Close()
			for i := from + each/2; i < from+each; i++ {
				h.publish("from/ours", strconv.Itoa(i), q1)
			}
			n.start()
			h.bridged()
			theirs = n.house().connect(4, names[1], keep)
		}
		last := strconv.Itoa(from + each - 1)
		check(fmt.Sprintf("round %d, ours", round), gathered(ours, "from/theirs", last), from)
		check(fmt.Sprintf("round %d, theirs", round), gathered(theirs, "from/ours", last), from)
		ours.nc.Close()
		theirs.nc.Close()
	}
}
