package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// A fleet's client, as others wrote it. Each prints what it hears as
// TOPIC|QOS|RETAIN|PAYLOAD, and publishes lines of that form.
type fleetClient struct {
	name    string
	pubQoS  int // the highest that it can
	subQoS  int
	publish func(b *broker, lines []string) error
	hear    func(b *broker, filter string) (next func() (string, error))
}

// line gives what a client hears next, or an error.
func (w *watcher) line(prefix string) (string, error) {
	for end := time.After(patience); ; {
		select {
		case l, ok := <-w.lines:
			if !ok {
				return "", fmt.Errorf("%v ended: %s", w.cmd.Args, w.errs)
			}
			if rest, is := strings.CutPrefix(l, prefix); is {
				return rest, nil
			}
		case <-end:
			return "", fmt.Errorf("%v printed nothing for %v: %s", w.cmd.Args, patience, w.errs)
		}
	}
}

// program is a client that is a program of its own, with "sub FILTER" and "pub".
func program(name string, command func(b *broker, args ...string) *exec.Cmd) fleetClient {
	return fleetClient{name, 2, 2,
		func(b *broker, lines []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			cmd := command(b, "pub")
			cmd = exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
			cmd.Env = environment()
			cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
			}
			return nil
		},
		func(b *broker, filter string) func() (string, error) {
			cmd := command(b, "sub", filter)
			in, err := cmd.StdinPipe() // until it closes, the program stays
			if err != nil {
				b.t.Fatal(err)
			}
			w := watchCommand(b.t, cmd)
			b.t.Cleanup(func() { in.Close() })
			var early []string // a retained message may come before the client knows that it is subscribed
			for l := w.next(); l != "ready"; l = w.next() {
				early = append(early, l)
			}
			return func() (string, error) {
				if len(early) > 0 {
					l := early[0]
					early = early[1:]
					return l, nil
				}
				return w.line("")
			}
		},
	}
}

// mosquittoClient is mosquitto_pub and mosquitto_sub in one version.
func mosquittoClient(version string) fleetClient {
	return fleetClient{version, 2, 2,
		func(b *broker, lines []string) error {
			// One mosquitto_pub publishes to one topic with one QoS.
			for len(lines) > 0 {
				f := strings.SplitN(lines[0], "|", 4)
				head := strings.Join(f[:3], "|") + "|"
				var payloads []string
				for len(lines) > 0 && strings.HasPrefix(lines[0], head) {
					payloads, lines = append(payloads, strings.TrimPrefix(lines[0], head)), lines[1:]
				}
				args := []string{"-V", version, "-t", f[0], "-q", f[1], "-l"}
				if f[2] == "1" {
					args = append(args, "-r")
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				cmd := exec.CommandContext(ctx, "mosquitto_pub", b.mosquitto(args...)...)
				cmd.Stdin = strings.NewReader(strings.Join(payloads, "\n") + "\n")
				out, err := cmd.CombinedOutput()
				cancel()
				if err != nil {
					return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
				}
			}
			return nil
		},
		func(b *broker, filter string) func() (string, error) {
			w := mosquittoSub(b, "-V", version, "-q", "2", "-t", filter)
			return func() (string, error) { return w.line("message ") }
		},
	}
}

// heard lets a client in this process hand on what it hears.
type heard chan string

func (h heard) add(topic string, qos, retain byte, payload string) {
	h <- fmt.Sprintf("%s|%d|%d|%s", topic, qos, retain, payload)
}

func (h heard) next() (string, error) {
	select {
	case l := <-h:
		return l, nil
	case <-time.After(patience):
		return "", errors.New("nothing was heard")
	}
}

// umqttClient is MicroPython's: QoS 1 is its highest.
func umqttClient() fleetClient {
	return fleetClient{"umqtt", 1, 1,
		func(b *broker, lines []string) error {
			c, err := dialUmqtt(b.mqtt, "umqtt-pub")
			if err != nil {
				return err
			}
			defer c.disconnect()
			for _, l := range lines {
				f := strings.SplitN(l, "|", 4)
				if err := c.publish(f[0], f[3], f[2] == "1", f[1][0]-'0'); err != nil {
					return err
				}
			}
			return nil
		},
		func(b *broker, filter string) func() (string, error) {
			c, err := dialUmqtt(b.mqtt, "umqtt-sub-"+filter)
			if err != nil {
				b.t.Fatal(err)
			}
			h := make(heard, 1<<16)
			c.heard = h.add
			if err := c.subscribe(filter, 1); err != nil {
				b.t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					if _, err := c.wait(); err != nil {
						return
					}
				}
			}()
			b.t.Cleanup(func() { c.disconnect(); <-ended })
			return h.next
		},
	}
}

// pahoGolang is paho.golang, which speaks MQTT 5. It answers, too, what it is asked
// with a response topic.
func pahoGolang() fleetClient {
	connect := func(b *broker, id string, h heard) (*paho.Client, error) {
		nc, err := net.Dial("tcp", b.mqtt)
		if err != nil {
			return nil, err
		}
		c := paho.NewClient(paho.ClientConfig{Conn: nc, ClientID: id,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				retain := byte(0)
				if r.Packet.Retain {
					retain = 1
				}
				h.add(r.Packet.Topic, r.Packet.QoS, retain, string(r.Packet.Payload))
				if p := r.Packet.Properties; p.ResponseTopic != "" {
					go func() {
						_, _ = r.Client.Publish(context.Background(), &paho.Publish{Topic: p.ResponseTopic, Payload: []byte("42"),
							Properties: &paho.PublishProperties{CorrelationData: p.CorrelationData}})
					}()
				}
				return true, nil
			}}})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err = c.Connect(ctx, &paho.Connect{ClientID: id, KeepAlive: 30, CleanStart: true})
		return c, err
	}
	return fleetClient{"paho.golang", 2, 2,
		func(b *broker, lines []string) error {
			c, err := connect(b, "paho-pub", nil)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for _, l := range lines {
				f := strings.SplitN(l, "|", 4)
				if _, err := c.Publish(ctx, &paho.Publish{Topic: f[0], QoS: f[1][0] - '0', Retain: f[2] == "1", Payload: []byte(f[3])}); err != nil {
					return err
				}
			}
			return c.Disconnect(&paho.Disconnect{})
		},
		func(b *broker, filter string) func() (string, error) {
			h := make(heard, 1<<16)
			c, err := connect(b, "paho-sub-"+filter, h)
			if err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 2}}}); err != nil {
				b.t.Fatal(err)
			}
			return h.next
		},
	}
}

// without shows as a skipped test that a client is not there.
func without(t *testing.T, name, why string) {
	t.Run("with "+name, func(t *testing.T) { t.Skip(why) })
}

// pahoV3 builds paho.mqtt.golang's client; it is left out where its module cannot
// be had.
func pahoV3(t *testing.T) (fleetClient, bool) {
	const module = "../../tools/clients/pahov3"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "mod", "download")
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		without(t, "paho.mqtt.golang", fmt.Sprintf("its modules cannot be had: %v: %s", err, out))
		return fleetClient{}, false
	}
	path := filepath.Join(t.TempDir(), "pahov3")
	cmd = exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", module, err, out)
	}
	return program("paho.mqtt.golang", func(b *broker, args ...string) *exec.Cmd {
		return exec.Command(path, append([]string{b.mqtt}, args...)...)
	}), true
}

// mqttJS installs mqtt.js; it is left out where there is no Node or npm cannot be
// reached.
func mqttJS(t *testing.T) []fleetClient {
	if _, err := exec.LookPath("npm"); err != nil {
		without(t, "mqtt.js", "there is no npm")
		return nil
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.js"} {
		text, err := os.ReadFile(filepath.Join("../../tools/clients/mqttjs", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		without(t, "mqtt.js", fmt.Sprintf("npm cannot install it: %v: %s", err, out))
		return nil
	}
	var all []fleetClient
	for _, version := range []string{"4", "5"} {
		all = append(all, program("mqtt.js "+version, func(b *broker, args ...string) *exec.Cmd {
			return exec.Command("node", append([]string{filepath.Join(dir, "client.js"), b.mqtt, version}, args...)...)
		}))
	}
	return all
}

// Clients that others wrote work together on one node: each publishes at every
// QoS that it can, all at once, and retains something; each hears the same
// messages in the same order. MQTT orders the messages of one QoS: some clients
// hand one of QoS 2 on when it comes, others when its PUBREL does.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("installs and builds clients")
	}
	needMosquitto(t)
	if _, err := exec.LookPath("mosquitto_rr"); err != nil {
		t.Skip("mosquitto_rr is not installed; make test installs it")
	}
	b := serveNode(t)
	clients := []fleetClient{mosquittoClient("mqttv31"), mosquittoClient("mqttv311"), mosquittoClient("mqttv5"), umqttClient(), pahoGolang()}
	if c, ok := pahoV3(t); ok {
		clients = append(clients, c)
	}
	clients = append(clients, mqttJS(t)...)

	var hear []func() (string, error)
	for _, c := range clients {
		hear = append(hear, c.hear(b, "fleet/#"))
	}
	const each = 15
	want := map[string]bool{} // TOPIC|PAYLOAD
	published := make(chan error)
	for _, c := range clients {
		var lines []string
		for qos := range c.pubQoS + 1 {
			for i := range each {
				lines = append(lines, fmt.Sprintf("fleet/%s/qos|%d|0|%d %d", c.name, qos, qos, i))
			}
		}
		lines = append(lines, fmt.Sprintf("fleet/%s/kept|%d|1|%[2]d kept", c.name, c.pubQoS))
		for _, l := range lines {
			f := strings.SplitN(l, "|", 4)
			want[f[0]+"|"+f[3]] = true
		}
		go func() { published <- c.publish(b, lines) }()
	}
	for range clients {
		if err := <-published; err != nil {
			t.Error(err)
		}
	}
	// mosquitto_rr asks, and paho.golang answers.
	out := must(t, "", "mosquitto_rr", b.mosquitto("-V", "mqttv5", "-t", "fleet/ask", "-e", "fleet/answer", "-m", "0 6*7")...)
	if out != "42\n" {
		t.Errorf("mosquitto_rr got %q", out)
	}
	want["fleet/ask|0 6*7"], want["fleet/answer|42"] = true, true

	var first [3][]string
	for i, c := range clients {
		var got [3][]string // by the QoS that it was published with
		seen := map[string]bool{}
		for range want {
			l, err := hear[i]()
			if err != nil {
				t.Fatalf("%s after %d of %d messages: %v", c.name, len(seen), len(want), err)
			}
			f := strings.SplitN(l, "|", 4)
			m := f[0] + "|" + f[3]
			if !want[m] || seen[m] {
				t.Errorf("%s heard %s, which nobody said, or twice", c.name, l)
			}
			seen[m] = true
			qos := 0
			fmt.Sscan(f[3], &qos)
			if f[0] == "fleet/answer" {
				qos = 0
			}
			if f[1] != fmt.Sprint(min(qos, c.subQoS)) || f[2] != "0" {
				t.Errorf("%s heard %s", c.name, l)
			}
			got[qos] = append(got[qos], m)
		}
		if i == 0 {
			first = got
		}
		for qos := range got {
			if !slices.Equal(got[qos], first[qos]) {
				t.Errorf("QoS %d: %s heard another order than %s:\n%q\n%q", qos, c.name, clients[0].name, got[qos], first[qos])
			}
		}
	}
	for qos := range first { // each publisher's own order
		for _, c := range clients {
			next := 0
			for _, m := range first[qos] {
				if strings.HasPrefix(m, "fleet/"+c.name+"/qos|") {
					if !strings.HasSuffix(m, fmt.Sprintf("|%d %d", qos, next)) {
						t.Errorf("%s at QoS %d: %s where %d was due", c.name, qos, m, next)
					}
					next++
				}
			}
		}
	}
	// What was retained is there for everybody who comes.
	for _, c := range clients {
		next := c.hear(b, "fleet/+/kept")
		kept := map[string]bool{}
		for range clients {
			l, err := next()
			if err != nil {
				t.Fatalf("%s after %d retained messages: %v", c.name, len(kept), err)
			}
			if f := strings.SplitN(l, "|", 4); f[2] != "1" {
				t.Errorf("%s heard %s, which is not retained", c.name, l)
			}
			kept[l] = true
		}
		if len(kept) != len(clients) {
			t.Errorf("%s heard %d retained messages, want %d: %v", c.name, len(kept), len(clients), kept)
		}
	}
}
