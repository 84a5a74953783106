package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/stream"
)

// A house is a bridge over a log in memory, listening on loopback.
type house struct {
	*Bridge
	t     testing.TB
	log   *brokertest.Local
	crash *crashable
	reg   *prometheus.Registry
	addr  string
}

func newHouse(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	return newHouseOver(t, brokertest.NewLocal(t, stream.Limits{}), change...)
}

func newHouseOver(t testing.TB, log *brokertest.Local, change ...func(*Config)) *house {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg := Config{Broker: log.Broker, Publisher: log, Node: 1, Log: zerolog.Nop(), Metrics: metrics.New(reg)}
	for _, f := range change {
		f(&cfg)
	}
	crash := &crashable{Publisher: cfg.Publisher}
	cfg.Publisher = crash
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) { // closed before it served
			t.Error(err)
		}
	})
	return &house{Bridge: b, t: t, log: log, crash: crash, reg: reg, addr: ln.Addr().String()}
}

// publish puts a message into the log by another door than ours and waits.
func (h *house) publish(topic, payload string, flags stream.Flags) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := brokertest.PublishWait(ctx, h.log, stream.Item{Publication: stream.Publication{
		Subject: stream.Subject("/" + topic), Payload: []byte(payload), Flags: flags}})
	if err != nil {
		h.t.Fatal(err)
	}
}

// metric gives the value of the series whose name and label values contain all
// of parts.
func (h *house) metric(name string, parts ...string) float64 {
	h.t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			text := fmt.Sprint(m.GetLabel())
			all := true
			for _, p := range parts {
				all = all && strings.Contains(text, `"`+p+`"`)
			}
			if all {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// eventually waits until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !waitFor(ok) {
		t.Fatalf("never happened: %s", what)
	}
}

// waitFor waits until ok says so, and reports whether it did in time.
func waitFor(ok func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); ; {
		if ok() {
			return true
		}
		select {
		case <-tick.C:
		case <-end:
			return false
		}
	}
}

// A peer is a raw MQTT client: it says what it is told to, also nonsense.
type peer struct {
	t       testing.TB
	nc      net.Conn
	br      *bufio.Reader
	version byte
	name    string
}

const patience = 5 * time.Second

// dial opens a connection that has said nothing yet.
func (h *house) dial(version byte) *peer {
	h.t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	return &peer{t: h.t, nc: nc, br: bufio.NewReader(nc), version: version}
}

// connect dials and sends a CONNECT that change may change; it wants success.
func (h *house) connect(version byte, id string, change ...func(*packets.Packet)) *peer {
	h.t.Helper()
	p, ack := h.tryConnect(version, id, change...)
	if ack.ReasonCode != 0 {
		h.t.Fatalf("%s: CONNACK %#x, want 0", id, ack.ReasonCode)
	}
	return p
}

func (h *house) tryConnect(version byte, id string, change ...func(*packets.Packet)) (*peer, *packets.Packet) {
	h.t.Helper()
	p := h.dial(version)
	p.name = id
	pk := connectPacket(version, id)
	for _, f := range change {
		f(&pk)
	}
	p.send(pk)
	return p, p.want(packets.Connack)
}

func connectPacket(version byte, id string) packets.Packet {
	pk := packets.Packet{ProtocolVersion: version, FixedHeader: packets.FixedHeader{Type: packets.Connect}}
	pk.Connect.ProtocolName = []byte("MQTT")
	pk.Connect.Clean = true
	pk.Connect.ClientIdentifier = id
	pk.Connect.Keepalive = 60
	return pk
}

// keep makes a session that outlives its connection.
func keep(pk *packets.Packet) {
	pk.Connect.Clean = false
	if pk.ProtocolVersion == 5 {
		pk.Properties.SessionExpiryInterval = 3600
		pk.Properties.SessionExpiryIntervalFlag = true
	}
}

func (p *peer) send(pk packets.Packet) {
	p.t.Helper()
	pk.ProtocolVersion = p.version
	pk.Mods.AllowResponseInfo = true
	var buf bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&buf)
	case packets.Publish:
		err = pk.PublishEncode(&buf)
	case packets.Puback:
		err = pk.PubackEncode(&buf)
	case packets.Pubrec:
		err = pk.PubrecEncode(&buf)
	case packets.Pubrel:
		pk.FixedHeader.Qos = 1
		err = pk.PubrelEncode(&buf)
	case packets.Pubcomp:
		err = pk.PubcompEncode(&buf)
	case packets.Subscribe:
		pk.FixedHeader.Qos = 1
		err = pk.SubscribeEncode(&buf)
	case packets.Unsubscribe:
		pk.FixedHeader.Qos = 1
		err = pk.UnsubscribeEncode(&buf)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&buf)
	default:
		pk.FixedHeader.Encode(&buf)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(buf.Bytes())
}

// raw sends bytes written in hexadecimal; blanks are ignored.
func (p *peer) raw(s string) {
	p.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(b)
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_ = p.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// read gives the next packet, or an error when the connection ends or nothing
// comes within d.
func (p *peer) read(d time.Duration) (*packets.Packet, error) {
	_ = p.nc.SetReadDeadline(time.Now().Add(d))
	b, err := p.br.ReadByte()
	if err != nil {
		return nil, err
	}
	pk := &packets.Packet{ProtocolVersion: p.version}
	if err := pk.FixedHeader.Decode(b); err != nil {
		return nil, err
	}
	n, _, err := packets.DecodeLength(p.br)
	if err != nil {
		return nil, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(p.br, body); err != nil {
		return nil, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubrel:
		err = pk.PubrelDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

// want gives the next packet, which must be of type typ.
func (p *peer) want(typ byte) *packets.Packet {
	p.t.Helper()
	pk, err := p.read(patience)
	if err != nil {
		p.t.Fatalf("%s: waiting for %s: %v", p.name, packets.PacketNames[typ], err)
	}
	if pk.FixedHeader.Type != typ {
		p.t.Fatalf("%s: got %s (%#x %q), want %s", p.name, packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode,
			pk.Properties.ReasonString, packets.PacketNames[typ])
	}
	return pk
}

// message wants a PUBLISH with this topic and payload.
func (p *peer) message(topic, payload string) *packets.Packet {
	p.t.Helper()
	pk := p.want(packets.Publish)
	if pk.TopicName != topic || string(pk.Payload) != payload {
		p.t.Fatalf("%s: got %q %q, want %q %q", p.name, pk.TopicName, pk.Payload, topic, payload)
	}
	return pk
}

// silence wants that nothing comes: it asks for a PINGRESP, which overtakes
// nothing.
func (p *peer) silence() {
	p.t.Helper()
	p.raw("c000")
	p.want(packets.Pingresp)
}

// closed wants that the connection ends, on MQTT 5 after a DISCONNECT with code.
func (p *peer) closed(code byte) {
	p.t.Helper()
	pk, err := p.read(patience)
	if p.version == 5 && code != 0 {
		if err != nil || pk.FixedHeader.Type != packets.Disconnect || pk.ReasonCode != code {
			p.t.Fatalf("%s: got %v (%v), want DISCONNECT %#x", p.name, pk, err, code)
		}
		_, err = p.read(patience)
	}
	if err == nil {
		p.t.Fatalf("%s: got %s, want the end", p.name, packets.PacketNames[pk.FixedHeader.Type])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("%s: the connection stays open", p.name)
	}
	p.nc.Close()
}

// hangUp ends the connection without a word and waits until the broker noticed.
func (h *house) hangUp(p *peer) {
	h.t.Helper()
	before := h.metric("nackmq_sessions", "mqtt")
	p.nc.Close()
	eventually(h.t, "the broker notices", func() bool { return h.metric("nackmq_sessions", "mqtt") < before })
}

func (p *peer) subscribe(id uint16, filters ...packets.Subscription) *packets.Packet {
	p.t.Helper()
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: id, Filters: filters})
	ack := p.want(packets.Suback)
	if ack.PacketID != id {
		p.t.Fatalf("SUBACK for %d, want %d", ack.PacketID, id)
	}
	return ack
}

func sub(filter string, qos byte) packets.Subscription {
	return packets.Subscription{Filter: filter, Qos: qos}
}

func pub(topic, payload string, qos byte, id uint16) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic,
		Payload: []byte(payload), PacketID: id}
}

func ackOf(typ byte, id uint16) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: typ}, PacketID: id}
}

// goodbye says DISCONNECT and waits for the end.
func (p *peer) goodbye() {
	p.t.Helper()
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	p.closed(0)
}
