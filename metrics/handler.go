package metrics

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kettubot/kapi/gateway"
	"github.com/kettubot/kapi/peer"
)

// Handler serves the metrics of Collector and of more (such as Connections), and those of the Go
// runtime and the process. It doesn't authenticate anybody: package server does (Options.Metrics).
// Metrics that can't be collected are logged and left out. If log is nil, slog.Default() is used.
func Handler(p *peer.Peer, counters *gateway.Counters, log *slog.Logger, more ...prometheus.Collector) http.Handler {
	if log == nil {
		log = slog.Default()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		Collector(p, counters),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	registry.MustRegister(more...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError,
	})
}
