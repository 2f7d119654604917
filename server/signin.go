package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
)

// Signing in on the page. The browser keeps the token as a cookie that no script can read; it
// never is in an address, nor anywhere else that the page itself can get at.

const (
	// sessionFor is how long a browser keeps the cookie. The token in it may end sooner.
	sessionFor = 30 * 24 * time.Hour
	// LinkFor is how long a link made by Server.SignInLink can be used.
	LinkFor = 5 * time.Minute
)

const formType = "application/x-www-form-urlencoded"

type pastedToken struct {
	Token string `json:"token"`
}

// signIn makes a session of a token, if it is an admin's.
func (s *Server) signIn(c *call) error {
	secret, isForm, err := s.readToken(c)
	if err != nil {
		return err
	}
	who, err := s.whoHas(c, secret)
	if err != nil {
		return err
	}
	c.w.who = who
	s.setSession(c, secret)
	s.log.InfoContext(c.Context(), "signed in on the page", "by", by(who), "address", c.RemoteAddr)
	if isForm { // sent by the browser, without the page's script
		c.w.Header().Set("Location", toPage)
		c.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// toPage leads from the routes under /page/ to the page, wherever that is mounted.
const toPage = "../"

// readToken reads what was pasted, from JSON or a form.
func (s *Server) readToken(c *call) (secret string, isForm bool, err error) {
	if kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); kind == formType {
		secret, err = s.readForm(c)
		isForm = true
	} else {
		var pasted pastedToken
		pasted, err = readJSON[pastedToken](c, s.options.MaxBody)
		secret = pasted.Token
	}
	if err != nil {
		return "", isForm, err
	}
	_, secret = auth.CutScheme(wellformed.Trim(secret)) // copied together with what a header has before it
	secret = wellformed.Trim(secret)
	if secret == "" {
		return "", isForm, auth.ErrNoToken
	}
	return secret, isForm, nil
}

func (s *Server) readForm(c *call) (token string, err error) {
	// The inner writer for the same reason as in readJSON.
	body, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.Body, s.options.MaxBody))
	if err != nil {
		return "", wire.TooLarge.Because(fmt.Sprintf("it can't be read, or has more than %d bytes", s.options.MaxBody))
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return "", wire.BadBody.Because("it is no form")
	}
	return values.Get("token"), nil
}

// whoHas says who has a token. What that costs is charged like any other request with it.
func (s *Server) whoHas(c *call, secret string) (auth.Identity, error) {
	cookie := &http.Cookie{Name: auth.Cookie, Value: secret}
	if cookie.Valid() != nil { // it could not come back as it is
		s.door.perAddress.take(address(c.Request)).tell(c.w.Header())
		return auth.Identity{}, auth.ErrInvalidToken
	}
	r := c.Clone(c.Context())
	r.Body = http.NoBody
	r.Header = http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}}
	who, allowance, err := s.door.identify(r, "")
	allowance.tell(c.w.Header())
	switch {
	case allowance.refusal() != nil:
		return who, allowance.refusal()
	case err != nil:
		return who, err
	case !who.Permissions.Has(auth.Admin):
		return who, wire.Forbidden
	}
	return who, nil
}

// signOut has the browser forget the token.
func (s *Server) signOut(c *call) error {
	s.setSession(c, "")
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// setSession sets the cookie, for as much of the host as is kapi's; without a secret it removes it.
func (s *Server) setSession(c *call, secret string) {
	maxAge := int(sessionFor / time.Second)
	if secret == "" {
		maxAge = -1
	}
	http.SetCookie(c.w, &http.Cookie{
		Name: auth.Cookie, Value: secret, Path: prefix(c.Request) + "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: isTLS(c.Request),
	})
}

// isTLS reports whether the client came over TLS, to here or to a trusted proxy.
func isTLS(r *http.Request) bool { return r.TLS != nil || r.URL.Scheme == "https" }

// Links are the one-time codes that sign somebody in.
type links struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]link // by the code's hash, so that a look-up tells nothing of it
}

type link struct {
	until time.Time
	token func(context.Context) (string, error)
}

// SignInLink returns an address, relative to where the handler is mounted, that signs in who
// opens it first within LinkFor: with a token that token makes then. The address holds a code of
// 130 random bits, and no token. It needs Page.SignIn.
func (s *Server) SignInLink(token func(context.Context) (string, error)) string {
	code := rand.Text()
	now := time.Now()
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	for hash, l := range s.links.of {
		if now.After(l.until) {
			delete(s.links.of, hash)
		}
	}
	s.links.of[sha256.Sum256([]byte(code))] = link{now.Add(LinkFor), token}
	return "page/enter?code=" + code
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

// enter uses up a link, and sends on to the page without the code. The fragment has the page say
// that a link was no good, unless the browser is signed in already: some open a link twice.
func (s *Server) enter(c *call) error {
	c.w.Header().Set("Location", toPage)
	if c.Method == http.MethodGet { // a HEAD must not use it up
		code := c.URL.Query().Get("code")
		found, ok := s.links.take(code)
		if !ok {
			c.w.Header().Set("Location", toPage+"#/link")
			c.w.WriteHeader(http.StatusSeeOther)
			return nil
		}
		secret, err := found.token(c.Context())
		if err != nil {
			s.links.putBack(code, found)
			c.w.Header().Del("Location")
			return fmt.Errorf("make a token for a link: %w", err)
		}
		s.setSession(c, secret)
		s.log.InfoContext(c.Context(), "signed in on the page by a link", "address", c.RemoteAddr)
	}
	c.w.WriteHeader(http.StatusSeeOther)
	return nil
}
