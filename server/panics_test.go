package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/server"
)

func TestPanics(t *testing.T) {
	f := newFixture(t, server.Options{})
	w := f.as("panic", "GET", "/kapi/actions")
	golden(t, "internal.json", w)
	if w.Code != 500 || w.Header().Get("X-RateLimit-Limit") != "20" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	line := f.log.line(t, incidentOf(t, w))
	if line["error"] != "panic: oh no" || !strings.Contains(fmt.Sprint(line["stack"]), "byName") {
		t.Errorf("log: %v", line)
	}
	if w := f.as("admin", "GET", "/kapi/actions"); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
}

// cutOff is a writer that panics at the first write.
type cutOff struct{ http.ResponseWriter }

func (cutOff) Write([]byte) (int, error) { panic("the writer broke") }

func TestPanicsThatCannotBeAnswered(t *testing.T) {
	f := newFixture(t, server.Options{})
	recovered := func(w http.ResponseWriter, name string) (v any) {
		defer func() { v = recover() }()
		f.ServeHTTP(w, request("GET", "/kapi/actions", "", "Authorization: Bearer "+name))
		return nil
	}
	if v := recovered(httptest.NewRecorder(), "abort"); v != http.ErrAbortHandler {
		t.Errorf("ErrAbortHandler became %v", v)
	}
	if strings.Contains(f.log.String(), "abort") {
		t.Errorf("ErrAbortHandler was logged:\n%s", f.log)
	}
	if v := recovered(cutOff{httptest.NewRecorder()}, "admin"); v != http.ErrAbortHandler {
		t.Errorf("a panic after the header became %v", v)
	}
	f.log.line(t, "the writer broke", "stack")
}

func TestWhoHungUpIsNoIncident(t *testing.T) {
	f := newFixture(t, server.Options{})
	f.store.failWith(fmt.Errorf("%w: interrupted", kapi.ErrUnavailable))
	w := send(f, request("GET", "/kapi/actions", "", "Authorization: Bearer admin").WithContext(cancelled(t)))
	if line := f.log.line(t, incidentOf(t, w)); line["level"] != "DEBUG" {
		t.Errorf("log: %v", line)
	}
}

func TestRequestsAreLoggedWithoutSecrets(t *testing.T) {
	f := newFixture(t, server.Options{})
	f.send("GET", "/kapi/actions?q=hush", "", "Authorization: Bearer admin", "Cookie: sess=hush")
	line := f.log.line(t, `"msg":"request"`)
	for name, want := range map[string]any{
		"level": "DEBUG", "method": "GET", "path": "/kapi/actions", "status": 400.0, "by": "1", "address": "192.0.2.1:1234",
	} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	for _, secret := range []string{"hush", "Bearer", "sess"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log has %q:\n%s", secret, f.log)
		}
	}
}
