package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
)

// A gone is a proxy whose server is away, or was.
type gone struct {
	tries int
	// back is the number of the try that the server itself refuses; 0 is none.
	back int
}

func (g *gone) RoundTrip(r *http.Request) (*http.Response, error) {
	g.tries++
	trace := httptrace.ContextClientTrace(r.Context())
	trace.GotConn(httptrace.GotConnInfo{})
	trace.WroteHeaders()
	status, body := http.StatusBadGateway, "<html>"
	if g.tries == g.back {
		status, body = http.StatusUnauthorized, `{"code":40006,"message":"No token"}`
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Request: r, Header: http.Header{},
	}, nil
}

// TestRetrying: a start that a proxy answers instead of its server is tried again, and Retrying is called at
// once, and once only.
func TestRetrying(t *testing.T) {
	for _, back := range []int{0, 1, 4} {
		synctest.Test(t, func(t *testing.T) {
			proxy := &gone{back: back}
			began, calls := time.Now(), 0
			c, err := client.New("http://h", "x", client.Options{
				HTTP: &http.Client{Transport: proxy},
				Retrying: func(err error, within time.Duration) {
					calls++
					if !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), "it answered Bad Gateway") || within != 20*time.Second || time.Since(began) != 0 {
						t.Errorf("after %v it is told: %v, for %v", time.Since(began), err, within)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Do(t.Context(), kapi.Spec{Title: "t"}, nil)
			took := time.Since(began)
			switch {
			case back == 0 && (!errors.Is(err, kapi.ErrUnavailable) || took < 20*time.Second || took > 25*time.Second || calls != 1):
				t.Errorf("got %v after %v, Retrying called %d times", err, took, calls)
			case back == 1 && (errors.Is(err, kapi.ErrUnavailable) || calls != 0 || proxy.tries != 1):
				t.Errorf("refused at once: got %v, Retrying called %d times, tried %d times", err, calls, proxy.tries)
			case back == 4 && (errors.Is(err, kapi.ErrUnavailable) || calls != 1 || proxy.tries != 4):
				t.Errorf("refused later: got %v, Retrying called %d times, tried %d times", err, calls, proxy.tries)
			}
		})
	}
}
