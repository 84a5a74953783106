package bridge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// paho.golang talks to the bridge as any MQTT 5 application would.
func TestPaho(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	u, _ := url.Parse("mqtt://" + h.addr)
	got := make(chan *paho.Publish, 100)
	up := make(chan struct{}, 10)
	cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{u},
		KeepAlive:                     20,
		CleanStartOnInitialConnection: true,
		SessionExpiryInterval:         60,
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			if _, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "p/#", QoS: 2}}}); err != nil {
				t.Error(err)
			}
			up <- struct{}{}
		},
		ClientConfig: paho.ClientConfig{
			ClientID: "paho",
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				got <- r.Packet
				return true, nil
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-up
	for i := range 30 {
		_, err := cm.Publish(ctx, &paho.Publish{Topic: fmt.Sprintf("p/%d", i%3), QoS: byte(i % 3), Payload: []byte(fmt.Sprint(i)),
			Properties: &paho.PublishProperties{ContentType: "n", User: paho.UserProperties{{Key: "i", Value: fmt.Sprint(i)}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		select {
		case m := <-got:
			if string(m.Payload) != fmt.Sprint(i) || m.QoS != byte(i%3) || m.Properties.User.Get("i") != fmt.Sprint(i) {
				t.Errorf("message %d: %+v", i, m)
			}
		case <-ctx.Done():
			t.Fatalf("message %d did not come", i)
		}
	}
	if err := cm.Disconnect(ctx); err != nil {
		t.Error(err)
	}
	<-cm.Done()
}

// tool finds one of Mosquitto's clients; the test is skipped without it.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install mosquitto-clients)", name)
	}
	return path
}

// mosquitto runs one of Mosquitto's clients against h and gives what it prints.
func (h *house) mosquitto(ctx context.Context, name string, args ...string) *exec.Cmd {
	host, port, _ := net.SplitHostPort(h.addr)
	return exec.CommandContext(ctx, tool(h.t.(*testing.T), name), append([]string{"-h", host, "-p", port}, args...)...)
}

// Mosquitto's command line clients publish and subscribe in every version and
// QoS, on names of every shape.
func TestMosquittoClients(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_pub")
	names := []string{"plain", "a/b/c", "/leading", "a//b", "trailing/", "/", "ünï/cødé"}
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			t.Run(version+" QoS "+qos, func(t *testing.T) {
				h := newHouse(t)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				sub := h.mosquitto(ctx, "mosquitto_sub", "-V", version, "-q", qos, "-t", "#", "-C", fmt.Sprint(len(names)), "-F", "%q %r %t %p")
				var out bytes.Buffer
				sub.Stdout = &out
				if err := sub.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "mosquitto_sub is there", func() (there bool) {
					h.loop.do(func() {
						for _, s := range h.loop.sessions {
							there = there || len(s.subs) == 1
						}
					})
					return there
				})
				var want strings.Builder
				for _, name := range names {
					if err := h.mosquitto(ctx, "mosquitto_pub", "-V", version, "-q", qos, "-t", name, "-m", "to "+name).Run(); err != nil {
						t.Fatal(err)
					}
					fmt.Fprintf(&want, "%s 0 %s to %s\n", qos, name, name)
				}
				if err := sub.Wait(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want.String(), out.String()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// A retained message of mosquitto_pub, and mosquitto_rr's question and answer.
func TestMosquittoRetainedAndRequest(t *testing.T) {
	tool(t, "mosquitto_rr")
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.mosquitto(ctx, "mosquitto_pub", "-r", "-q", "1", "-t", "kept", "-m", "value").Run(); err != nil {
		t.Fatal(err)
	}
	out, err := h.mosquitto(ctx, "mosquitto_sub", "-t", "kept/#", "-C", "1", "-F", "%r %p").Output()
	if err != nil || string(out) != "1 value\n" {
		t.Errorf("got %q, %v", out, err)
	}
	server := h.connect(5, "server")
	server.subscribe(1, sub("ask", 0))
	answered := make(chan string, 1)
	rr := h.mosquitto(ctx, "mosquitto_rr", "-V", "mqttv5", "-t", "ask", "-e", "answer", "-m", "6*7")
	go func() {
		out, _ := rr.Output()
		answered <- string(out)
	}()
	q := server.message("ask", "6*7")
	server.send(pub(q.Properties.ResponseTopic, "42", 0, 0))
	if a := <-answered; a != "42\n" {
		t.Errorf("mosquitto_rr printed %q", a)
	}
}

// The same conversation over WebSocket.
func TestWebSocket(t *testing.T) {
	h := newHouse(t)
	srv := httptest.NewServer(h.WebSocket())
	defer srv.Close()
	dial := func(protocols ...string) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), &websocket.DialOptions{Subprotocols: protocols})
		return ws, err
	}
	ws, err := dial("mqtt")
	if err != nil {
		t.Fatal(err)
	}
	nc := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
	p := &peer{t: t, nc: nc, br: bufio.NewReader(nc), version: 5, name: "ws"}
	p.send(connectPacket(5, "ws"))
	p.want(packets.Connack)
	p.subscribe(1, sub("big", 1))
	big := strings.Repeat("x", 300<<10)
	h.publish("big", big, q1)
	p.message("big", big)
	p.raw("00 00")
	p.closed(0x81) // the reason is not lost on the way

	// Without the subprotocol there is no MQTT.
	ws, err = dial()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("got %v, want a policy violation", err)
	}
}

// The same conversation over TLS, with a listener that somebody else made.
func TestTLS(t *testing.T) {
	h := newHouse(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert := selfSigned(t)
	served := make(chan error, 1)
	go func() {
		served <- h.Serve(t.Context(), tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}}))
	}()
	nc, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, nc: nc, br: bufio.NewReader(nc), version: 5, name: "tls"}
	p.send(connectPacket(5, "tls"))
	p.want(packets.Connack)
	p.subscribe(1, sub("t", 1))
	for i := range 100 {
		p.send(pub("t", fmt.Sprint(i), 1, uint16(i+1)))
	}
	pubs, acks := 0, 0
	for pubs+acks < 200 {
		pk, err := p.read(patience)
		if err != nil {
			t.Fatal(err)
		}
		switch pk.FixedHeader.Type {
		case packets.Publish:
			if string(pk.Payload) != fmt.Sprint(pubs) {
				t.Fatalf("got %s, want %d", pk.Payload, pubs)
			}
			pubs++
		case packets.Puback:
			acks++
		}
	}
	p.raw("00 00")
	p.closed(0x81)
	ln.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
