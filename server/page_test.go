package server_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

// pageFiles returns what the page's HTML names of its own, relative to it.
func pageFiles(t *testing.T, f *fixture) (names []string) {
	t.Helper()
	w := f.send("GET", "/", "")
	if w.Code != 200 {
		t.Fatalf("the page: %d %s", w.Code, w.Body)
	}
	for _, m := range regexp.MustCompile(`(?:href|src)="(page/[^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

func TestPage(t *testing.T) {
	f := newFixture(t, server.Options{})
	w := f.send("GET", "/", "")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
			"frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; trusted-types 'none'",
		"Cache-Control":          "no-cache",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "same-origin",
		"Vary":                   "Accept-Encoding",
		"X-RateLimit-Bucket":     "address",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.Contains(w.Body.String(), "HASH") || strings.Contains(w.Body.String(), "SIGN-IN") {
		t.Error("something was not filled in")
	}
	kinds := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
	names := pageFiles(t, f)
	for _, name := range names {
		w := f.send("GET", "/"+name, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != kinds[path.Ext(name)] || w.Header().Get("Content-Encoding") != "" ||
			w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Header().Get("ETag") == "" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	files, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(files)-1 { // all but the HTML, so that nothing is found out late
		t.Errorf("the HTML names %d files, there are %d beside it", len(names), len(files)-1)
	}
}

// Nothing is loaded from elsewhere, and the page needs nothing that its policy forbids.
func TestPageIsItsOwn(t *testing.T) {
	for _, name := range sources(t) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(content), "http://www.w3.org/2000/svg", "") // a name, not an address
		for _, bad := range []string{
			`(?i)https?://`, `(?i)\bon[a-z]+="`, `\bstyle="`, `<style`, `innerHTML`, `outerHTML`, `insertAdjacentHTML`,
			`document\.write`, `\beval\(`, `new Function`, `document\.cookie`, `@import`,
		} {
			if found := regexp.MustCompile(bad).FindString(text); found != "" {
				t.Errorf("%s has %q", name, found)
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:import|export)[^;]*?from "([^"]+)"`).FindAllStringSubmatch(string(content), -1) {
			if _, err := os.Stat(filepath.Join("page", m[1])); err != nil {
				t.Errorf("%s imports %s, which is not there", name, m[1])
			}
		}
	}
}

func sources(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("page/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files of the page: %v", err)
	}
	return names
}

// All of it is at most 60 KB as it is sent.
func TestPageIsSmall(t *testing.T) {
	f := newFixture(t, server.Options{})
	total := 0
	for _, name := range append(pageFiles(t, f), "") {
		w := f.send("GET", "/"+name, "", "Accept-Encoding: gzip, br")
		if w.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s is not compressed: %v", name, w.Header())
		}
		total += w.Body.Len()
	}
	t.Logf("%d bytes", total)
	if total > 60_000 {
		t.Errorf("the page has %d bytes compressed", total)
	}
}

func TestPageIsRevalidated(t *testing.T) {
	f := newFixture(t, server.Options{})
	for _, target := range []string{"/", "/" + pageFiles(t, f)[0]} {
		plain := f.send("GET", target, "")
		tags := map[string]string{}
		for accepts, zipped := range map[string]bool{
			"": false, "gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000, *": false, "identity": false, "x-gzip": false,
		} {
			w := f.send("GET", target, "", "Accept-Encoding: "+accepts)
			body := w.Body.Bytes()
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
				t.Errorf("%s, %q: compressed: %v", target, accepts, got)
			} else if zipped {
				r, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(r); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(body, plain.Body.Bytes()) {
				t.Errorf("%s, %q: another body", target, accepts)
			}
			tags[w.Header().Get("ETag")] = accepts
		}
		if len(tags) != 2 {
			t.Errorf("%s: ETags %v, want one of each form", target, tags)
		}
		for tag, accepts := range tags {
			w := f.send("GET", target, "", "Accept-Encoding: "+accepts, "If-None-Match: "+tag)
			expect(t, w, 304, "")
			if w.Header().Get("ETag") != tag || w.Header().Get("Content-Encoding") != "" {
				t.Errorf("%s: %v", target, w.Header())
			}
			if w := f.send("GET", target, "", "Accept-Encoding: "+accepts, `If-None-Match: "other"`); w.Code != 200 {
				t.Errorf("%s with another tag: %d", target, w.Code)
			}
		}
	}
}

// The page and its files are served at their own addresses only.
func TestPageIsNowhereElse(t *testing.T) {
	f := newFixture(t, server.Options{})
	name := path.Base(pageFiles(t, f)[0])
	for _, target := range []string{"/v4", "/v4/", "/page", "/page/" + name, "/page/0000000000000000/" + name, "/page/session", "/page/enter"} {
		golden(t, "noroute.json", f.send("GET", target, ""))
	}
	if w := f.send("POST", "/", ""); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %d, %v", w.Code, w.Header())
	}
}

func TestPageOff(t *testing.T) {
	on := newFixture(t, server.Options{})
	off := newFixture(t, server.Options{Page: server.Page{Off: true, SignIn: auth.NewAuthenticator(newTokens(t))}})
	for _, target := range []string{"/", "/" + pageFiles(t, on)[0], "/page/session", "/page/enter"} {
		golden(t, "noroute.json", off.send("GET", target, ""))
	}
}

// The HTML says how people sign in.
func TestPageSaysHowToSignIn(t *testing.T) {
	for want, page := range map[string]server.Page{
		`data-sign-in="elsewhere" data-sign-in-url=""`:                             {},
		`data-sign-in="token" data-sign-in-url=""`:                                 {SignIn: auth.NewAuthenticator(newTokens(t))},
		`data-sign-in="elsewhere" data-sign-in-url="/login?next=&#34;&amp;a=&lt;"`: {SignInURL: `/login?next="&a=<`},
		`data-sign-in="elsewhere" data-sign-in-url="" data-title="A &amp; B">
<head>
<meta charset="utf-8">
<title>A &amp; B</title`: {Title: "A & B"},
	} {
		w := newFixture(t, server.Options{Page: page}).send("GET", "/", "")
		if !strings.Contains(w.Body.String(), "<html lang=\"en\" "+want) {
			t.Errorf("no %s in %.200s", want, w.Body)
		}
	}
}

func TestPageUnderAPrefix(t *testing.T) {
	f := newFixture(t, server.Options{})
	mux := http.NewServeMux()
	mux.Handle("/internal/", http.StripPrefix("/internal", f))
	if w := send(mux, request("GET", "/internal/", "")); w.Code != 200 || strings.Contains(w.Body.String(), `="/`) {
		t.Errorf("%d, or an address that is not relative:\n%s", w.Code, w.Body)
	}
	for _, name := range pageFiles(t, f) {
		if w := send(mux, request("GET", "/internal/"+name, "")); w.Code != 200 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// The page is complete, however few requests an address may send.
func TestPageHasNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that no time passes
		f := &fixture{t: t, Handler: &documented{t, limited(server.Options{RateLimitAddress: 0.001}).(*server.Server)}}
		names := append(pageFiles(t, f), "")
		for range 50 {
			for _, name := range names {
				if w := f.send("GET", "/"+name, ""); w.Code != 200 {
					t.Fatalf("%s: %d", name, w.Code)
				}
			}
		}
	})
}
