package bridge

import (
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// A doorman lets "ann" in with the password "pw" and keeps everybody from
// subjects and filters that have "secret" in them.
type doorman struct{}

func (doorman) Connect(id Identity, password []byte) bool {
	return id.Username == "ann" && string(password) == "pw" && id.Remote != nil
}
func (doorman) Publish(_ Identity, s stream.Subject) bool {
	return !strings.Contains(string(s), "secret")
}
func (doorman) Subscribe(_ Identity, f stream.Filter) bool {
	return !strings.Contains(string(f), "secret")
}

func ann(pk *packets.Packet) {
	pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte("ann")
	pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte("pw")
}

func TestAuthorizer(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.Authorizer = doorman{} })
		p, ack := h.tryConnect(version, "nobody")
		if want := map[byte]byte{4: 0x05, 5: 0x87}[version]; ack.ReasonCode != want {
			t.Errorf("CONNACK %#x, want %#x", ack.ReasonCode, want)
		}
		p.closed(0)

		p = h.connect(version, "p", ann)
		want := map[byte]string{4: "\x80\x01", 5: "\x87\x01"}[version]
		if ack := p.subscribe(1, sub("secret/#", 1), sub("#", 1)); string(ack.ReasonCodes) != want {
			t.Errorf("SUBACK %x, want %x", ack.ReasonCodes, want)
		}
		p.send(pub("secret/a", "x", 0, 0))
		p.silence()
		p.send(pub("secret/a", "x", 1, 1))
		if version < 5 {
			p.closed(0)
			return
		}
		if ack := p.want(packets.Puback); ack.ReasonCode != 0x87 {
			t.Errorf("PUBACK %#x, want 0x87", ack.ReasonCode)
		}
		p.silence()
		p, ack = h.tryConnect(version, "w", ann, withWill("secret", "x"))
		if ack.ReasonCode != 0x87 {
			t.Errorf("CONNACK with a forbidden will: %#x, want 0x87", ack.ReasonCode)
		}
		p.closed(0)
		if n := h.metric("nackmq_publishes_total", "denied"); n != 2 {
			t.Errorf("%v denied, want 2", n)
		}
	})
}

func TestTooManySubscriptions(t *testing.T) {
	both(t, func(t *testing.T, version byte) {
		h := newHouse(t, func(c *Config) { c.MaxSubscriptions = 2 })
		p := h.connect(version, "p")
		ack := p.subscribe(1, sub("a", 0), sub("b", 0), sub("c", 0), sub("a", 1))
		want := map[byte]string{4: "\x00\x00\x80\x01", 5: "\x00\x00\x97\x01"}[version]
		if string(ack.ReasonCodes) != want {
			t.Errorf("SUBACK %x, want %x", ack.ReasonCodes, want)
		}
	})
}
