package bridge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/internal/metrics"
)

// meters are the counters of this door, looked up once.
type meters struct {
	deliveries tally
	sessions   prometheus.Gauge
	turnedAway prometheus.Counter

	published [broker.Results]prometheus.Counter
	denied    prometheus.Counter

	pubackPackets, pubrecPackets, pubcompPackets prometheus.Counter
	pubackBytes, pubrecBytes, pubcompBytes       prometheus.Counter

	resumesContinuous, resumesReset prometheus.Counter

	droppedSlow     tally // no room, and QoS 0 or a full group
	droppedTooLarge tally // above the client's Maximum Packet Size
	droppedTrimmed  tally
}

// A tally is a counter that the loop can read, which alone counts with it.
type tally struct {
	counter prometheus.Counter
	n       uint64
}

func (t *tally) Inc() { t.Add(1) }

func (t *tally) Add(n uint64) {
	t.n += n
	t.counter.Add(float64(n))
}

func newMeters(s *metrics.Set) meters {
	const p = metrics.MQTT
	m := meters{
		deliveries:        tally{counter: s.Deliveries.WithLabelValues(p)},
		sessions:          s.Sessions.WithLabelValues(p),
		turnedAway:        s.TurnedAway.WithLabelValues(p),
		denied:            s.Publishes.WithLabelValues(p, metrics.Denied),
		pubackPackets:     s.FeedbackPackets.WithLabelValues(p, "PUBACK"),
		pubrecPackets:     s.FeedbackPackets.WithLabelValues(p, "PUBREC"),
		pubcompPackets:    s.FeedbackPackets.WithLabelValues(p, "PUBCOMP"),
		pubackBytes:       s.FeedbackBytes.WithLabelValues(p, "PUBACK"),
		pubrecBytes:       s.FeedbackBytes.WithLabelValues(p, "PUBREC"),
		pubcompBytes:      s.FeedbackBytes.WithLabelValues(p, "PUBCOMP"),
		resumesContinuous: s.Resumes.WithLabelValues(p, metrics.Continuous),
		resumesReset:      s.Resumes.WithLabelValues(p, metrics.Reset),
		droppedSlow:       tally{counter: s.Dropped.WithLabelValues(p, metrics.Slow)},
		droppedTooLarge:   tally{counter: s.Dropped.WithLabelValues(p, metrics.TooLarge)},
		droppedTrimmed:    tally{counter: s.Dropped.WithLabelValues(p, metrics.Trimmed)},
	}
	for r := range broker.Results {
		m.published[r] = s.Publishes.WithLabelValues(p, r.String())
	}
	return m
}
