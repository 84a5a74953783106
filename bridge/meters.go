package bridge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/internal/metrics"
)

// meters are the counters of this door, looked up once.
type meters struct {
	deliveries prometheus.Counter
	sessions   prometheus.Gauge
	turnedAway prometheus.Counter

	published [broker.Results]prometheus.Counter
	denied    prometheus.Counter

	pubackPackets, pubrecPackets, pubcompPackets prometheus.Counter
	pubackBytes, pubrecBytes, pubcompBytes       prometheus.Counter

	resumesContinuous, resumesReset prometheus.Counter

	droppedSlow     prometheus.Counter // no room, and QoS 0 or a full group
	droppedTooLarge prometheus.Counter // above the client's Maximum Packet Size
	droppedTrimmed  prometheus.Counter
}

func newMeters(s *metrics.Set) meters {
	const p = metrics.MQTT
	m := meters{
		deliveries:        s.Deliveries.WithLabelValues(p),
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
		droppedSlow:       s.Dropped.WithLabelValues(p, metrics.Slow),
		droppedTooLarge:   s.Dropped.WithLabelValues(p, metrics.TooLarge),
		droppedTrimmed:    s.Dropped.WithLabelValues(p, metrics.Trimmed),
	}
	for r := range broker.Results {
		m.published[r] = s.Publishes.WithLabelValues(p, r.String())
	}
	return m
}
