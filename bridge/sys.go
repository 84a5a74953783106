package bridge

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// counts are what connections count for $SYS, all of them together. A connection
// adds what it has gathered when it has nothing else to do.
type counts struct {
	sockets, connects     atomic.Uint64 // accepted; CONNECT packets
	packetsIn, packetsOut atomic.Uint64 // of MQTT
	publishesIn           atomic.Uint64 // PUBLISH packets among them
	bytesIn, bytesOut     atomic.Uint64 // below them nothing but TCP, TLS or WebSocket
}

// sys tells how this member's MQTT door is doing, on the topics that Mosquitto's
// users know. It is not in the log, which it would fill: the loop sends a topic to
// who subscribed to $SYS when its value has changed, and all of them as retained
// messages to who subscribes anew. It belongs to the loop.
type sys struct {
	began     time.Time
	next      time.Time // when values are taken
	taken     time.Time // when they were taken last
	connected int
	most      int // of connected
	values    []sysValue
	rates     []rate // as sysRates
}

// A sysValue is the newest value of a topic.
type sysValue struct{ topic, text string }

// A rate is one counter's number for each minute, averaged over the last 1, 5 and
// 15 minutes with exponentially falling weight, as Mosquitto does.
type rate struct {
	before uint64
	mean   [3]float64
}

var rateMinutes = [3]float64{1, 5, 15}

func (r *rate) take(total uint64, passed time.Duration) {
	now := float64(total-r.before) / passed.Minutes()
	r.before = total
	for i, m := range rateMinutes {
		r.mean[i] = now + math.Exp(-passed.Minutes()/m)*(r.mean[i]-now)
	}
}

// takeSys takes the values and sends those that have changed.
func (l *loop) takeSys(now time.Time) {
	y := &l.sys
	old := y.values
	y.values = l.sysValues(now)
	y.next = now.Add(l.b.cfg.SysInterval)
	for i, v := range y.values {
		if i >= len(old) || v != old[i] {
			l.tellSys(v)
		}
	}
}

// sysValues gives the values of all topics, always in the same order.
func (l *loop) sysValues(now time.Time) (out []sysValue) {
	y, c, m := &l.sys, &l.b.counts, &l.b.meters
	add := func(topic string, value any) {
		out = append(out, sysValue{"$SYS/broker/" + topic, fmt.Sprint(value)})
	}
	stats := l.b.cfg.Broker.Stats()
	fleeting := 0 // sessions that are not in the log
	for _, s := range l.sessions {
		fleeting += b2i(s.fence == 0)
	}
	dropped := m.droppedSlow.n + m.droppedTooLarge.n + m.droppedTrimmed.n
	add("version", strings.TrimSpace("nackmq "+l.b.cfg.Version))
	add("uptime", fmt.Sprintf("%d seconds", int(now.Sub(y.began).Seconds())))
	add("clients/connected", y.connected)
	add("clients/total", fleeting+stats.Sessions)
	add("clients/maximum", y.most)
	add("subscriptions/count", l.index.count)
	add("shared_subscriptions/count", l.index.shared)
	add("messages/received", c.packetsIn.Load())
	add("messages/sent", c.packetsOut.Load())
	add("messages/stored", uint64(stats.Head-stats.Tail))
	add("publish/messages/received", c.publishesIn.Load())
	add("publish/messages/sent", m.deliveries.n)
	add("publish/messages/dropped", dropped)
	add("publish/messages/dropped/slow", m.droppedSlow.n)
	add("publish/messages/dropped/too_large", m.droppedTooLarge.n)
	add("publish/messages/dropped/trimmed", m.droppedTrimmed.n)
	add("bytes/received", c.bytesIn.Load())
	add("bytes/sent", c.bytesOut.Load())
	add("retained messages/count", stats.Retained)
	add("store/messages/count", uint64(stats.Head-stats.Tail))
	add("store/messages/bytes", stats.CacheBytes)

	rates := []struct {
		topic string
		total uint64
	}{
		{"messages/received", c.packetsIn.Load()},
		{"messages/sent", c.packetsOut.Load()},
		{"publish/received", c.publishesIn.Load()},
		{"publish/sent", m.deliveries.n},
		{"publish/dropped", dropped},
		{"bytes/received", c.bytesIn.Load()},
		{"bytes/sent", c.bytesOut.Load()},
		{"connections", c.connects.Load()},
		{"sockets", c.sockets.Load()},
	}
	if y.rates == nil {
		y.rates = make([]rate, len(rates))
	}
	passed := now.Sub(cmp.Or(y.taken, y.began))
	y.taken = now
	for i, of := range rates {
		r := &y.rates[i]
		if passed > 0 {
			r.take(of.total, passed)
		}
		for k, minutes := range rateMinutes {
			add(fmt.Sprintf("load/%s/%.0fmin", of.topic, minutes), fmt.Sprintf("%.2f", r.mean[k]))
		}
	}
	return out
}

// tellSys sends one value to whose filters match its topic, with QoS 0. Shared
// subscriptions get none.
func (l *loop) tellSys(v sysValue) {
	if l.index.sys == 0 {
		return
	}
	m := l.sysMessage(v)
	set := matchSet{}
	b := matchBuilder{set: &set}
	l.index.filters.Match(m.Subject, b.take)
	for i := range set.targets {
		t := &set.targets[i]
		if !l.send(t.session, m, deliveryOf(&m.Message, 0, t.retain, t.ids)) {
			l.b.meters.droppedSlow.Inc()
		}
	}
}

// tellSysRetained sends the values that a new subscription matches.
func (l *loop) tellSysRetained(sub *subscription) {
	if !ofSys(sub.filter) {
		return
	}
	for _, v := range l.sys.values {
		m := l.sysMessage(v)
		if !sub.filter.Match(m.Subject) {
			continue
		}
		d := sub.delivery(&m.Message)
		d.retain, d.where = true, false
		if !l.send(sub.session, m, d) {
			l.b.meters.droppedSlow.Inc()
		}
	}
}

func (l *loop) sysMessage(v sysValue) *message {
	l.msg.reset(stream.Message{Publication: stream.Publication{
		Subject: stream.Subject("/" + v.topic), Payload: []byte(v.text), Flags: stream.Retain}}, l.now)
	return &l.msg
}

// ofSys reports whether a filter can match topics below $SYS: a wildcard in the
// first level does not.
func ofSys(f stream.Filter) bool { return f == "/$SYS" || strings.HasPrefix(string(f), "/$SYS/") }
