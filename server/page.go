package server

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// A Page says how the web page for admins is served: the page at /, its files under /page/. The page uses
// the REST routes and the gateway, either with a session of SignIn or as the identity that Authenticate
// finds for its browser. That must be by a cookie, as a browser sends nothing else by itself.
type Page struct {
	// Off serves no page.
	Off bool
	// Title is the page's heading and the title of its tab; "" is kapi.
	Title string
	// SignIn, if set, lets people sign in on the page with a token of this Authenticator, for at
	// most auth.SessionFor. The browser keeps no token, but two halves of a session: one as a cookie
	// (kapi_ and eight digits that depend on the store; HttpOnly, SameSite=Strict), one in the page's
	// localStorage, which servers on other ports of the host can't read. If it is nil, the embedder
	// must sign people in.
	SignIn *auth.Authenticator
	// SignInURL is where the page sends people who are not signed in, instead of asking for a token.
	// Unless it has a parameter next, the page adds one with the address to return to: a path if
	// SignInURL has the page's origin, else a URL. Redirect only to addresses of the page, because
	// anybody can make such a link.
	SignInURL string
}

//go:embed page
var pageFiles embed.FS

// An asset is a file of the page, plain and compressed.
type asset struct {
	contentType    string
	plain, gzipped []byte
	etag           string // of plain
}

func newAsset(name string, content []byte) *asset {
	kinds := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
	sum := sha256.Sum256(content)
	var zipped bytes.Buffer
	w, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // fails only for an invalid level
	_, _ = w.Write(content)
	_ = w.Close()
	return &asset{
		contentType: mime.FormatMediaType(kinds[path.Ext(name)], map[string]string{"charset": "utf-8"}),
		plain:       content, gzipped: zipped.Bytes(),
		etag: `"` + hex.EncodeToString(sum[:12]) + `"`,
	}
}

// assets has the files of the page. All but index.html have the hash of all of them in their address, so
// that a browser may keep them forever and never mixes two versions.
type assets struct {
	index string
	hash  string
	files map[string]*asset
}

// loadAssets reads and compresses the files, once for all servers of the process.
var loadAssets = sync.OnceValue(func() *assets {
	a := &assets{files: map[string]*asset{}}
	entries, err := pageFiles.ReadDir("page")
	if err != nil {
		panic(err) // can't happen: the files are embedded
	}
	all := sha256.New()
	for _, entry := range entries { // sorted by name
		content, err := pageFiles.ReadFile("page/" + entry.Name())
		if err != nil {
			panic(err)
		}
		if entry.Name() == "index.html" {
			a.index = string(content)
			continue
		}
		a.files[entry.Name()] = newAsset(entry.Name(), content)
		_, _ = all.Write([]byte(entry.Name() + "\n" + a.files[entry.Name()].etag + "\n"))
	}
	a.hash = hex.EncodeToString(all.Sum(nil)[:8])
	return a
})

// indexFor returns the HTML for these options. All addresses in it are relative, since it may be mounted
// anywhere. It names all modules, so that a browser can load them at once instead of one after the other.
func (a *assets) indexFor(o Page) *asset {
	folder := "page/" + a.hash + "/"
	var modules []string
	for name := range a.files {
		if path.Ext(name) == ".js" {
			modules = append(modules, `<link rel="modulepreload" href="`+folder+name+`">`)
		}
	}
	slices.Sort(modules)
	// The list is preloaded if a cookie alone authenticates the page.
	how, list := "elsewhere", `<link rel="preload" as="fetch" href="v4/kapi/actions" crossorigin>`
	if o.SignIn != nil {
		how, list = "token", ""
	}
	return newAsset("index.html", []byte(strings.NewReplacer(
		"<!-- modules -->", strings.Join(modules, "\n"),
		"<!-- list -->", list,
		"page/HASH/", folder,
		"PAGE-TITLE", html.EscapeString(cmp.Or(o.Title, "kapi")),
		"SIGN-IN-URL", html.EscapeString(o.SignInURL),
		"SIGN-IN", how,
	).Replace(a.index)))
}

// pageRoutes adds the routes of the page.
func (s *Server) pageRoutes() {
	if s.options.Page.Off {
		return
	}
	all := loadAssets()
	index := all.indexFor(s.options.Page)
	s.exact["/"] = &route{page: true, get: func(c *call) error {
		h := c.w.Header()
		h["Content-Security-Policy"] = pageContent
		// With no-referrer, the browser would send the sign-in form as if from another origin.
		h["Referrer-Policy"] = []string{"same-origin"}
		h["Cache-Control"] = []string{"no-cache"}
		s.dropOldCookie(c)
		index.send(c)
		return nil
	}}
	s.handle("/page/{hash}/{file}", route{page: true, get: func(c *call) error {
		file := all.files[c.PathValue("file")]
		if file == nil || c.PathValue("hash") != all.hash {
			return wire.NoRoute
		}
		c.w.Header()["Cache-Control"] = []string{"public, max-age=31536000, immutable"}
		file.send(c)
		return nil
	}})
	if s.options.Page.SignIn != nil {
		s.handle("/page/session", route{page: true, post: s.signIn, delete: s.signOut})
		s.handle("/page/enter", route{page: true, get: s.enter})
	}
}

// pageContent lets the page load only its own files. The page never parses text as HTML; the last two
// directives make the browser enforce that.
var pageContent = []string{strings.Join([]string{
	"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
	"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'",
	"require-trusted-types-for 'script'", "trusted-types 'none'",
}, "; ")}

// send answers with the file, or with 304 if the client has it.
func (a *asset) send(c *call) {
	h := c.w.Header()
	h.Set("Vary", "Accept-Encoding")
	zip := takesGzip(c.Header.Values("Accept-Encoding"))
	body, etag := a.plain, a.etag
	if zip {
		body, etag = a.gzipped, strings.TrimSuffix(a.etag, `"`)+`-gzip"`
	}
	h.Set("ETag", etag)
	if matches(c.Header.Values("If-None-Match"), etag) {
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	if zip {
		h.Set("Content-Encoding", "gzip")
	}
	c.w.send(http.StatusOK, a.contentType, body)
}

// takesGzip reports whether an Accept-Encoding header with these lines accepts gzip by name (RFC 9110,
// section 12.5.3). "*" doesn't count.
func takesGzip(lines []string) bool {
	for coding := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		_, q, weighed := strings.Cut(strings.ToLower(weight), "q=")
		return !weighed || strings.Trim(strings.TrimSpace(q), "0.") != ""
	}
	return false
}
