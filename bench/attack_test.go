package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// BenchmarkAttack measures how long an admin waits for the list of 100 actions while a stranger at the
// same address attacks: with 30 requests a second without a token, with 100 gateway handshakes a
// second, half of them for a foreign page, with 1,500 idle connections, and with all three; and over
// TLS, with 2,000 requests over HTTP/2 that never end. The service has its default limits, and 1,024
// open files.
func BenchmarkAttack(b *testing.B) {
	kapi := build(b)
	few := []string{"sh", "-c", `ulimit -n 1024 && exec "$@"`, "sh", kapi}
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "kapi.db")
		hold(b, path, 100)
		secret, err := exec.Command(kapi, "--store", "sqlite:"+path, "token", "create", "--name", "bench", "--perms", "admin").Output()
		if err != nil {
			b.Fatal(err)
		}
		plain := serveBy(b, path, few...)
		requests, handshakes, idle := plain.requests, plain.handshakes, plain.idleConnections
		plain.attacked("", strings.TrimSpace(string(secret)), map[string][]func(context.Context){
			"requests": {requests}, "handshakes": {handshakes}, "idle": {idle}, "all": {requests, handshakes, idle},
		})
		secure := serveTLS(b, path, few...)
		secure.attacked("tls-", strings.TrimSpace(string(secret)), map[string][]func(context.Context){"streams": {secure.streams}})
	}
	b.ReportMetric(0, "ns/op")
}

// attacked measures the admin's requests at rest and under each attack, then stops the service.
func (s *service) attacked(prefix, secret string, attacks map[string][]func(context.Context)) {
	defer s.stop()
	admin := &asking{s, secret, s.transport()}
	defer admin.CloseIdleConnections()
	rest := admin.p99()
	s.b.ReportMetric(rest, prefix+"rest-p99-ms")
	s.b.ReportMetric(max(5*rest, 50), prefix+"promised-p99-ms")
	for name, together := range attacks {
		s.b.ReportMetric(s.under(admin, together), name+"-p99-ms")
	}
}

// under measures the admin's requests while the attacks run.
func (s *service) under(admin *asking, attacks []func(context.Context)) float64 {
	ctx, cancel := context.WithCancel(s.b.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, attack := range attacks {
		all.Go(func() { attack(ctx) })
	}
	time.Sleep(3 * time.Second) // until all 1,500 are open and the rate limits are used up
	return admin.p99()
}

// every calls f at this interval until ctx ends.
func every(ctx context.Context, pause time.Duration, f func(i int)) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		f(i)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// requests sends 30 requests a second, with wrong tokens and without any.
func (s *service) requests(ctx context.Context) {
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	every(ctx, time.Second/30, func(i int) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v4/kapi/actions", nil)
		if err != nil {
			s.b.Error(err)
			return
		}
		if i%2 == 0 {
			r.Header.Set("Authorization", "Bearer "+benchToken)
		}
		if resp, err := transport.RoundTrip(r); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}

// handshakes opens 100 gateway connections a second and leaves them open.
func (s *service) handshakes(ctx context.Context) {
	var open []*websocket.Conn
	every(ctx, time.Second/100, func(i int) {
		var header http.Header
		if i%2 == 0 {
			header = http.Header{"Origin": {"https://evil.example"}}
		}
		if c, _, err := websocket.Dial(ctx, s.url+"/gateway?v=4", &websocket.DialOptions{HTTPHeader: header}); err == nil {
			open = append(open, c)
		}
	})
	for _, c := range open {
		_ = c.CloseNow()
	}
}

// idleConnections opens 1,500 connections and keeps them; those that are closed are reopened, 100 a
// second.
func (s *service) idleConnections(ctx context.Context) {
	var open []net.Conn
	dial := func(int) {
		if c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
			open = append(open, c)
		}
	}
	for i := range 1500 {
		dial(i)
	}
	every(ctx, time.Second/100, func(i int) {
		if len(open) > i {
			_ = open[i].Close()
		}
		dial(i)
	})
	for _, c := range open {
		_ = c.Close()
	}
}

// streams opens 20 HTTP/2 connections with 100 requests each, which never finish sending a token. A
// request that is answered is sent again within 20 seconds, at most 100 a second in all.
func (s *service) streams(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for range 20 {
		transport := s.transport()
		defer transport.CloseIdleConnections()
		for range 100 {
			all.Go(func() {
				every(ctx, 20*time.Second, func(int) { s.neverEnding(ctx, transport) })
			})
		}
	}
}

// neverEnding begins to sign in on the page without ending the request, until it is answered or ctx ends.
func (s *service) neverEnding(ctx context.Context, transport *http.Transport) {
	body, more := io.Pipe()
	defer more.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/page/session", body)
	if err != nil {
		s.b.Error(err)
		return
	}
	r.Header.Set("Content-Type", "application/json")
	if resp, err := transport.RoundTrip(r); err == nil {
		_ = resp.Body.Close()
	}
}

// An asking is an admin who requests the list repeatedly.
type asking struct {
	*service
	secret string
	*http.Transport
}

// p99 returns the 99th percentile of the request times, in milliseconds. One request in ten uses a new
// connection. None may be refused.
func (a *asking) p99() float64 {
	const requests, pause = 600, 12 * time.Millisecond // within the rate limit
	var took []float64
	begin := time.Now()
	for i := range requests {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * pause)))
		if i%10 == 0 {
			a.CloseIdleConnections()
		}
		began := time.Now()
		r, err := http.NewRequest(http.MethodGet, a.url+"/v4/kapi/actions", nil)
		if err != nil {
			a.b.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+a.secret)
		resp, err := a.RoundTrip(r)
		if err != nil {
			a.b.Fatalf("an admin was refused: %v", err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			a.b.Fatalf("an admin was refused: %s, %v", resp.Status, err)
		}
		took = append(took, ms(time.Since(began)))
	}
	return quantile(took, 0.99)
}
