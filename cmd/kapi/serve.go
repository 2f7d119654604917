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
	MetricsListen string   `placeholder:"HOST:PORT" help:"Where to serve GET /metrics without a token as well. The address may be one that other machines can reach."`
	Host          []string `placeholder:"NAME" help:"Host name to answer for, besides localhost, 127.0.0.1, [::1] and the address that a request came to. Requests for other hosts are refused (421). May be repeated. Without this flag, a server on loopback answers only for those, and a server that listens elsewhere for any host."`
	TLSCert       string   `name:"tls-cert" placeholder:"FILE" help:"Certificate chain (PEM) for https and wss. It is reloaded when the file changes."`
	TLSKey        string   `name:"tls-key" placeholder:"FILE" help:"Private key (PEM) of --tls-cert."`
	TrustedProxy  []string `placeholder:"CIDR" help:"Address or network of a proxy in front of kapi whose X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Prefix are trusted. May be repeated."`
	Insecure      bool     `help:"Allow listening without TLS on an address that other machines can reach. Tokens can then be read on the way."`
	LogFormat     string   `enum:"text,json" default:"text" help:"Format of the log on stderr: text or json."`
	LogLevel      string   `enum:"debug,info,warn,error" default:"info" help:"Lowest level to log: debug (every request), info, warn or error."`

	limitFlags
}

const (
	readHeaderTimeout = 5 * time.Second
	requestTimeout    = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	stopTimeout       = 15 * time.Second // longer than any request takes
	maxHeaderBytes    = 16 << 10
	maxStreams        = 100      // per HTTP/2 connection
	http2Buffer       = 64 << 10 // bytes received and not yet read, per HTTP/2 connection
)

// Validate is called by kong.
func (c *serveCmd) Validate() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key must be used together")
	}
	for _, text := range c.Host {
		if _, ok := origin.Name(text); !ok {
			return errors.New("--host must be a host name or an address, without scheme and port")
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
	// If ctx has ended, the error is ignored: serve below then stops in order.
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

// certificates loads those of --tls-cert. It returns nil without that flag.
func (c *serveCmd) certificates(log *slog.Logger) (*certificates, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	return loadCertificates(c.TLSCert, c.TLSKey, log)
}

// options returns the server's options, as set by the flags.
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
		p, _ := parseProxy(text) // Validate has checked it
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
	_ = level.UnmarshalText([]byte(c.LogLevel)) // kong has checked the word
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(logWriter{a}, options))
	}
	return slog.New(slog.NewTextHandler(logWriter{a}, options))
}

// A logWriter writes lines of a log to stderr, without secrets and, like eprintf, safe for a terminal.
type logWriter struct{ app *app }

// Write implements io.Writer.
func (w logWriter) Write(line []byte) (int, error) {
	text := []byte(w.app.hide(string(line)))
	if isTerminal(w.app.stderr) {
		text = escapeJSON(text) // the text format has escaped it already
	}
	_, err := w.app.stderr.Write(text)
	return len(line), err
}

// newHTTPServer returns a server that limits how long a client can keep it busy.
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

// serve answers requests until ctx ends, and then finishes those in progress. closeOthers ends the
// connections that http.Server.Shutdown doesn't know of.
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
	// The gateway first: its clients are told to reconnect.
	err := errors.Join(closeOthers(graceful), srv.Shutdown(graceful))
	<-failed
	if err != nil {
		return errors.Join(fmt.Errorf("requests were cut off: %w", err), srv.Close())
	}
	return nil
}
