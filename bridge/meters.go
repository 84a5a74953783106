package bridge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nackmq/nackmq/internal/metrics"
)

// meters are the counters of this door, looked up once.
type meters struct {
	deliveries prometheus.Counter
	sessions   prometheus.Gauge

	publishOK, publishRefused, publishDenied, publishRetry, publishStopped prometheus.Counter

	pubackPackets, pubrecPackets, pubcompPackets prometheus.Counter
	pubackBytes, pubrecBytes, pubcompBytes       prometheus.Counter

	resumesContinuous, resumesReset prometheus.Counter

	droppedSlow     prometheus.Counter // no room, and QoS 0 or a full group
	droppedTooLarge prometheus.Counter // above the client's Maximum Packet Size
	droppedTrimmed  prometheus.Counter // the cache no longer held it
	droppedWill     prometheus.Counter // a will that could not be published
}

func newMeters(s *metrics.Set) meters {
	const p = metrics.MQTT
	return meters{
		deliveries:        s.Deliveries.WithLabelValues(p),
		sessions:          s.Sessions.WithLabelValues(p),
		publishOK:         s.Publishes.WithLabelValues(p, "ok"),
		publishRefused:    s.Publishes.WithLabelValues(p, "refused"),
		publishDenied:     s.Publishes.WithLabelValues(p, "denied"),
		publishRetry:      s.Publishes.WithLabelValues(p, "retry"),
		publishStopped:    s.Publishes.WithLabelValues(p, "stopped"),
		pubackPackets:     s.FeedbackPackets.WithLabelValues(p, "PUBACK"),
		pubrecPackets:     s.FeedbackPackets.WithLabelValues(p, "PUBREC"),
		pubcompPackets:    s.FeedbackPackets.WithLabelValues(p, "PUBCOMP"),
		pubackBytes:       s.FeedbackBytes.WithLabelValues(p, "PUBACK"),
		pubrecBytes:       s.FeedbackBytes.WithLabelValues(p, "PUBREC"),
		pubcompBytes:      s.FeedbackBytes.WithLabelValues(p, "PUBCOMP"),
		resumesContinuous: s.Resumes.WithLabelValues(p, "continuous"),
		resumesReset:      s.Resumes.WithLabelValues(p, "reset"),
		droppedSlow:       s.Dropped.WithLabelValues(p, "slow"),
		droppedTooLarge:   s.Dropped.WithLabelValues(p, "too_large"),
		droppedTrimmed:    s.Dropped.WithLabelValues(p, "trimmed"),
		droppedWill:       s.Dropped.WithLabelValues(p, "will"),
	}
}
