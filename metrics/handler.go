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

// Handler answers any request with what Collector and more (Connections, for one) collect, and with the
// metrics of the Go runtime and the process. It asks nobody who they are: package server does
// (Options.Metrics). What can't be collected is logged and left out; a nil log is
// slog.Default().
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
