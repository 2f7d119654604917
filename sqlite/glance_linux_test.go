package sqlite_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// BenchmarkGlance reads a list that has not changed, from the peer and over HTTP (a 304), with a store that is
// a Glancer and with one that isn't. README.md has the figures.
func BenchmarkGlance(b *testing.B) {
	for name, hide := range map[string]func(*sqlite.Store) peer.Store{
		"glance": func(s *sqlite.Store) peer.Store { return s },
		"query":  func(s *sqlite.Store) peer.Store { return struct{ peer.Store }{s} },
	} {
		p := glanced(b, hide)
		b.Run("peer/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := p.ListJSON(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		s := server.New(p, server.Options{RateLimit: -1, Authenticate: func(*http.Request) (auth.Identity, error) {
			return auth.Identity{Permissions: auth.Admin}, nil
		}})
		ask := func(etag string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v4/kapi/actions", nil)
			r.Header.Set("If-None-Match", etag)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w
		}
		etag := ask("").Header().Get("ETag")
		b.Run("304/"+name, func(b *testing.B) {
			for b.Loop() {
				if w := ask(etag); w.Code != http.StatusNotModified {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}

// glanced opens a peer on a new store with one action.
func glanced(b *testing.B, hide func(*sqlite.Store) peer.Store) *peer.Peer {
	b.Helper()
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "kapi.db"))
	if err != nil {
		b.Fatal(err)
	}
	p, err := peer.Open(b.Context(), hide(s), peer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	_, err = p.Start(b.Context(), kapi.Spec{Title: "Resharding"}, func(ctx context.Context, _ kapi.Handle) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		b.Fatal(err)
	}
	return p
}
