package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// post sends a request with ann's secret, or with another one, and returns the status and the body.
func (h *house) post(path, kind, body, token string) (int, string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(text))
}

// Its own users start operations through its own handler and over REST, and nobody else does.
func testUsers(t *testing.T, h *house) {
	service := h.start()
	ann := strings.TrimPrefix(h.env[len(h.env)-1], "KAPI_TOKEN=")
	const form, object = "application/x-www-form-urlencoded", "application/json"
	for _, c := range []struct {
		path, kind, body, token string
		status                  int
	}{
		{"/newsletter", form, "subject=Hello", "guess", 401},
		{"/v4/kapi/operations/export", object, `{}`, "guess", 401},
		{"/newsletter", form, "subject=", ann, 422},
		{"/newsletter", form, "subject=Hello", ann, 200},
		{"/newsletter", form, "subject=Hello", ann, 409}, // one is being sent
		{"/v4/kapi/operations/export", object, `{"format":"xml"}`, ann, 400},
		{"/v4/kapi/operations/export", object, `{"format":"text","rate":1}`, ann, 201},
		{"/v4/kapi/operations/export", object, `{"rate":1}`, ann, 201},
		{"/v4/kapi/operations/export", object, `{"rate":1}`, ann, 409}, // two are the limit
	} {
		status, text := h.post(c.path, c.kind, c.body, c.token)
		if status != c.status {
			t.Errorf("%s %s: got %d, %s, want %d", c.path, c.body, status, text, c.status)
		}
		if id, ok := strings.CutPrefix(text, "started "); ok {
			if a := h.action(id); a.Operation != "newsletter" || a.StartedBy != "ann" {
				t.Errorf("it is %+v", a)
			}
		}
	}
	if _, code := h.run("start", "export"); code != 75 {
		t.Errorf("kapi start at the limit ended with %d", code)
	}
	service.end(syscall.SIGTERM)
}

// A newsletter that failed is continued where it stopped, also if the first attempt to continue it fails, too.
func testContinue(t *testing.T, h *house) {
	service := h.start()
	origin := h.must("start", "newsletter", "--arg", "subject=Hello", "--arg", "rate=40")
	h.some(origin)
	away := h.outbox() + ".away"
	if err := os.Rename(h.outbox(), away); err != nil {
		t.Fatal(err)
	}
	failed := func(id string) {
		t.Helper()
		kapitest.Eventually(t, "it fails", func() bool { return h.action(id).Status == kapi.StatusFailed })
	}
	failed(origin)
	if out, code := h.run("start", "newsletter", "--preview", "--arg", "subject=Hello"); code != 1 {
		t.Errorf("the preview without an outbox ended with %d, %s", code, out)
	}
	again := h.must("start", "newsletter", "--continue", origin)
	failed(again)
	if err := os.Rename(away, h.outbox()); err != nil {
		t.Fatal(err)
	}
	first := h.mails(origin)

	last := h.must("start", "newsletter", "--continue", again)
	h.must("watch", last)
	h.ended(origin, first, 0)
	if out := h.must("start", "newsletter", "--preview", "--arg", "subject=Bye"); out != fmt.Sprintf(`sends "Bye" to %d customers, 10 a second`, len(customers())) {
		t.Errorf("the preview is %s", out)
	}
	service.end(syscall.SIGTERM)
}
