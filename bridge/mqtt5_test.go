package bridge

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

// allProperties has every property that a publisher may send for the receiver.
func allProperties() packets.Properties {
	return packets.Properties{
		PayloadFormatFlag: true,
		PayloadFormat:     1,
		ContentType:       "text/plain",
		ResponseTopic:     "/answers//here",
		CorrelationData:   []byte{0, 1, 2},
		User: []packets.UserProperty{
			{Key: "b", Val: "1"}, {Key: "a", Val: "2"}, {Key: "b", Val: "1"}, {Key: "", Val: ""},
		},
	}
}

// Every publish property goes through the log, live and retained, at every QoS.
func TestPublishProperties(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("t", 2))
	old := h.connect(4, "old")
	old.subscribe(1, sub("t", 0))
	p := h.connect(5, "p")
	for qos := byte(0); qos <= 2; qos++ {
		pk := pub("t", "x", qos, uint16(qos))
		pk.FixedHeader.Retain = true
		pk.Properties = allProperties()
		pk.Properties.MessageExpiryInterval = 1000
		p.send(pk)
		if qos > 0 {
			p.want(ackType(qos))
		}
		want := allProperties()
		want.MessageExpiryInterval = 1000
		if diff := cmp.Diff(want, s.message("t", "x").Properties); diff != "" {
			t.Errorf("QoS %d: %s", qos, diff)
		}
		old.message("t", "x")
	}
	late := h.connect(5, "late")
	late.subscribe(1, sub("t", 0))
	want := allProperties()
	got := late.message("t", "x").Properties
	if got.MessageExpiryInterval < 990 || got.MessageExpiryInterval > 1000 {
		t.Errorf("expiry %d, want nearly 1000", got.MessageExpiryInterval)
	}
	got.MessageExpiryInterval = 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is said and empty comes out as it came in, and what is not said does not; in
// a will, too.
func TestEmptyProperties(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("t", 0))
	for _, props := range []string{
		"",
		"03 0000",
		"09 0000",
		"03 0000 09 0000",
		"09 0003 030000", // looks like it
		"03 0001 61 09 0003 030000",
		"01 01 02 00000064 03 0000 08 0001 72 09 0000 26 0000 0000",
	} {
		p := strings.ReplaceAll(props, " ", "")
		frame := fmt.Sprintf("30 %02x 0001 74 %02x %s 78", 3+1+len(p)/2+1, len(p)/2, p)
		h.connect(5, "p").raw(frame)
		want, _ := hex.DecodeString(strings.ReplaceAll(frame, " ", ""))
		got := make([]byte, len(want))
		_ = s.nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(s.br, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("sent % x, got % x, %v", want, got, err)
		}
	}
	w := h.dial(5)
	w.raw("10 1e 0004 4d515454 05 06 003c 03 21 0005 0001 77 06 03 0000 09 0000 0001 74 0001 78")
	w.want(packets.Connack)
	w.nc.Close()
	want, _ := hex.DecodeString("300b0001740603000009000078")
	got := make([]byte, len(want))
	_ = s.nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(s.br, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("will: got % x, %v, want % x", got, err, want)
	}
}

// A message lives by the log's time, whatever the wall clock says: a leader's time is
// slewed, and may be hours behind after a clock was set or a machine slept.
func TestExpiryIsByTheLogsTime(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{})
	log.Lag = time.Hour
	h := newHouseOver(t, log)
	live := h.connect(5, "live")
	live.subscribe(1, sub("t", 1))
	p := h.connect(5, "p")
	pk := pub("t", "x", 1, 1)
	pk.FixedHeader.Retain = true
	pk.Properties.MessageExpiryInterval = 600
	p.send(pk)
	p.want(packets.Puback)
	late := h.connect(5, "late")
	late.subscribe(1, sub("t", 1))
	for _, s := range []*peer{live, late} {
		if m := s.message("t", "x"); m.Properties.MessageExpiryInterval < 595 || m.Properties.MessageExpiryInterval > 600 {
			t.Errorf("%s: %d seconds left, want about 600", s.name, m.Properties.MessageExpiryInterval)
		}
	}
	// And it ends by it, too.
	short := pub("short", "x", 1, 2)
	short.FixedHeader.Retain = true
	short.Properties.MessageExpiryInterval = 1
	p.send(short)
	p.want(packets.Puback)
	eventually(t, "it is over by the log's time", func() bool {
		m, ok := log.Broker.Retained("/short")
		return ok && m.ExpiredAt(time.Now().Add(-log.Lag).UnixMilli())
	})
	h.publish("other", "x", q1) // and the bridge has seen an entry since
	late.subscribe(2, sub("short", 1))
	late.silence()
}

// Expiry is counted down, and what is expired is not delivered.
func TestMessageExpiry(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.connect(5, "s", keep)
	s.subscribe(1, sub("#", 1))
	s.goodbye()
	p := h.connect(5, "p")
	for i, seconds := range []uint32{1, 100} {
		pk := pub(fmt.Sprint("t", seconds), "x", 1, uint16(i+1))
		pk.FixedHeader.Retain = true
		pk.Properties.MessageExpiryInterval = seconds
		p.send(pk)
		p.want(packets.Puback)
	}
	eventually(t, "the first one expires", func() bool {
		m, ok := h.log.Broker.Retained("/t1")
		return ok && m.ExpiredAt(time.Now().UnixMilli())
	})
	s = h.connect(5, "s", keep)
	m := s.message("t100", "x")
	if e := m.Properties.MessageExpiryInterval; e < 90 || e > 100 {
		t.Errorf("expiry %d, want about 99", e)
	}
	s.send(ackOf(packets.Puback, m.PacketID))
	s.silence()
	late := h.connect(5, "late")
	late.subscribe(1, sub("#", 0))
	late.message("t100", "x")
	late.silence()
}

// What is left of a message's life, rounded up, and never 0.
func TestExpiryIsCountedDown(t *testing.T) {
	for _, c := range []struct {
		now     int64
		left    uint32
		expired bool
	}{{1000, 10, false}, {1001, 10, false}, {2000, 9, false}, {10_500, 1, false}, {11_000, 1, true}, {-1_000_000, 10, false}} {
		var m message
		m.reset(stream.Message{Time: 1000, Publication: stream.Publication{Expiry: 10}}, c.now)
		if m.left != c.left || m.expired != c.expired {
			t.Errorf("at %d: %d left, expired %v; want %d, %v", c.now, m.left, m.expired, c.left, c.expired)
		}
	}
}

func TestTopicAlias(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	s.subscribe(1, sub("#", 0))
	p := h.connect(5, "p")
	aliased := func(topic, payload string, alias uint16) packets.Packet {
		pk := pub(topic, payload, 0, 0)
		pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = alias, true
		return pk
	}
	p.send(aliased("long/topic", "1", 32))
	p.send(aliased("", "2", 32))
	p.send(aliased("other", "3", 32))
	p.send(aliased("", "4", 32))
	s.message("long/topic", "1")
	if m := s.message("long/topic", "2"); m.Properties.TopicAliasFlag {
		t.Error("the alias was handed on")
	}
	s.message("other", "3")
	s.message("other", "4")
	p.send(aliased("", "5", 31))
	p.closed(0x94)
	p = h.connect(5, "p")
	p.send(aliased("x", "6", 33))
	p.closed(0x94)
	p = h.connect(5, "p")
	p.raw("30 07 0001 61 03 23 0000") // alias 0
	p.closed(0x94)
	p = h.connect(5, "p")
	p.send(aliased("", "7", 32)) // an alias ends with its connection
	p.closed(0x94)
	s.silence()
}

// One delivery for overlapping subscriptions: at the highest QoS, with all their
// identifiers; in 3.1.1, too, one at the highest.
func TestOverlappingSubscriptions(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s")
	for i, f := range []packets.Subscription{sub("a/b", 0), sub("a/+", 2), sub("a/#", 1)} {
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{f}}
		pk.Properties.SubscriptionIdentifier = []int{300 - i}
		s.send(pk)
		s.want(packets.Suback)
	}
	old := h.connect(4, "old")
	old.subscribe(1, sub("a/b", 0), sub("+/b", 1))
	h.publish("a/b", "x", stream.Flags(0).WithQoS(2))
	m := s.message("a/b", "x")
	if diff := cmp.Diff([]int{298, 299, 300}, m.Properties.SubscriptionIdentifier); diff != "" || m.FixedHeader.Qos != 2 {
		t.Errorf("QoS %d, identifiers %s", m.FixedHeader.Qos, diff)
	}
	s.silence()
	if m := old.message("a/b", "x"); m.FixedHeader.Qos != 1 {
		t.Errorf("3.1.1: QoS %d, want 1", m.FixedHeader.Qos)
	}
	old.silence()
	// Unsubscribing takes one away.
	s.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 5,
		Filters: packets.Subscriptions{sub("a/+", 0), sub("never", 0)}})
	if ack := s.want(packets.Unsuback); string(ack.ReasonCodes) != "\x00\x11" {
		t.Errorf("UNSUBACK %x, want 0011", ack.ReasonCodes)
	}
	h.publish("a/b", "y", stream.Flags(0).WithQoS(2))
	if m := s.message("a/b", "y"); m.FixedHeader.Qos != 1 {
		t.Errorf("QoS %d, want 1", m.FixedHeader.Qos)
	}
}

func TestSubscribeOptions(t *testing.T) {
	h := newHouse(t)
	c := h.connect(5, "c")
	nl := sub("nl/#", 0)
	nl.NoLocal = true
	rap := sub("rap", 0)
	rap.RetainAsPublished = true
	c.subscribe(1, nl, rap, sub("plain", 0))
	retained := func(topic string) packets.Packet {
		pk := pub(topic, "x", 0, 0)
		pk.FixedHeader.Retain = true
		return pk
	}
	c.send(pub("nl/1", "own", 0, 0))
	c.send(retained("rap"))
	c.send(retained("plain"))
	if m := c.message("rap", "x"); !m.FixedHeader.Retain {
		t.Error("retain as published: no retain bit")
	}
	if m := c.message("plain", "x"); m.FixedHeader.Retain {
		t.Error("plain: retain bit on a live message")
	}
	other := h.connect(5, "other")
	other.send(pub("nl/1", "foreign", 0, 0))
	c.message("nl/1", "foreign")

	// Retain handling: 0 always, 1 when the subscription is new, 2 never.
	for i, want := range map[byte]int{0: 2, 1: 1, 2: 0} {
		s := h.connect(5, fmt.Sprint("rh", i))
		f := sub("plain", 0)
		f.RetainHandling = i
		got := 0
		for id := range uint16(2) {
			s.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: id + 1, Filters: packets.Subscriptions{f}})
			s.want(packets.Suback)
			s.raw("c000")
			for {
				pk, err := s.read(patience)
				if err != nil {
					t.Fatal(err)
				}
				if pk.FixedHeader.Type == packets.Pingresp {
					break
				}
				got++
			}
		}
		if got != want {
			t.Errorf("retain handling %d: %d retained messages of two SUBSCRIBEs, want %d", i, got, want)
		}
	}
	bad := sub("$share/g/x", 0)
	bad.NoLocal = true
	other.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{bad}})
	other.closed(0x82)
}

// A packet above the client's maximum is not sent, and what follows is.
func TestMaximumPacketSizeOfTheClient(t *testing.T) {
	h := newHouse(t)
	s := h.connect(5, "s", func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 60 })
	s.subscribe(1, sub("t", 1))
	h.publish("t", strings.Repeat("x", 100), q1)
	h.publish("t", "small", q1)
	s.message("t", "small")
	if d := h.metric("nackmq_dropped_total", "too_large"); d != 1 {
		t.Errorf("%v dropped, want 1", d)
	}
}

// Request and response, as two clients do it.
func TestRequestResponse(t *testing.T) {
	h := newHouse(t)
	asker, server := h.connect(5, "asker"), h.connect(5, "server")
	asker.subscribe(1, sub("answers/asker", 1))
	server.subscribe(1, sub("ask", 1))
	q := pub("ask", "6*7", 1, 1)
	q.Properties.ResponseTopic, q.Properties.CorrelationData = "answers/asker", []byte("q1")
	asker.send(q)
	asker.want(packets.Puback)
	got := server.message("ask", "6*7")
	a := pub(got.Properties.ResponseTopic, "42", 1, 1)
	a.Properties.CorrelationData = got.Properties.CorrelationData
	server.send(a)
	if m := asker.message("answers/asker", "42"); string(m.Properties.CorrelationData) != "q1" {
		t.Errorf("correlation data %q", m.Properties.CorrelationData)
	}
	q.Properties.ResponseTopic = "a/#"
	asker2 := h.connect(5, "asker2")
	asker2.raw("30 0a 0001 61 06 08 0003 612f23") // the codec would not send it
	asker2.closed(0x82)
}

// The properties of what was published come out after a restart, as they are in
// the log.
func TestPropertiesOutliveTheBridge(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.connect(5, "p")
	pk := pub("t", "x", 1, 1)
	pk.FixedHeader.Retain = true
	pk.Properties = allProperties()
	p.send(pk)
	p.want(packets.Puback)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	again := newHouseOver(t, h.log)
	s := again.connect(5, "s")
	s.subscribe(1, sub("t", 0))
	if diff := cmp.Diff(allProperties(), s.message("t", "x").Properties); diff != "" {
		t.Error(diff)
	}
}

// Close says so to MQTT 5 clients.
func TestCloseSaysGoodbye(t *testing.T) {
	h := newHouse(t)
	p5, p4 := h.connect(5, "5"), h.connect(4, "4")
	closed := make(chan error, 1)
	go func() { closed <- h.Close() }()
	p5.closed(0x8b)
	p4.closed(0)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
