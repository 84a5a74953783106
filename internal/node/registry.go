package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry gives the metrics of the process and of the binary; the rooms add
// theirs.
func newRegistry(b Build) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "nackmq_build_info", Help: "1, with what the binary was made from.",
	}, []string{"version", "commit"})
	info.WithLabelValues(b.Version, b.Commit).Set(1)
	reg.MustRegister(info)
	return reg
}
