package nacknet

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/internal/metrics"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
)

// counters are the metrics of the native door, their labels resolved once.
type counters struct {
	set        *metrics.Set // nil: nothing is counted
	nacks      prometheus.Counter
	nackBytes  prometheus.Counter
	deliveries prometheus.Counter
	continuous prometheus.Counter
	reset      prometheus.Counter
	lost       prometheus.Counter
	published  [broker.Results]prometheus.Counter
	sessions   prometheus.Gauge
	turnedAway prometheus.Counter

	denied, badSubject, badProps prometheus.Counter // publishes that the core refused
}

func newCounters(set *metrics.Set) *counters {
	if set == nil {
		return &counters{}
	}
	const p = metrics.Native
	c := &counters{
		set:        set,
		nacks:      set.FeedbackPackets.WithLabelValues(p, "NACK"),
		nackBytes:  set.FeedbackBytes.WithLabelValues(p, "NACK"),
		deliveries: set.Deliveries.WithLabelValues(p),
		continuous: set.Resumes.WithLabelValues(p, metrics.Continuous),
		reset:      set.Resumes.WithLabelValues(p, metrics.Reset),
		lost:       set.Dropped.WithLabelValues(p, metrics.Trimmed),
		sessions:   set.Sessions.WithLabelValues(p),
		turnedAway: set.TurnedAway.WithLabelValues(p),
		denied:     set.Publishes.WithLabelValues(p, metrics.Denied),
		badSubject: set.Publishes.WithLabelValues(p, metrics.BadSubject),
		badProps:   set.Publishes.WithLabelValues(p, metrics.BadProps),
	}
	for r := range broker.Results {
		c.published[r] = set.Publishes.WithLabelValues(p, r.String())
	}
	return c
}

// add counts what a core counted.
func (c *counters) add(n session.Counts) {
	if c.set == nil {
		return
	}
	add := func(x prometheus.Counter, n uint64) {
		if n > 0 {
			x.Add(float64(n))
		}
	}
	add(c.nacks, n.Nacks)
	add(c.nackBytes, n.NackBytes)
	add(c.deliveries, n.Delivered)
	add(c.continuous, n.Continuous)
	add(c.reset, n.Resets)
	add(c.lost, n.Lost)
	// The others are answers to what was published: publish counts it.
	add(c.denied, n.Published[session.CodeIndex(nackproto.Denied)])
	add(c.badSubject, n.Published[session.CodeIndex(nackproto.BadSubject)])
	add(c.badProps, n.Published[session.CodeIndex(nackproto.BadProps)])
}

// publish counts how a publication ended.
func (c *counters) publish(r broker.Result) {
	if c.set != nil {
		c.published[r].Inc()
	}
}

// session counts n sessions more.
func (c *counters) session(n int) {
	if c.set != nil && n != 0 {
		c.sessions.Add(float64(n))
	}
}

// turnAway counts a connection for which there was no room.
func (c *counters) turnAway() {
	if c.set != nil {
		c.turnedAway.Inc()
	}
}
