// Package metrics names what the doors count, once, so that both languages are
// counted by the same rule. The names and labels are a contract with operators.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// Values of the label protocol.
const (
	MQTT   = "mqtt"
	Native = "native"
)

// Values of the label result, beside those of broker.Result: why a door did not
// hand a publication in.
const (
	Denied     = "denied"      // its publisher may not
	BadSubject = "bad_subject" // what it names is none
	BadProps   = "bad_props"   // its properties cannot be read
)

// Values of the label outcome.
const (
	Continuous = "continuous"
	Reset      = "reset"
)

// Values of the label reason.
const (
	Trimmed  = "trimmed"   // the cache no longer held it
	Slow     = "slow"      // there was no room for it, and its receiver asked for no more
	TooLarge = "too_large" // its receiver takes nothing so large
	Will     = "will"      // a will that could not be published
)

// A Set holds the collectors that the doors share. Resolve label values once,
// outside a hot path: x := set.Deliveries.WithLabelValues(metrics.MQTT).
type Set struct {
	// FeedbackPackets and FeedbackBytes count what subscribers send because of
	// deliveries (protocol, type): PUBACK, PUBREC, PUBCOMP; NACK.
	FeedbackPackets *prometheus.CounterVec
	FeedbackBytes   *prometheus.CounterVec
	// Deliveries counts messages handed to a subscriber's connection (protocol).
	Deliveries *prometheus.CounterVec
	// Publishes counts publications by how they ended (protocol, result): what the
	// publisher answered, whoever heard it, or why the door did not ask it.
	Publishes *prometheus.CounterVec
	// Sessions is the number of connected sessions (protocol): those whose CONNECT
	// or HELLO was accepted.
	Sessions *prometheus.GaugeVec
	// TurnedAway counts connections for which there was no room (protocol).
	TurnedAway *prometheus.CounterVec
	// Resumes counts resumed subjects and sessions by outcome (protocol, outcome),
	// each once.
	Resumes *prometheus.CounterVec
	// Dropped counts what a subscriber was not given, and why (protocol, reason).
	Dropped *prometheus.CounterVec
}

// New registers the set with reg. It panics when reg has one already.
func New(reg prometheus.Registerer) *Set {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	s := &Set{
		FeedbackPackets: counter("nackmq_feedback_packets_total", "Packets that subscribers sent because of deliveries.", "protocol", "type"),
		FeedbackBytes:   counter("nackmq_feedback_bytes_total", "Bytes that subscribers sent because of deliveries.", "protocol", "type"),
		Deliveries:      counter("nackmq_deliveries_total", "Messages handed to subscribers' connections.", "protocol"),
		Publishes:       counter("nackmq_publishes_total", "Publications by how they ended.", "protocol", "result"),
		TurnedAway:      counter("nackmq_connections_turned_away_total", "Connections for which there was no room.", "protocol"),
		Resumes:         counter("nackmq_resumes_total", "Resumed subjects and sessions by outcome.", "protocol", "outcome"),
		Dropped:         counter("nackmq_dropped_total", "Messages that a subscriber was not given, by reason.", "protocol", "reason"),
		Sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "nackmq_sessions", Help: "Connected sessions.",
		}, []string{"protocol"}),
	}
	reg.MustRegister(s.Sessions)
	return s
}
