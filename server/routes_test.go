package server_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
)

func TestList(t *testing.T) {
	f := newFixture(t, server.Options{})
	for _, prefix := range []string{"/v4", ""} {
		expect(t, f.as("admin", "GET", prefix+"/kapi/actions"), 200, "[]")
	}
	first := f.start("reshard")
	for time.Now().UnixMilli() == first.CreatedAt {
		runtime.Gosched() // within a millisecond neither is older
	}
	second := f.failed("audit")

	w := f.as("admin", "GET", "/v4/kapi/actions")
	golden(t, "list.json", w)
	var actions []kapi.Action
	if err := json.Unmarshal(w.Body.Bytes(), &actions); err != nil {
		t.Fatal(err)
	}
	if len(actions) != 2 || actions[0].ID != first.ID || actions[1].ID != second {
		t.Errorf("got %+v, want %s and then %s", actions, first.ID, second)
	}
	for name, want := range map[string]string{
		"Content-Type":           "application/json",
		"Content-Length":         strconv.Itoa(w.Body.Len()),
		"Cache-Control":          "private, no-cache",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestListIsRevalidated(t *testing.T) {
	f := newFixture(t, server.Options{})
	f.start("reshard")
	w := f.as("admin", "GET", "/v4/kapi/actions")
	etag := w.Header().Get("ETag")
	listing, err := f.peer.ListJSON(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`"%s-%d"`, listing.Epoch, listing.Seq); etag != want {
		t.Errorf("ETag %s, want %s", etag, want)
	}
	ask := func(method, match string) *httptest.ResponseRecorder {
		return f.send(method, "/kapi/actions", "", "Authorization: Bearer admin", "If-None-Match: "+match)
	}
	for _, match := range []string{etag, "W/" + etag, "*", `"x", ` + etag, `"a,b",W/` + etag} {
		for _, method := range []string{"GET", "HEAD"} {
			w := ask(method, match)
			expect(t, w, 304, "")
			h := w.Header()
			if h.Get("ETag") != etag || h.Get("Cache-Control") != "private, no-cache" || h.Get("Content-Type") != "" {
				t.Errorf("If-None-Match %s: %v", match, h)
			}
		}
	}
	if w := ask("GET", `"x"`); w.Code != 200 {
		t.Errorf("another tag: %d", w.Code)
	}
	f.start("audit")
	if w := ask("GET", etag); w.Code != 200 || w.Header().Get("ETag") == etag {
		t.Errorf("after a change: %d, %s", w.Code, w.Header().Get("ETag"))
	}
	if w := f.send("GET", "/kapi/actions", "", "If-None-Match: *"); w.Code != 401 {
		t.Errorf("without a token: %d", w.Code)
	}
}

// A list that is longer than a kilobyte is sent compressed to those who take that, from one compression of it.
func TestListIsCompressed(t *testing.T) {
	f := newFixture(t, server.Options{})
	ask := func(more ...string) *httptest.ResponseRecorder {
		t.Helper()
		w := f.send("GET", "/v4/kapi/actions", "", append([]string{"Authorization: Bearer admin"}, more...)...)
		if w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: Vary %q", more, w.Header().Get("Vary"))
		}
		return w
	}
	f.start("short")
	if w := ask("Accept-Encoding: gzip"); w.Header().Get("Content-Encoding") != "" || w.Body.Len() > 1024 {
		t.Errorf("%d bytes: %v", w.Body.Len(), w.Header())
	}
	for i := range 8 {
		f.start(fmt.Sprint("long", i))
	}
	plain := ask("Accept-Encoding: gzip;q=0, br")
	if plain.Header().Get("Content-Encoding") != "" || plain.Body.Len() <= 1024 || ask().Header().Get("ETag") != plain.Header().Get("ETag") {
		t.Fatalf("%d bytes: %v", plain.Body.Len(), plain.Header())
	}
	zipped := ask("Accept-Encoding: br, GZIP;q=0.5")
	r, err := gzip.NewReader(bytes.NewReader(zipped.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	h := zipped.Header()
	if err != nil || !bytes.Equal(body, plain.Body.Bytes()) || zipped.Body.Len() >= len(body) || h.Get("Content-Encoding") != "gzip" ||
		h.Get("Content-Length") != strconv.Itoa(zipped.Body.Len()) || h.Get("Content-Type") != "application/json" {
		t.Errorf("%v, %d bytes of %d: %v", err, zipped.Body.Len(), len(body), h)
	}
	tags := []string{plain.Header().Get("ETag"), h.Get("ETag")}
	if tags[0] == tags[1] {
		t.Errorf("both forms have the ETag %s", tags[0])
	}
	for _, tag := range tags { // whichever form it has, and would get
		for _, takes := range []string{"gzip", "identity"} {
			for _, match := range []string{tag, "W/" + tag, `"x", ` + tag} {
				w := ask("Accept-Encoding: "+takes, "If-None-Match: "+match)
				expect(t, w, 304, "")
				if w.Header().Get("ETag") != tag || w.Header().Get("Content-Encoding") != "" {
					t.Errorf("%s, %s: %v", takes, match, w.Header())
				}
			}
		}
	}
	f.start("more")
	if w := ask("Accept-Encoding: gzip", "If-None-Match: "+strings.Join(tags, ",")); w.Code != 200 || w.Header().Get("ETag") == tags[1] {
		t.Errorf("after a change: %d, %v", w.Code, w.Header())
	}
	listing, err := f.peer.ListJSON(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.peer.ListJSON(t.Context())
	if err != nil || &listing.Gzipped()[0] != &again.Gzipped()[0] {
		t.Errorf("the same list is compressed again (%v)", err)
	}
}

func TestGet(t *testing.T) {
	f := newFixture(t, server.Options{})
	a := f.start("reshard")
	for _, prefix := range []string{"/v4", ""} {
		w := f.as("owner", "GET", prefix+"/kapi/actions/"+a.ID)
		golden(t, "action.json", w)
		if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("ETag") != "" {
			t.Errorf("%d, %v", w.Code, w.Header())
		}
		var got kapi.Action
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.ID != a.ID {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	f := newFixture(t, server.Options{})
	a := f.start("reshard")
	s := httptest.NewServer(f)
	defer s.Close()
	for _, path := range []string{"/v4/kapi/actions", "/kapi/actions/" + a.ID, "/healthz", "/readyz", "/kapi/actions/none"} {
		var length [2]int64
		var status [2]int
		for i, method := range []string{"GET", "HEAD"} {
			r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer admin")
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			length[i], status[i] = resp.ContentLength, resp.StatusCode
		}
		if length[0] != length[1] || length[0] <= 0 || status[0] != status[1] {
			t.Errorf("%s: lengths %v, statuses %v", path, length, status)
		}
	}
}

func TestDismiss(t *testing.T) {
	f := newFixture(t, server.Options{})
	for i, prefix := range []string{"/v4", ""} {
		id := f.failed("audit" + strconv.Itoa(i))
		path := prefix + "/kapi/actions/" + id + "/dismiss"
		w := f.as("admin", "POST", path)
		expect(t, w, 204, "")
		if ct := w.Header().Get("Content-Type"); ct != "" {
			t.Errorf("Content-Type %q", ct)
		}
		golden(t, "unknown.json", f.as("admin", "POST", path))
		golden(t, "unknown.json", f.as("admin", "GET", prefix+"/kapi/actions/"+id))
		if line := f.log.line(t, "action dismissed", id); line["by"] != "alice (1)" {
			t.Errorf("the log says that it was %v", line["by"])
		}
	}
	running := f.start("reshard")
	w := f.as("admin", "POST", "/kapi/actions/"+running.ID+"/dismiss")
	golden(t, "notfailed.json", w)
	if w.Code != 409 {
		t.Errorf("dismissing a running one: %d", w.Code)
	}
}

func TestCancel(t *testing.T) {
	f := newFixture(t, server.Options{})
	a := f.start("reshard")
	w := f.as("admin", "POST", "/v4/kapi/actions/"+a.ID+"/cancel")
	golden(t, "cancelled.json", w)
	if w.Code != 202 {
		t.Errorf("cancel: %d", w.Code)
	}
	if line := f.log.line(t, "asked to stop", a.ID); line["by"] != "alice (1)" {
		t.Errorf("the log says that it was %v", line["by"])
	}
	w = f.as("admin", "POST", "/kapi/actions/"+f.failed("audit")+"/cancel")
	golden(t, "notcancellable.json", w)
	if w.Code != 409 {
		t.Errorf("cancelling a failed one: %d", w.Code)
	}
	w = f.as("admin", "POST", "/kapi/actions/none/cancel")
	golden(t, "unknown.json", w)
	if w.Code != 404 {
		t.Errorf("cancelling an unknown one: %d", w.Code)
	}
}

func TestProbes(t *testing.T) {
	f := newFixture(t, server.Options{})
	for _, path := range []string{"/healthz", "/readyz"} {
		w := f.send("GET", path, "")
		expect(t, w, 200, "ok\n")
		if ct := w.Header().Get("Content-Type"); ct != "text/plain; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", path, ct)
		}
	}
	f.store.failWith(fmt.Errorf("%w: the disk is gone", kapi.ErrUnavailable))
	expect(t, f.send("GET", "/healthz", ""), 200, "ok\n")
	w := f.send("GET", "/readyz", "")
	golden(t, "notready.txt", w)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	_, incident, _ := strings.Cut(strings.TrimSuffix(w.Body.String(), ")\n"), "incident ")
	if line := f.log.line(t, incident); !strings.Contains(fmt.Sprint(line["error"]), "the disk is gone") {
		t.Errorf("log: %v", line)
	}
}

func TestUnderAPrefix(t *testing.T) {
	f := newFixture(t, server.Options{})
	id := f.failed("audit")
	mux := http.NewServeMux()
	mux.Handle("/internal/", http.StripPrefix("/internal", f))
	as := func(method, target string) *httptest.ResponseRecorder {
		return send(mux, request(method, target, "", "Authorization: Bearer admin"))
	}
	if w := as("GET", "/internal/v4/kapi/actions/"+id); w.Code != 200 {
		t.Errorf("get: %d %s", w.Code, w.Body)
	}
	golden(t, "noroute.json", as("GET", "/internal/v5/kapi/actions"))
	golden(t, "unknown.json", as("GET", "/internal/v4/kapi/actions/a%2Fb"))
	expect(t, as("POST", "/internal/v4/kapi/actions/"+id+"/dismiss"), 204, "")
}

func TestNewNeedsAPeerAndAuthenticate(t *testing.T) {
	for _, c := range []struct {
		k *peer.Peer
		o server.Options
	}{{nil, server.Options{Authenticate: byName}}, {new(peer.Peer), server.Options{}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New(%v, %v) did not panic", c.k, c.o)
				}
			}()
			server.New(c.k, c.o)
		}()
	}
}
