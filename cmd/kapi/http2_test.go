package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// Over TLS, requests use HTTP/2, many on one connection. The gateway uses HTTP/1.1, even for clients that
// support both.
func TestHTTP2(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), 1)
	log := slog.New(slog.DiscardHandler)
	certs, err := loadCertificates(cert, key, log)
	if err != nil {
		t.Fatal(err)
	}
	url := serveTLS(t, certs)
	known := x509.NewCertPool()
	if pem, err := os.ReadFile(cert); err != nil || !known.AppendCertsFromPEM(pem) {
		t.Fatalf("%s: %v", cert, err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: known}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	both := &http.Client{Transport: transport}
	for _, path := range []string{"/", "/healthz", "/v4/gateway", "/v4/kapi/actions", "/nothing"} {
		resp, err := both.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.ProtoMajor != 2 || err != nil || len(body) == 0 {
			t.Errorf("%s: %s, %d bytes, %v", path, resp.Proto, len(body), err)
		}
		if want := `{"url":"wss` + strings.TrimPrefix(url, "https") + `/gateway"}`; path == "/v4/gateway" && string(body) != want {
			t.Errorf("%s says %s, want %s", path, body, want)
		}
	}
	conn, resp, err := websocket.Dial(t.Context(), url+"/gateway?v=4&encoding=json", &websocket.DialOptions{HTTPClient: both})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, hello, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(hello), `"op":3`) || resp.ProtoMajor != 1 {
		t.Errorf("the gateway says %s by %s, %v", hello, resp.Proto, err)
	}
	c, err := client.New(url, "admin", client.Options{HTTP: both})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	watch.Close()
}

// serveTLS serves a store in memory to an admin, as kapi serve does, until the test ends.
func serveTLS(t *testing.T, certs *certificates) (url string) {
	t.Helper()
	store, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p, err := peer.Open(t.Context(), store, peer.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	handler := server.New(p, server.Options{Logger: log, Hosts: []string{"localhost"}, Authenticate: func(r *http.Request) (auth.Identity, error) {
		if r.Header.Get("Authorization") == "" {
			return auth.Identity{}, auth.ErrNoToken
		}
		return auth.Identity{ID: "1", Permissions: auth.Admin}, nil
	}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, newHTTPServer(handler, log), tls.NewListener(listener, certs.config()), handler.Close, log)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return "https://" + listener.Addr().String()
}
