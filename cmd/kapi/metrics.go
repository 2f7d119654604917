package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/server"
)

// metricsStopTimeout is how long a scrape in progress may take when the server stops.
const metricsStopTimeout = 2 * time.Second

// Limits of the metrics listener: a scraper needs one connection.
const (
	metricsConnections        = 64
	metricsConnectionsAddress = 16
)

// checkMetricsListen refuses a malformed address. One that other machines can reach is fine: no token is
// sent to it, and the flag is for scraping from elsewhere.
func (c *serveCmd) checkMetricsListen() error {
	if c.MetricsListen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.MetricsListen); err != nil {
		return usage("--metrics-listen %s: not HOST:PORT, like 127.0.0.1:9090", c.MetricsListen)
	}
	return nil
}

// serveMetrics serves metrics without a token on the address of --metrics-listen; without that flag it does
// nothing. stop ends it, and must be called.
func (c *serveCmd) serveMetrics(handler http.Handler, log *slog.Logger) (stop func(), err error) {
	if c.MetricsListen == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", c.MetricsListen)
	if err != nil {
		return nil, listenError("--metrics-listen", c.MetricsListen, err)
	}
	listener = server.LimitConnections(server.ConnectionLimits{
		MaxConnections: metricsConnections, MaxConnectionsAddress: metricsConnectionsAddress, Logger: log,
	}).Listener(listener)
	log.Info("kapi serves metrics", "address", "http://"+listener.Addr().String()+"/metrics")
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	srv := newHTTPServer(onlyFor(c.hosts(c.MetricsListen, listener.Addr()), mux), log)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), metricsStopTimeout)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // cuts off slow scrapes
		}
		<-ended
	}, nil
}

// onlyFor refuses requests for other hosts, as server.Server does.
func onlyFor(names []string, handler http.Handler) http.Handler {
	hosts, _, _ := origin.NewHosts(names) // Validate has checked them
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hosts.Answer(r) {
			handler.ServeHTTP(w, r)
			return
		}
		refusal := wire.Refused(wire.WrongHost(r.Host))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(refusal.Status)
		_ = json.NewEncoder(w).Encode(refusal)
	})
}
