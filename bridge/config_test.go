package bridge

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/stream"
)

func TestConfigIsValidated(t *testing.T) {
	log := brokertest.NewLocal(t, stream.Limits{})
	for name, c := range map[string]struct {
		change func(*Config)
		ok     bool
	}{
		"defaults":                     {func(*Config) {}, true},
		"no broker":                    {func(c *Config) { c.Broker = nil }, false},
		"no publisher":                 {func(c *Config) { c.Publisher = nil }, false},
		"no node":                      {func(c *Config) { c.Node = 0 }, false},
		"no metrics":                   {func(c *Config) { c.Metrics = nil }, false},
		"negative subscriptions":       {func(c *Config) { c.MaxSubscriptions = -1 }, false},
		"small packet":                 {func(c *Config) { c.MaxPacket = 1023 }, false},
		"smallest packet":              {func(c *Config) { c.MaxPacket = 1024 }, true},
		"packet beyond the log's":      {func(c *Config) { c.MaxPacket = stream.MaxItemBytes + 1 }, false},
		"negative receive maximum":     {func(c *Config) { c.ReceiveMaximum = -1 }, false},
		"receive maximum of 17 bits":   {func(c *Config) { c.ReceiveMaximum = 65536 }, false},
		"negative window":              {func(c *Config) { c.Window = -1 }, false},
		"window beyond the ring":       {func(c *Config) { c.Window = maxSpan + 1 }, false},
		"negative buffer":              {func(c *Config) { c.Buffer = -1 }, false},
		"negative budget":              {func(c *Config) { c.Uncommitted = -1 }, false},
		"negative aliases":             {func(c *Config) { c.TopicAliasMax = -1 }, false},
		"aliases of 17 bits":           {func(c *Config) { c.TopicAliasMax = 65536 }, false},
		"negative keep alive":          {func(c *Config) { c.MaxKeepAlive = -time.Second }, false},
		"keep alive of 17 bits":        {func(c *Config) { c.MaxKeepAlive = 65536 * time.Second }, false},
		"keep alive of half a second":  {func(c *Config) { c.MaxKeepAlive = time.Second / 2 }, false},
		"largest keep alive":           {func(c *Config) { c.MaxKeepAlive = 65535 * time.Second }, true},
		"negative connect timeout":     {func(c *Config) { c.ConnectTimeout = -1 }, false},
		"negative time of being stuck": {func(c *Config) { c.StuckTimeout = -1 }, false},
		"negative session expiry":      {func(c *Config) { c.SessionExpiry = -1 }, false},
	} {
		cfg := Config{Broker: log.Broker, Publisher: log, Node: 1, Metrics: metrics.New(prometheus.NewRegistry())}
		c.change(&cfg)
		if err := cfg.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v, want that it is valid: %v", name, err, c.ok)
		}
	}
}
