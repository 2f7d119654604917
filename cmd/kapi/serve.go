package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/gateway"
	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/supervise"
	"github.com/kettubot/kapi/metrics"
	"github.com/kettubot/kapi/server"
)

type serveCmd struct {
	Listen        string   `default:"127.0.0.1:4080" placeholder:"HOST:PORT" help:"Where to listen (default: ${default})."`
	MetricsListen string   `placeholder:"HOST:PORT" help:"Where to serve GET /metrics without a token, too; others may be able to reach it."`
	Host          []string `placeholder:"NAME" help:"A host name that is answered for, besides localhost, 127.0.0.1, [::1] and the address that a request came to; others are refused (421). May be repeated. Without one, a server on loopback answers for these alone, and one that listens elsewhere for any."`
	TLSCert       string   `name:"tls-cert" placeholder:"FILE" help:"Certificate chain (PEM) to serve https and wss with. The file is read again when it changes."`
	TLSKey        string   `name:"tls-key" placeholder:"FILE" help:"Private key (PEM) of --tls-cert."`
	TrustedProxy  []string `placeholder:"CIDR" help:"Addresses of proxies in front, whose X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Prefix are believed. May be repeated."`
	Insecure      bool     `help:"Allow to listen where other machines can reach it: without TLS they can read the tokens on the way."`
	LogFormat     string   `enum:"text,json" default:"text" help:"Format of the log on stderr: text or json."`
	LogLevel      string   `enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: debug (every request), info, warn or error."`

	limitFlags
}

const (
	readHeaderTimeout = 5 * time.Second
	requestTimeout    = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	stopTimeout       = 15 * time.Second // above what a request may take
	maxHeaderBytes    = 16 << 10
	maxStreams        = 100      // at once on a connection of HTTP/2
	http2Buffer       = 64 << 10 // of what a client has sent and nobody reads, for a connection of HTTP/2
)

// Validate is called by kong.
func (c *serveCmd) Validate() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	for _, text := range c.Host {
		if _, ok := origin.Name(text); !ok {
			return errors.New("--host is no host name or address: leave out scheme and port, any port will do")
		}
	}
	for _, text := range c.TrustedProxy {
		if _, err := parseProxy(text); err != nil {
			return fmt.Errorf("--trusted-proxy %s: not an address or a network like 10.0.0.0/8", text)
		}
	}
	return c.check()
}

func (c *serveCmd) Run(a *app) error {
	if err := a.storeOnly("serve"); err != nil {
		return err
	}
	log := c.logger(a)
	if err := errors.Join(c.checkListen(), c.checkMetricsListen()); err != nil {
		return err
	}
	certs, err := c.certificates(log)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	s, err := a.open(ctx, terms{log: log})
	if err != nil {
		return err
	}
	defer supervise.HoldStops(s.quiesce)()
	defer s.close()
	if err := s.Follow(ctx); err != nil {
		return err
	}
	connections := c.limitConnections(log)
	listener, address, err := c.listen(certs, connections)
	if err != nil {
		return err
	}
	var counters gateway.Counters
	measured := metrics.Handler(s.Peer, &counters, log, metrics.Connections(connections))
	stopMetrics, err := c.serveMetrics(measured, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer stopMetrics()
	log.Info("kapi serves", "address", address, "store", storeName(s.store), "version", version())
	// Stopped already, it stops as it would a moment later.
	address = browsable(address, c.Host)
	if err := a.welcome(ctx, s, address); err != nil && ctx.Err() == nil {
		return errors.Join(err, listener.Close())
	}
	authenticator := auth.NewAuthenticator(s.store)
	options := c.options(authenticator, listener.Addr(), log)
	options.Gateway, options.Metrics = gateway.Options{Counters: &counters}, measured
	handler := server.New(s.Peer, options)
	if err := a.invite(authenticator, handler, address); err != nil {
		return errors.Join(err, listener.Close())
	}
	srv := newHTTPServer(handler, log)
	srv.ConnContext = connections.ConnContext
	return serve(ctx, srv, listener, handler.Close, log)
}

// certificates returns those of --tls-cert, nil without it.
func (c *serveCmd) certificates(log *slog.Logger) (*certificates, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	return loadCertificates(c.TLSCert, c.TLSKey, log)
}

// options are the server's, as the flags say.
func (c *serveCmd) options(authenticator *auth.Authenticator, listens net.Addr, log *slog.Logger) server.Options {
	o := c.requests()
	o.Authenticate, o.Page = authenticator.Authenticate, server.Page{SignIn: authenticator}
	o.TrustedProxies, o.Hosts, o.Logger = c.proxies(), c.hosts(c.Listen, listens), log
	return o
}

func (c *serveCmd) limitConnections(log *slog.Logger) *server.Connections {
	limits := c.limitFlags.connections()
	limits.TrustedProxies, limits.Logger = c.proxies(), log
	return server.LimitConnections(limits)
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

func (c *serveCmd) logger(a *app) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // kong knows the words that there are
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(logWriter{a}, options))
	}
	return slog.New(slog.NewTextHandler(logWriter{a}, options))
}

// A logWriter is stderr, for the lines of a log: without secrets, and, as eprintf has it, fit for a terminal.
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

// newHTTPServer returns a server that no client can keep busy for long.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, WriteByteTimeout: requestTimeout,
			MaxReceiveBufferPerConnection: http2Buffer, MaxReceiveBufferPerStream: http2Buffer,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// serve answers until ctx ends, and then finishes what has begun. closeOthers ends the connections
// that http.Server.Shutdown doesn't know of.
func serve(ctx context.Context, srv *http.Server, listener net.Listener, closeOthers func(context.Context) error, log *slog.Logger) error {
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
	err := errors.Join(closeOthers(graceful), srv.Shutdown(graceful))
	<-failed
	if err != nil {
		return errors.Join(fmt.Errorf("requests were cut off: %w", err), srv.Close())
	}
	return nil
}
