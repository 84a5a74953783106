package nacknet

import (
	"testing"
	"time"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

func TestServerConfigIsValidated(t *testing.T) {
	l := brokertest.NewLocal(t, stream.Limits{})
	for name, c := range map[string]struct {
		change func(*ServerConfig)
		ok     bool
	}{
		"defaults":            {func(*ServerConfig) {}, true},
		"no broker":           {func(c *ServerConfig) { c.Broker = nil }, false},
		"no publisher":        {func(c *ServerConfig) { c.Publisher = nil }, false},
		"negative loops":      {func(c *ServerConfig) { c.Loops = -1 }, false},
		"too many loops":      {func(c *ServerConfig) { c.Loops = maxLoops + 1 }, false},
		"a limit of the core": {func(c *ServerConfig) { c.Limits = session.Limits{Heartbeat: time.Millisecond} }, false},
	} {
		cf := ServerConfig{Broker: l.Broker, Publisher: l}
		c.change(&cf)
		if err := cf.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v, want that it is valid: %v", name, err, c.ok)
		}
		if s, err := NewServer(cf); err == nil {
			s.Close()
		} else if c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
