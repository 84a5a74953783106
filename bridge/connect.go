package bridge

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// errRefused ends a connection that was answered with a CONNACK.
var errRefused = errors.New("bridge: connection refused")

// connect reads CONNECT, decides, and has the loop answer it and attach the
// session. An error ends the connection.
func (c *client) connect() error {
	if err := c.in.header(); err != nil {
		return silent(err)
	}
	pk := &c.in.pk
	if pk.FixedHeader.Type != packets.Connect {
		return silent(packets.ErrProtocolViolationRequireFirstConnect)
	}
	c.packetsIn++
	c.b.counts.connects.Add(1)
	body, err := c.in.body()
	if err != nil {
		return silent(err)
	}
	if c.version, c.bridge = takeLevel(body); c.version == 0 {
		c.shut([]byte{packets.Connack << 4, 2, 0, packets.Err3UnsupportedProtocolVersion.Code}, errRefused)
		return errRefused
	}
	if err := c.in.decode(body); err != nil {
		return c.refuse(codeOf(err))
	}
	if code := checkConnect(pk); code.Code != 0 {
		return c.refuse(code)
	}
	assigned := c.identify(pk)
	if !c.b.cfg.Authorizer.Connect(c.who, pk.Connect.Password) {
		return c.refuse(packets.ErrNotAuthorized)
	}
	if c.will, err = c.willOf(pk); err != nil {
		return c.refuse(codeOf(err))
	}
	c.limits(pk)
	if c.maxPacket > 0 && len(c.success(pk, false, assigned)) > c.maxPacket {
		return c.refuse(packets.ErrImplementationSpecificError) // MQTT 5, 3.1.2-24: it could not be answered
	}
	c.takeOver()
	c.connack = func(present bool) []byte { return c.success(pk, present, assigned) }
	if code := c.attach(pk.Connect.Clean); code.Code != 0 {
		return c.refuse(code)
	}
	c.armed = time.Time{}
	c.deadline(time.Time{})
	return nil
}

// attach has the loop give c its session and answer its CONNECT, and waits for it.
func (c *client) attach(clean bool) packets.Code {
	c.attached = make(chan packets.Code, 1)
	if !c.b.loop.do(func() { c.b.loop.attach(c, clean) }) {
		return packets.ErrServerShuttingDown
	}
	select {
	case code := <-c.attached:
		return code
	case <-c.b.loop.stopped:
		return packets.ErrServerShuttingDown
	}
}

// silent hides a reason code: who has not said CONNECT gets no answer.
func silent(err error) error { return fmt.Errorf("bridge: before CONNECT: %v", err) }

func codeOf(err error) packets.Code {
	var code packets.Code
	if errors.As(err, &code) {
		return code
	}
	return packets.ErrMalformedPacket
}

// bridgeBit is what Mosquitto adds to the protocol level to say that it is a broker.
const bridgeBit = 0x80

// takeLevel gives the protocol level of a CONNECT, and whether it comes from a
// bridge; then it takes the bit off, which the codec does not know. 0: it is
// neither a protocol nor a level that we speak.
func takeLevel(body []byte) (level byte, bridge bool) {
	for _, known := range []string{"\x00\x04MQTT\x04", "\x00\x04MQTT\x05", "\x00\x06MQIsdp\x03"} {
		at := len(known) - 1
		if len(body) > at && string(body[:at]) == known[:at] && body[at]&^bridgeBit == known[at] {
			bridge = body[at]&bridgeBit != 0
			body[at] = known[at]
			return known[at], bridge
		}
	}
	return 0, false
}

// checkConnect is the codec's validation, without what it forbids and the
// specification allows (an empty will, an empty password), and with what it
// forgets.
func checkConnect(pk *packets.Packet) packets.Code {
	p := &pk.Connect
	check := *pk
	if p.WillFlag && len(p.WillPayload) == 0 {
		check.Connect.WillPayload = []byte{0}
	}
	if p.PasswordFlag && len(p.Password) == 0 {
		check.Connect.PasswordFlag = false
	}
	if code := check.ConnectValidate(); code.Code != 0 {
		return code
	}
	switch {
	case !p.WillFlag && p.WillQos != 0: // MQTT 5, 3.1.2-11
		return packets.ErrProtocolViolationQosOutOfRange
	case pk.ProtocolVersion < 5 && p.PasswordFlag && !p.UsernameFlag: // 3.1.1, 3.1.2-22
		return packets.ErrProtocolViolation
	case pk.ProtocolVersion < 5 && p.ClientIdentifier == "" && !p.Clean: // 3.1.1, 3.1.3-8
		return packets.ErrClientIdentifierNotValid
	case pk.Properties.AuthenticationMethod != "":
		return packets.ErrBadAuthenticationMethod
	}
	return packets.CodeSuccess
}

// identify fills c.who, with a client id of ours if the client has none. It
// reports whether it has none.
func (c *client) identify(pk *packets.Packet) (assigned bool) {
	id := pk.Connect.ClientIdentifier
	if id == "" {
		assigned = true
		id = "auto-" + rand.Text()
	}
	c.who = Identity{ClientID: id, Username: string(pk.Connect.Username), Remote: c.nc.RemoteAddr()}
	c.origin = originOf(id)
	return assigned
}

// limits takes over what the client asks for.
func (c *client) limits(pk *packets.Packet) {
	cfg := &c.b.cfg
	p := &pk.Properties
	c.keepAlive = time.Duration(pk.Connect.Keepalive) * time.Second
	c.window = cfg.Window
	if c.version < 5 {
		if !pk.Connect.Clean {
			c.expiry = c.b.capExpiry(math.MaxUint32)
		}
		return
	}
	if cfg.MaxKeepAlive > 0 && (c.keepAlive == 0 || c.keepAlive > cfg.MaxKeepAlive) {
		c.keepAlive = cfg.MaxKeepAlive
	}
	c.expiry = c.b.capExpiry(p.SessionExpiryInterval)
	c.maxPacket = int(p.MaximumPacketSize)
	c.maxAlias = min(int(p.TopicAliasMaximum), maxAliases)
	c.quiet = p.RequestProblemInfoFlag && p.RequestProblemInfo == 0
	if p.ReceiveMaximum > 0 {
		c.window = min(int(p.ReceiveMaximum), maxSpan)
	}
}

func (b *Bridge) capExpiry(seconds uint32) uint32 {
	return min(seconds, uint32(b.cfg.SessionExpiry/time.Second))
}

// takeOver makes the connection that has c's client id end, and waits for that,
// until c is the one that has it (MQTT 5, 3.1.4-3).
func (c *client) takeOver() {
	b := c.b
	for {
		b.mu.Lock()
		old := b.byID[c.who.ClientID]
		if old == nil {
			b.byID[c.who.ClientID] = c
			c.named = true
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		old.shut(old.disconnectPacket(packets.ErrSessionTakenOver), nil)
		<-old.gone
	}
}

// success encodes the CONNACK of success, which announces our limits.
func (c *client) success(pk *packets.Packet, present, assigned bool) []byte {
	cfg := &c.b.cfg
	ack := packets.Packet{ProtocolVersion: c.version, SessionPresent: present,
		FixedHeader: packets.FixedHeader{Type: packets.Connack}}
	p := &ack.Properties
	p.ReceiveMaximum = uint16(cfg.ReceiveMaximum)
	p.MaximumPacketSize = uint32(cfg.MaxPacket)
	p.TopicAliasMaximum = uint16(cfg.TopicAliasMax)
	if assigned {
		p.AssignedClientID = c.who.ClientID
	}
	if c.expiry != pk.Properties.SessionExpiryInterval {
		p.SessionExpiryInterval, p.SessionExpiryIntervalFlag = c.expiry, true
	}
	if c.keepAlive != time.Duration(pk.Connect.Keepalive)*time.Second {
		p.ServerKeepAlive, p.ServerKeepAliveFlag = uint16(c.keepAlive/time.Second), true
	}
	var buf bytes.Buffer
	_ = ack.ConnackEncode(&buf)
	return buf.Bytes()
}

// refuse answers CONNECT with a reason. MQTT 3 has a return code for few of
// them; the other way to refuse is to close (3.1.1, 3.1.4-1).
func (c *client) refuse(code packets.Code) error {
	if c.version < 5 {
		var b byte
		switch code.Code {
		case packets.ErrClientIdentifierNotValid.Code:
			b = packets.Err3ClientIdentifierNotValid.Code
		case packets.ErrServerUnavailable.Code, packets.ErrServerBusy.Code, packets.ErrServerShuttingDown.Code, packets.ErrQuotaExceeded.Code:
			b = packets.Err3ServerUnavailable.Code
		case packets.ErrBadUsernameOrPassword.Code:
			b = packets.ErrMalformedUsernameOrPassword.Code
		case packets.ErrNotAuthorized.Code:
			b = packets.Err3NotAuthorized.Code
		}
		if b != 0 {
			c.shut([]byte{packets.Connack << 4, 2, 0, b}, errRefused)
		}
		return errRefused
	}
	ack := packets.Packet{ProtocolVersion: 5, ReasonCode: code.Code,
		FixedHeader: packets.FixedHeader{Type: packets.Connack},
		Properties:  packets.Properties{ReasonString: code.Reason}}
	var buf bytes.Buffer
	_ = ack.ConnackEncode(&buf)
	if most := int(c.in.pk.Properties.MaximumPacketSize); most > 0 && buf.Len() > most { // MQTT 5, 3.2.2-19
		ack.Properties.ReasonString = ""
		buf.Reset()
		if _ = ack.ConnackEncode(&buf); buf.Len() > most {
			buf.Reset()
		}
	}
	c.shut(buf.Bytes(), errRefused)
	return errRefused
}
