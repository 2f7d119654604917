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

// links has the one-time codes that sign in.
type links struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]link // by the code's hash, so that the time of a look-up reveals nothing of the code
}

type link struct {
	until time.Time
	begin func(context.Context) (auth.Session, error)
}

// SignInLink returns an address, relative to where the handler is mounted. The first browser that opens
// it within LinkFor is signed in, with a session that begin makes then. The address has a code of 130
// random bits, and no part of a session. It requires Page.SignIn.
func (s *Server) SignInLink(begin func(context.Context) (auth.Session, error)) string {
	return "page/enter?code=" + s.links.add(begin)
}

// add makes a code, and removes expired ones.
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

// take removes and returns a link, so that it can be used only once.
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

// Addresses that tell the page to use a code, or that a link is not valid. The fragment is never sent to a
// server.
const (
	toEnter   = toPage + "#/enter/"
	toBadLink = toPage + "#/link"
)

// enter redirects from a link to the page, which uses the code. So a program that only fetches the address,
// such as a link preview, doesn't use it up, and no address has a half of the session.
func (s *Server) enter(c *call) error {
	target := toBadLink
	if code := c.URL.Query().Get("code"); isCode(code) {
		target = toEnter + code
	}
	c.w.Header().Set("Location", target)
	c.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// isCode reports whether text looks like a result of rand.Text.
func isCode(text string) bool {
	for _, c := range text {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(text) == 26
}
