package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Two MQTT and two native subscribers see the same messages of six publishers,
// three in each language, in the same order; each subject's seqs have no hole.
func TestOneOrderInBothLanguages(t *testing.T) {
	needMosquitto(t)
	const each = 300
	b := serveNode(t)
	natives := []*watcher{subJSON(b, "/order/#"), subJSON(b, "/#")}
	mqtts := []*watcher{
		mosquittoSub(b, "-t", "order/#", "-q", "1", "-V", "mqttv5"),
		mosquittoSub(b, "-t", "order/#", "-q", "2", "-V", "mqttv311"),
	}

	subjects := []string{"a", "b", "c/deep"}
	var publishers sync.WaitGroup
	for i, s := range subjects {
		text := func(who string) string {
			var in strings.Builder
			for k := range each {
				fmt.Fprintf(&in, "%s %d %d\n", who, i, k)
			}
			return in.String()
		}
		publishers.Go(func() {
			must(t, text("nack"), binary, "pub", "--server", b.nack(), "/order/"+s, "-")
		})
		publishers.Go(func() {
			must(t, text("mqtt"), "mosquitto_pub", b.mosquitto("-t", "order/"+s, "-q", "1", "-l")...)
		})
	}
	publishers.Wait()

	const all = each * 6
	var orders [][]string // of each subscriber: "subject payload"
	for i, w := range natives {
		var order []string
		last := map[string]record{}
		for range all {
			m := w.message()
			before, known := last[m.Subject]
			if !known && m.Seq != 1 || known && (m.Seq != before.Seq+1 || m.Epoch != before.Epoch) {
				t.Fatalf("native subscriber %d: %s %s:%d came after %s:%d", i, m.Subject, m.Epoch, m.Seq, before.Epoch, before.Seq)
			}
			last[m.Subject] = m
			order = append(order, m.Subject+" "+m.Payload)
		}
		orders = append(orders, order)
	}
	for range mqtts {
		orders = append(orders, nil)
	}
	for i, w := range mqtts {
		for range all {
			f := strings.SplitN(w.mqttMessage(), "|", 4)
			orders[len(natives)+i] = append(orders[len(natives)+i], "/"+f[0]+" "+f[3])
		}
	}
	for i, o := range orders[1:] {
		for k := range o {
			if o[k] != orders[0][k] {
				t.Fatalf("subscriber %d saw %q as message %d, the first one saw %q", i+1, o[k], k, orders[0][k])
			}
		}
	}
	// Each publisher's own messages are in its order.
	next := map[string]int{}
	for _, line := range orders[0] {
		var subject, who string
		var i, k int
		if _, err := fmt.Sscanf(line, "%s %s %d %d", &subject, &who, &i, &k); err != nil {
			t.Fatal(err)
		}
		if key := who + fmt.Sprint(i); next[key] != k {
			t.Fatalf("%s: message %d came where %d was due", key, k, next[key])
		} else {
			next[key]++
		}
	}
}
