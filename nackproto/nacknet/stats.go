package nacknet

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
)

// counters are the metrics of the native door, their labels resolved once.
type counters struct {
	set         *metrics.Set
	nacks       prometheus.Counter
	nackBytes   prometheus.Counter
	deliveries  prometheus.Counter
	continuous  prometheus.Counter
	reset       prometheus.Counter
	lost        prometheus.Counter
	published   [16]prometheus.Counter
	connections prometheus.Gauge
}

func newCounters(set *metrics.Set) *counters {
	if set == nil {
		return &counters{}
	}
	c := &counters{
		set:         set,
		nacks:       set.FeedbackPackets.WithLabelValues(metrics.Native, "NACK"),
		nackBytes:   set.FeedbackBytes.WithLabelValues(metrics.Native, "NACK"),
		deliveries:  set.Deliveries.WithLabelValues(metrics.Native),
		continuous:  set.Resumes.WithLabelValues(metrics.Native, "continuous"),
		reset:       set.Resumes.WithLabelValues(metrics.Native, "reset"),
		lost:        set.Dropped.WithLabelValues(metrics.Native, "trimmed"),
		connections: set.Sessions.WithLabelValues(metrics.Native),
	}
	for _, code := range []nackproto.PublishCode{
		nackproto.Placed, nackproto.NoQuorum, nackproto.Busy, nackproto.Unknown,
		nackproto.Denied, nackproto.TooLarge, nackproto.Quota, nackproto.BadSubject, nackproto.BadProps,
	} {
		c.published[session.CodeIndex(code)] = set.Publishes.WithLabelValues(metrics.Native, strings.ToLower(code.String()))
	}
	return c
}

func (c *counters) add(n session.Counts) {
	if c.set == nil {
		return
	}
	add := func(x prometheus.Counter, n uint64) {
		if n > 0 && x != nil {
			x.Add(float64(n))
		}
	}
	add(c.nacks, n.Nacks)
	add(c.nackBytes, n.NackBytes)
	add(c.deliveries, n.Delivered)
	add(c.continuous, n.Continuous)
	add(c.reset, n.Resets)
	add(c.lost, n.Lost)
	for i, x := range c.published {
		add(x, n.Published[i])
	}
}

func (c *counters) sessions(n float64) {
	if c.set != nil {
		c.connections.Add(n)
	}
}

func (c *counters) drop(reason string) {
	if c.set != nil {
		c.set.Dropped.WithLabelValues(metrics.Native, reason).Inc()
	}
}
