package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/kettubot/kapi/auth"
)

// LinkFor is how long a link made by Server.SignInLink can be used.
const LinkFor = 5 * time.Minute

// Links are the one-time codes that sign somebody in.
type links struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]link // by the code's hash, so that a look-up tells nothing of it
}

type link struct {
	until time.Time
	begin func(context.Context) (auth.Session, error)
}

// SignInLink returns an address, relative to where the handler is mounted, that signs in whoever opens
// it first within LinkFor: with a session that begin makes then. The address holds a code of 130 random
// bits, and nothing of a session. It needs Page.SignIn.
func (s *Server) SignInLink(begin func(context.Context) (auth.Session, error)) string {
	return "page/enter?code=" + s.links.add(begin)
}

// add makes a code, and forgets those that are too old.
func (l *links) add(begin func(context.Context) (auth.Session, error)) (code string) {
	code = rand.Text()
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for hash, one := range l.of {
		if now.After(one.until) {
			delete(l.of, hash)
		}
	}
	l.of[sha256.Sum256([]byte(code))] = link{now.Add(LinkFor), begin}
	return code
}

// take takes a link out, so that nobody else can use it.
func (l *links) take(code string) (link, bool) {
	hash := sha256.Sum256([]byte(code))
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.of[hash]
	delete(l.of, hash)
	return found, ok && time.Now().Before(found.until)
}

func (l *links) putBack(code string, found link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[sha256.Sum256([]byte(code))] = found
}

// What the page is told in its fragment, which no server is sent: to use a code up, or that there is
// none.
const (
	toEnter   = toPage + "#/enter/"
	toBadLink = toPage + "#/link"
)

// enter leads from a link to the page, which uses the code up: so nothing does that only looks at an
// address, and the session's half is in none.
func (s *Server) enter(c *call) error {
	target := toBadLink
	if code := c.URL.Query().Get("code"); isCode(code) {
		target = toEnter + code
	}
	c.w.Header().Set("Location", target)
	c.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// isCode reports whether a text has the shape of what rand.Text returns.
func isCode(text string) bool {
	for _, c := range text {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(text) == 26
}
