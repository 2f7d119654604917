package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/client"
)

// An inProcess answers requests without a network, so that only the client's own pauses take time.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	if trace == nil {
		trace = &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {}, WroteHeaders: func() {}}
	}
	trace.GotConn(httptrace.GotConnInfo{})
	trace.WroteHeaders()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code == lost {
		return nil, errors.New("connection reset")
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// lost is the status of an answer that doesn't arrive.
const lost = 599

const started = `{"action":{"id":"a","title":"t","created_at":1,"status":1,"description":""},"fence":7,"lease_ms":15000}`

// A start that is refused with 429 has started nothing, and is repeated when the server says so. Only a
// lost answer leaves open whether the action was started.
func TestLimitedStart(t *testing.T) {
	limited := func(after string) string {
		return `429 {"message":"You are being rate limited","retry_after":` + after + `,"global":true}`
	}
	for name, tt := range map[string]struct {
		answers []string // the last one again and again
		want    error    // nil: it runs
		doubt   bool
		took    [2]time.Duration
	}{
		"for a moment":             {[]string{limited("3"), limited("0.2"), "201 " + started}, nil, false, [2]time.Duration{3200 * time.Millisecond, 6 * time.Second}},
		"for longer than is tried": {[]string{limited("60")}, kapi.ErrUnavailable, false, [2]time.Duration{0, time.Second}},
		"again and again":          {[]string{limited("0.5")}, kapi.ErrUnavailable, false, [2]time.Duration{10 * time.Second, 40 * time.Second}},
		"by a proxy":               {[]string{"429 slow down"}, kapi.ErrUnavailable, false, [2]time.Duration{10 * time.Second, 40 * time.Second}},
		"after a lost answer":      {[]string{"599", limited("60")}, kapi.ErrUnavailable, true, [2]time.Duration{0, 2 * time.Second}},
		"the token was revoked after a lost answer": {
			[]string{"599", `401 {"code":40002,"message":"Token not valid"}`}, auth.ErrInvalidToken, true, [2]time.Duration{0, 2 * time.Second},
		},
		"not allowed": {[]string{`401 {"code":40002,"message":"Token not valid"}`}, auth.ErrInvalidToken, false, [2]time.Duration{0, time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int64
				c, err := client.New("http://kapi.test", "x", client.Options{EndTimeout: time.Second, HTTP: &http.Client{Transport: inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPost {
						fmt.Fprint(w, `{"id":"a","title":"t","created_at":1,"status":5,"description":""}`)
						return
					}
					answer := tt.answers[min(int(n.Add(1)), len(tt.answers))-1]
					status, body, _ := strings.Cut(answer, " ")
					var code int
					fmt.Sscan(status, &code)
					w.WriteHeader(code)
					fmt.Fprint(w, body)
				})}}})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				began, ran := time.Now(), false
				err = c.Do(t.Context(), kapi.Spec{Title: "t"}, func(context.Context, kapi.Handle) error {
					ran = true
					return nil
				})
				if !errors.Is(err, tt.want) || ran != (tt.want == nil) {
					t.Errorf("it ran: %v; %v", ran, err)
				}
				if err != nil && strings.Contains(err.Error(), "not known whether") != tt.doubt {
					t.Errorf("whether it was started is told as %v", err)
				}
				if took := time.Since(began); took < tt.took[0] || took > tt.took[1] {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
