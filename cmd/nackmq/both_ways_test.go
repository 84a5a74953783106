package main

import (
	"fmt"
	"strings"
	"testing"
)

// names are topics as MQTT clients write them, each with the subject it is.
var names = []struct{ name, topic, subject string }{
	{"plain", "demo", "/demo"},
	{"nested", "demo/a/b", "/demo/a/b"},
	{"leading slash", "/demo/a", "//demo/a"},
	{"empty segment", "demo//a", "/demo//a"},
	{"trailing slash", "demo/a/", "/demo/a/"},
	{"only slashes", "//", "///"},
	{"a space", "demo/a b", "/demo/a b"},
	{"beyond ASCII", "démo/温度", "/démo/温度"},
	{"system", "$own/a", "/$own/a"},
}

func TestMosquittoToNackMQ(t *testing.T) {
	needMosquitto(t)
	b := serveNode(t)
	for _, n := range names {
		for qos := range 3 {
			t.Run(fmt.Sprintf("%s, QoS %d", n.name, qos), func(t *testing.T) {
				w := subJSON(b, n.subject)
				w.t = t
				payload := fmt.Sprintf("%s over QoS %d", n.topic, qos)
				must(t, "", "mosquitto_pub", b.mosquitto("-t", n.topic, "-q", fmt.Sprint(qos), "-m", payload)...)
				got := w.message()
				if got.Subject != n.subject || got.Payload != payload || got.Kind != "live" || got.Retained || got.Seq != uint64(qos+1) || len(got.Epoch) != 16 {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

func TestNackMQToMosquitto(t *testing.T) {
	needMosquitto(t)
	b := serveNode(t)
	for _, n := range names {
		for qos := range 3 {
			t.Run(fmt.Sprintf("%s, QoS %d", n.name, qos), func(t *testing.T) {
				w := mosquittoSub(b, "-t", n.topic, "-q", fmt.Sprint(qos), "-V", []string{"mqttv311", "mqttv5"}[qos%2])
				w.t = t
				payload := fmt.Sprintf("%s over QoS %d", n.subject, qos)
				must(t, "", binary, "pub", "--server", b.nack(), n.subject, payload)
				// What is published in the native language has QoS 1.
				want := fmt.Sprintf("%s|%d|0|%s", n.topic, min(qos, 1), payload)
				if got := w.mqttMessage(); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		}
	}
}

// What a wildcard names is the same in both languages.
func TestWildcardsAgree(t *testing.T) {
	needMosquitto(t)
	b := serveNode(t)
	for i, filter := range []string{"#", "+", "demo/#", "demo/+/b", "+/a", "/#", "demo//+", "$own/#", "+/温度", "demo/+/"} {
		native := subJSON(b, "/"+filter)
		mqtt := mosquittoSub(b, "-t", filter)
		// A last message that the filter names, too, tells that no more comes.
		end := "/" + strings.NewReplacer("+", "end", "#", "end").Replace(filter)
		for _, n := range names {
			must(t, "", "mosquitto_pub", b.mosquitto("-t", n.topic, "-q", "1", "-m", fmt.Sprint(i))...)
		}
		must(t, "", binary, "pub", "--server", b.nack(), end, "end")
		var fromNative, fromMQTT []string
		for {
			m := native.message()
			if m.Payload == "end" {
				break
			}
			fromNative = append(fromNative, m.Subject)
		}
		for {
			m := mqtt.mqttMessage()
			topic, _, _ := strings.Cut(m, "|")
			if strings.HasSuffix(m, "|end") {
				break
			}
			fromMQTT = append(fromMQTT, "/"+topic)
		}
		if strings.Join(fromNative, " ") != strings.Join(fromMQTT, " ") {
			t.Errorf("filter %q\nnative %q\nMQTT   %q", filter, fromNative, fromMQTT)
		}
	}
}

// A retained message set in one language is there for the other, and gone for
// the other when it was deleted.
func TestRetainedBothWays(t *testing.T) {
	needMosquitto(t)
	b := serveNode(t)

	must(t, "", "mosquitto_pub", b.mosquitto("-t", "state/a", "-q", "1", "-r", "-m", "from mqtt")...)
	w := subJSON(b, "--from", "last", "/state/#")
	if got := w.message(); got.Subject != "/state/a" || got.Payload != "from mqtt" || got.Kind != "snapshot" || !got.Retained || got.Seq != 1 {
		t.Errorf("retained over MQTT, seen natively: %+v", got)
	}

	must(t, "", binary, "pub", "--server", b.nack(), "--retain", "/state/b", "from nack")
	if got, want := mosquittoSub(b, "-t", "state/b", "-q", "1").mqttMessage(), "state/b|1|1|from nack"; got != want {
		t.Errorf("retained natively, seen over MQTT: %s, want %s", got, want)
	}

	must(t, "", binary, "pub", "--server", b.nack(), "--retain", "/state/a", "")
	must(t, "", "mosquitto_pub", b.mosquitto("-t", "state/b", "-q", "1", "-r", "-n")...)
	m := mosquittoSub(b, "-t", "state/#")
	must(t, "", binary, "pub", "--server", b.nack(), "/state/end", "end")
	if got, want := m.mqttMessage(), "state/end|0|0|end"; got != want {
		t.Errorf("after both were deleted MQTT sees %s, want %s", got, want)
	}
}

// A payload arrives byte by byte as it was sent.
func TestBinaryPayload(t *testing.T) {
	needMosquitto(t)
	b := serveNode(t)
	w := subJSON(b, "/bin")
	raw := "\x00\xff\n{\"\x1b"
	must(t, raw, "mosquitto_pub", b.mosquitto("-t", "bin", "-q", "1", "-s")...)
	if got := w.message(); got.Encoding != "base64" || got.Payload != "AP8KeyIb" {
		t.Errorf("got %+v", got)
	}
}

func TestPubPrintsPlaces(t *testing.T) {
	b := serveNode(t)
	got := parseRecords(t, must(t, "one\ntwo\n\nfour", binary, "pub", "--json", "--server", b.nack(), "/demo", "-"))
	if len(got) != 4 {
		t.Fatalf("%d confirmations, want 4: %+v", len(got), got)
	}
	for i, r := range got {
		if r.Subject != "/demo" || r.Seq != uint64(i+1) || r.Epoch != got[0].Epoch || len(r.Epoch) != 16 {
			t.Errorf("confirmation %d is %+v", i, r)
		}
	}
	out := must(t, "", binary, "pub", "--server", b.nack(), "--count", "3", "/demo", "x")
	if want := fmt.Sprintf("/demo  %[1]s:5\n/demo  %[1]s:6\n/demo  %[1]s:7\n", got[0].Epoch); out != want {
		t.Errorf("pub printed\n%swant\n%s", out, want)
	}
	if out := must(t, "", binary, "pub", "--json", "--server", "mqtt://"+b.mqtt, "/demo", "x"); out != "{\"subject\":\"/demo\"}\n" {
		t.Errorf("over MQTT pub printed %s", out)
	}
}

// sub and pub over mqtt:// are MQTT clients like others.
func TestSubOverMQTT(t *testing.T) {
	b := serveNode(t)
	must(t, "", binary, "pub", "--server", b.nack(), "--retain", "/state", "on")
	w := watch(t, binary, "sub", "--json", "--from", "last", "--count", "2", "--server", "mqtt://"+b.mqtt, "/#")
	if got := w.message(); got.Subject != "/state" || got.Payload != "on" || !got.Retained || got.Kind != "snapshot" || got.Epoch != "" {
		t.Errorf("retained: %+v", got)
	}
	must(t, "", binary, "pub", "--server", b.nack(), "/a/b", "hi")
	if got := w.message(); got.Subject != "/a/b" || got.Payload != "hi" || got.Retained || got.Kind != "live" {
		t.Errorf("live: %+v", got)
	}
}

// A message that is too large is refused in one sentence without a package's name.
func TestTooLargeIsOneSentence(t *testing.T) {
	b := serveNode(t)
	_, stderr, code := execute(t, strings.Repeat("x", 2<<20), binary, "pub", "--server", b.nack(), "/big", "-")
	if code != 1 || !strings.HasPrefix(stderr, "nackmq: /big was not placed: the publication is longer than the server takes: ") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// What MQTT clients may not write to, native ones may not either.
func TestSysIsNotForClients(t *testing.T) {
	b := serveNode(t)
	for _, subject := range []string{"/$SYS", "/$SYS/x", "/$SYS/broker/connection/x/state"} {
		stdout, stderr, code := execute(t, "", binary, "pub", "--server", b.nack(), subject, "x")
		if code != 1 || stdout != "" || !strings.Contains(stderr, "DENIED") {
			t.Errorf("%s: exit %d, %q, %q, want a refusal", subject, code, stdout, stderr)
		}
	}
	must(t, "", binary, "pub", "--server", b.nack(), "/$SYSTEM/x", "x")
}

// Each up names the server and the node, also after a break; each down says what
// happened.
func TestUpAndDownSayWhat(t *testing.T) {
	b := serveNode(t, "--node-name", "n7")
	w := watch(t, binary, "sub", "--json", "--server", b.nack(), "/a", "/b")
	up := fmt.Sprintf(`{"event":"up","server":%q,"node":"n7"}`, b.native)
	if l := w.next(); l != up {
		t.Errorf("first %s, want %s", l, up)
	}
	b.kill()
	if r := w.event("down"); !strings.Contains(r.Reason, "without a reason") && !strings.Contains(r.Reason, "the connection broke (") {
		t.Errorf("down because %q", r.Reason)
	}
	b.start()
	if l := w.next(); l != up {
		t.Errorf("again %s, want %s", l, up)
	}
}
