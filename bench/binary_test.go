package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
)

// BenchmarkRun measures how much longer `kapi run -- true` takes than `true`: on an existing store, on
// a new one, and while `kapi serve` has the store open; and how long `flock FILE true` takes. The five
// alternate.
func BenchmarkRun(b *testing.B) {
	const rounds = 31
	kapi := build(b)
	for b.Loop() {
		folder := b.TempDir()
		path := filepath.Join(folder, "kapi.db")
		served := filepath.Join(folder, "served.db")
		serve(b, kapi, served)
		run := func(path string) float64 { return timed(b, kapi, "--store", "sqlite:"+path, "run", "--", "true") }
		run(path)
		run(served)
		lock := filepath.Join(folder, "lock")
		var plain, flock, same, fresh, beside []float64
		for i := range rounds {
			plain = append(plain, timed(b, "true"))
			flock = append(flock, timed(b, "flock", lock, "true"))
			same = append(same, run(path))
			fresh = append(fresh, run(filepath.Join(folder, fmt.Sprintf("fresh-%d.db", i))))
			beside = append(beside, run(served))
		}
		b.ReportMetric(median(plain), "true-ms")
		b.ReportMetric(median(flock)-median(plain), "flock-more-ms")
		b.ReportMetric(median(same)-median(plain), "more-ms")
		b.ReportMetric(quantile(same, 0.95)-median(plain), "more-ms-p95")
		b.ReportMetric(median(fresh)-median(plain), "more-ms-fresh-store")
		b.ReportMetric(median(beside)-median(plain), "more-ms-beside-serve")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkServe measures `kapi serve` over 1,000 actions that another process runs: the time from exec
// to the first 200 of /readyz, the resident memory then and after 50 lists, and the size of the binary.
func BenchmarkServe(b *testing.B) {
	const starts = 11
	kapi := build(b)
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "kapi.db")
		hold(b, path, 1000)
		secret, err := exec.Command(kapi, "--store", "sqlite:"+path, "token", "create", "--name", "bench", "--perms", "admin").Output()
		if err != nil {
			b.Fatal(err)
		}
		var ready, atReady, afterLists []float64
		for range starts {
			s := serve(b, kapi, path)
			ready = append(ready, s.ready)
			atReady = append(atReady, s.resident())
			for range 50 {
				s.list(strings.TrimSpace(string(secret)))
			}
			afterLists = append(afterLists, s.resident())
			s.stop()
		}
		b.ReportMetric(median(ready), "ready-ms")
		b.ReportMetric(quantile(ready, 1), "ready-ms-max")
		b.ReportMetric(median(atReady), "MB")
		b.ReportMetric(median(afterLists), "MB-after-lists")
		b.ReportMetric(quantile(afterLists, 1), "MB-max")
	}
	info, err := os.Stat(kapi)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB-binary")
	b.ReportMetric(0, "ns/op")
}

// build builds the binary the way it is released.
func build(b *testing.B) string {
	path, err := kapitest.Build(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	return path
}

// timed runs a command and returns its duration in milliseconds.
func timed(b *testing.B, name string, args ...string) float64 {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v", cmd, err)
	}
	return ms(time.Since(began))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A service is a running `kapi serve` that is ready.
type service struct {
	b     *testing.B
	cmd   *exec.Cmd
	url   string
	trust *tls.Config // nil: plain HTTP
	ready float64     // ms from exec until ready
}

// transport returns a transport for the service, which uses HTTP/2 if the service has TLS.
func (s *service) transport() *http.Transport {
	return &http.Transport{TLSClientConfig: s.trust.Clone(), ForceAttemptHTTP2: true}
}

// serve starts a service without rate limits.
func serve(b *testing.B, kapi, path string) *service {
	return serveBy(b, path, "env", "KAPI_RATE_LIMIT=0", "KAPI_RATE_LIMIT_ADDRESS=0", kapi)
}

// serveBy starts a service by a command, to which kapi's arguments are appended.
func serveBy(b *testing.B, path string, args ...string) *service {
	s := &service{b: b}
	s.start(path, args...)
	return s
}

// serveTLS is serveBy over TLS.
func serveTLS(b *testing.B, path string, args ...string) *service {
	cert, key, trust := certificate(b)
	s := &service{b: b, trust: trust}
	s.start(path, append([]string{"env", "KAPI_TLS_CERT=" + cert, "KAPI_TLS_KEY=" + key}, args...)...)
	return s
}

func (s *service) start(path string, args ...string) {
	b := s.b
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close() // nothing else asks for this port
	if s.url = "http://" + address; s.trust != nil {
		s.url = "https://" + address
	}
	args = append(args, "--store", "sqlite:"+path, "serve", "--listen", address, "--log-level", "error")
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.stop)
	client := http.Client{Transport: s.transport()}
	defer client.CloseIdleConnections()
	for {
		resp, err := client.Get(s.url + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.ready = ms(time.Since(began))
				return
			}
		}
		if time.Since(began) > 10*time.Second {
			b.Fatalf("not ready after %v: %v", time.Since(began), err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *service) stop() {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		_ = s.cmd.Wait()
	}
}

// list requests the list of all actions.
func (s *service) list(secret string) {
	req, err := http.NewRequest(http.MethodGet, s.url+"/v4/kapi/actions", nil)
	if err != nil {
		s.b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.b.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		s.b.Fatalf("list: %s, %v", resp.Status, err)
	}
}

// resident returns the resident memory in megabytes (10^6 bytes).
func (s *service) resident() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		s.b.Fatal("no VmRSS in /proc")
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		s.b.Fatal(err)
	}
	return float64(kib) * 1024 / 1e6
}
