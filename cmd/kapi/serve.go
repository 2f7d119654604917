package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/gateway"
	"github.com/kettubot/kapi/internal/supervise"
	"github.com/kettubot/kapi/metrics"
	"github.com/kettubot/kapi/server"
)

type serveCmd struct {
	Listen           string   `default:"127.0.0.1:4080" placeholder:"HOST:PORT" help:"Where to listen (default: ${default})."`
	MetricsListen    string   `placeholder:"HOST:PORT" help:"Where to serve GET /metrics without a token, too; others may be able to reach it."`
	TLSCert          string   `name:"tls-cert" placeholder:"FILE" help:"Certificate chain (PEM) to serve https and wss with. The file is read again when it changes."`
	TLSKey           string   `name:"tls-key" placeholder:"FILE" help:"Private key (PEM) of --tls-cert."`
	TrustedProxy     []string `placeholder:"CIDR" help:"Addresses of proxies in front, whose X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Prefix are believed. May be repeated."`
	Insecure         bool     `help:"Allow to listen where other machines can reach it: without TLS they can read the tokens on the way."`
	LogFormat        string   `enum:"text,json" default:"text" help:"Format of the log on stderr: text or json."`
	LogLevel         string   `enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: debug (every request), info, warn or error."`
	RateLimit        float64  `default:"100" placeholder:"N" help:"Requests a second and token; 0 is off (default: ${default})."`
	RateBurst        int      `placeholder:"N" help:"Requests that a token may have at once (default: twice the rate limit)."`
	RateLimitAddress float64  `default:"20" placeholder:"N" help:"Requests a second and address without a valid token; 0 is off (default: ${default})."`
}

const (
	readHeaderTimeout = 5 * time.Second
	requestTimeout    = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	stopTimeout       = 15 * time.Second // above what a request may take
	maxHeaderBytes    = 16 << 10
)

// Validate is called by kong.
func (c *serveCmd) Validate() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	for _, text := range c.TrustedProxy {
		if _, err := parseProxy(text); err != nil {
			return fmt.Errorf("--trusted-proxy %s: not an address or a network like 10.0.0.0/8", text)
		}
	}
	for name, rate := range map[string]float64{"rate-limit": c.RateLimit, "rate-limit-address": c.RateLimitAddress, "rate-burst": float64(c.RateBurst)} {
		if !(rate >= 0) || math.IsInf(rate, 0) {
			return fmt.Errorf("--%s must be a number from 0, not %v", name, rate)
		}
	}
	return nil
}

func (c *serveCmd) Run(a *app) error {
	if err := a.storeOnly("serve"); err != nil {
		return err
	}
	log := c.logger(a)
	if err := errors.Join(c.checkListen(), c.checkMetricsListen()); err != nil {
		return err
	}
	var certs *certificates
	if c.TLSCert != "" {
		var err error
		if certs, err = loadCertificates(c.TLSCert, c.TLSKey, log); err != nil {
			return err
		}
	}
	ctx, stop := untilSignal()
	defer stop()
	s, err := a.open(ctx, terms{log: log})
	if err != nil {
		return err
	}
	defer supervise.HoldStops(s.quiesce)()
	defer s.close()
	listener, address, err := c.listen(certs)
	if err != nil {
		return err
	}
	var counters gateway.Counters
	measured := metrics.Handler(s.Peer, &counters, log)
	stopMetrics, err := c.serveMetrics(measured, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer stopMetrics()
	log.Info("kapi serves", "address", address, "store", storeName(s.store), "version", version())
	// Stopped already, it stops as it would a moment later.
	if err := a.welcome(ctx, s, address); err != nil && ctx.Err() == nil {
		return errors.Join(err, listener.Close())
	}
	authenticator := auth.NewAuthenticator(s.store)
	handler := server.New(s.Peer, server.Options{
		Authenticate:   authenticator.Authenticate,
		Logger:         log,
		Rate:           orOff(c.RateLimit),
		Burst:          c.RateBurst,
		RatePerAddress: orOff(c.RateLimitAddress),
		TrustedProxies: c.proxies(),
		Gateway:        gateway.Options{Counters: &counters},
		Metrics:        measured,
		Page:           server.Page{SignIn: authenticator},
	})
	if err := a.invite(authenticator, handler, address); err != nil {
		return errors.Join(err, listener.Close())
	}
	return serve(ctx, listener, handler, log)
}

// listen listens, with TLS if there are certs, and returns the URL of that.
func (c *serveCmd) listen(certs *certificates) (net.Listener, string, error) {
	listener, err := net.Listen("tcp", c.Listen)
	switch {
	case err != nil:
		return nil, "", listenError("--listen", c.Listen, err)
	case certs != nil:
		listener = tls.NewListener(listener, certs.config())
		return listener, "https://" + listener.Addr().String(), nil
	}
	return listener, "http://" + listener.Addr().String(), nil
}

func (c *serveCmd) proxies() (all []netip.Prefix) {
	for _, text := range c.TrustedProxy {
		p, _ := parseProxy(text) // Validate has looked at it
		all = append(all, p)
	}
	return all
}

func parseProxy(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// orOff turns a flag, where 0 is off, into an option, where 0 is the default.
func orOff(rate float64) float64 {
	if rate == 0 {
		return -1
	}
	return rate
}

func (c *serveCmd) logger(a *app) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // kong knows the words that there are
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(logWriter{a}, options))
	}
	return slog.New(slog.NewTextHandler(logWriter{a}, options))
}

// A logWriter is stderr, for the lines of a log: without secrets, and, as tell has it, fit for a terminal.
type logWriter struct{ app *app }

// Write implements io.Writer.
func (w logWriter) Write(line []byte) (int, error) {
	text := []byte(w.app.hide(string(line)))
	if isTerminal(w.app.stderr) {
		text = escapeJSON(text) // a log in words has escaped such things already
	}
	_, err := w.app.stderr.Write(text)
	return len(line), err
}

// checkListen refuses an address that others can reach, unless that is wanted.
func (c *serveCmd) checkListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usage("--listen %s: not HOST:PORT, like 127.0.0.1:4080", c.Listen)
	}
	if c.Insecure || c.TLSCert != "" || isLoopback(host) {
		return nil
	}
	return usage("--listen %s: other machines could reach it, and without TLS the tokens can be read on the way; "+
		"use --tls-cert and --tls-key, a loopback address with a TLS proxy before it, or --insecure", c.Listen)
}

func isLoopback(host string) bool {
	if host == "" {
		return false
	}
	addresses, err := net.LookupIP(host)
	for _, ip := range addresses {
		if !ip.IsLoopback() {
			return false
		}
	}
	return err == nil && len(addresses) > 0
}

// listenError drops what net says around the reason.
func listenError(flag, address string, err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	wayOut := ""
	if host, _, splitErr := net.SplitHostPort(address); splitErr == nil && errors.Is(err, syscall.EADDRINUSE) {
		wayOut = fmt.Sprintf("; %s %s takes a port that is free", flag, net.JoinHostPort(host, "0"))
	}
	return fmt.Errorf("can't listen on %s: %w%s", address, err, wayOut)
}

// A service is a *server.Server.
type service interface {
	http.Handler
	// Close ends the connections that http.Server.Shutdown doesn't know of.
	Close(context.Context) error
}

// newHTTPServer returns a server that no client can keep busy for long.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// serve answers until ctx ends, and then what has begun.
func serve(ctx context.Context, listener net.Listener, handler service, log *slog.Logger) error {
	srv := newHTTPServer(handler, log)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("kapi stops", "reason", context.Cause(ctx))
	graceful, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	// The gateway first: its clients are told to come back.
	err := errors.Join(handler.Close(graceful), srv.Shutdown(graceful))
	<-failed
	if err != nil {
		return errors.Join(fmt.Errorf("requests were cut off: %w", err), srv.Close())
	}
	return nil
}
