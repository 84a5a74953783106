package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics is what an operator sees of a member.
type metrics struct {
	commit    prometheus.Histogram // one observation a batch
	sync      prometheus.Histogram
	entries   prometheus.Counter
	logBytes  prometheus.Counter
	snapshots prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, m *Member) *metrics {
	f := promauto.With(reg)
	seconds := prometheus.ExponentialBuckets(0.00025, 2, 16) // to 8 s
	x := &metrics{
		commit: f.NewHistogram(prometheus.HistogramOpts{Name: "nackmq_commit_seconds", Buckets: seconds,
			Help: "From the first publication of a batch to its places."}),
		sync: f.NewHistogram(prometheus.HistogramOpts{Name: "nackmq_log_sync_seconds", Buckets: seconds,
			Help: "Duration of one write to the log with its sync."}),
		entries: f.NewCounter(prometheus.CounterOpts{Name: "nackmq_log_entries_total",
			Help: "Entries written to the log."}),
		logBytes: f.NewCounter(prometheus.CounterOpts{Name: "nackmq_log_bytes_total",
			Help: "Bytes of entries written to the log."}),
		snapshots: f.NewHistogram(prometheus.HistogramOpts{Name: "nackmq_snapshot_seconds",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
			Help:    "Duration of the writing of a snapshot."}),
	}
	gauge := func(name, help string, get func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, get)
	}
	gauge("nackmq_cache_bytes", "Bytes of the cache.", func() float64 { return float64(m.broker.Stats().CacheBytes) })
	gauge("nackmq_retained_bytes", "Bytes of retained messages.", func() float64 { return float64(m.broker.Stats().RetainedBytes) })
	gauge("nackmq_kept_sessions", "MQTT sessions in the log, connected and offline.", func() float64 { return float64(m.broker.Stats().Sessions) })
	gauge("nackmq_kept_session_bytes", "Bytes of their filters, wills and states.", func() float64 { return float64(m.broker.Stats().SessionBytes) })
	gauge("nackmq_subjects", "Subjects remembered.", func() float64 { return float64(m.broker.Stats().Subjects) })
	gauge("nackmq_log_index", "Index of the newest message.", func() float64 { return float64(m.broker.Head()) })
	gauge("nackmq_log_entries", "Entries that the log on disk holds.", func() float64 {
		s := m.Status()
		return float64(s.Last + 1 - s.First)
	})
	gauge("nackmq_queue_bytes", "Bytes of publications waiting to be committed.", func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		return float64(m.queue.Bytes())
	})
	gauge("nackmq_leading", "1 if this member leads.", func() float64 {
		if m.Status().Leading {
			return 1
		}
		return 0
	})
	return x
}
