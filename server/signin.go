package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/scheme"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
)

// Signing in on the page, and signing out.

const formType = "application/x-www-form-urlencoded"

// toPage is the page's address relative to the routes under /page/, wherever it is mounted.
const toPage = "../"

// signIn begins a session for a token of an admin, or for the code of a link.
func (s *Server) signIn(c *call) error {
	given, isForm, err := s.readSignIn(c)
	if err != nil {
		return err
	}
	if given.Code != "" {
		return s.signInByLink(c, given.Code)
	}
	who, err := s.whoHas(c, given.Token)
	if err != nil {
		return err
	}
	c.w.who = who
	begin := func(ctx context.Context) (auth.Session, error) {
		return s.options.Page.SignIn.BeginSession(ctx, who.ID)
	}
	if isForm { // sent without the page's script, which takes over from the link
		c.w.Header().Set("Location", toEnter+s.links.add(begin))
		c.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	session, err := begin(c.Context())
	if err != nil {
		return err
	}
	s.log.InfoContext(c.Context(), "signed in on the page", "by", by(who), "session", session.ID, "address", c.RemoteAddr)
	return s.hand(c, session)
}

func (s *Server) signInByLink(c *call, code string) error {
	found, ok := s.links.take(code)
	if !ok {
		return wire.BadLink
	}
	session, err := found.begin(c.Context())
	if wire.Refused(err) != nil {
		return err
	}
	if err != nil {
		s.links.putBack(code, found)
		return fmt.Errorf("begin a session for a link: %w", err)
	}
	s.log.InfoContext(c.Context(), "signed in on the page by a link", "session", session.ID, "address", c.RemoteAddr)
	return s.hand(c, session)
}

// hand gives the browser both halves of a session, and ends its previous session.
func (s *Server) hand(c *call, session auth.Session) error {
	if _, err := s.options.Page.SignIn.EndSession(c.Request, s.cookieName()); err != nil {
		s.log.WarnContext(c.Context(), "the previous session can't be ended; it will expire", "error", err)
	}
	s.keep(c, session)
	s.dropOldCookie(c)
	return c.w.sendJSON(http.StatusOK, wire.SignedIn{Session: session.Half, ExpiresAt: session.ExpiresAt})
}

// readSignIn reads a token or a code from JSON, or a token from a form.
func (s *Server) readSignIn(c *call) (given wire.SignIn, isForm bool, err error) {
	if kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); kind == formType {
		given.Token, err = s.readForm(c)
		isForm = true
	} else {
		given, err = s.readSecret(c)
	}
	switch {
	case err != nil:
		return given, isForm, err
	case given.Code != "" && given.Token != "":
		return given, isForm, wire.BadBody.Because("token and code don't go together")
	case given.Code != "":
		return given, isForm, nil
	}
	_, secret := scheme.Cut(wellformed.Trim(given.Token)) // people also paste "Bearer TOKEN"
	if given.Token = wellformed.Trim(secret); given.Token == "" {
		return given, isForm, auth.ErrNoToken
	}
	return given, isForm, nil
}

func (s *Server) readSecret(c *call) (wire.SignIn, error) {
	f, err := readFields(c, s.maxSignIn())
	if err != nil {
		return wire.SignIn{}, err
	}
	return f.SignIn()
}

// maxSignIn bounds the body of a sign-in, which is read before anybody is charged. A token has about 100 bytes.
func (s *Server) maxSignIn() int64 { return min(s.options.MaxBody, 4<<10) }

func (s *Server) readForm(c *call) (token string, err error) {
	// It gets the inner writer for the same reason as in readFields.
	body, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.Body, s.maxSignIn()))
	if err != nil {
		return "", wire.TooLarge.Because(fmt.Sprintf("it can't be read, or has more than %d bytes", s.maxSignIn()))
	}
	if len(body) > 0 {
		if err := checkType(c, formType); err != nil {
			return "", err
		}
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return "", wire.BadBody.Because("it is not a form")
	}
	return values.Get("token"), nil
}

// whoHas returns the identity of a token. It is charged like any other request with the token.
func (s *Server) whoHas(c *call, secret string) (auth.Identity, error) {
	cookie := &http.Cookie{Name: auth.Cookie, Value: secret}
	if cookie.Valid() != nil { // characters that a cookie can't have, and so no token either
		a := s.door.perAddress.take(address(c.Request))
		a.writeHeaders(c.w.Header())
		return auth.Identity{}, errors.Join(a.refusal(), auth.ErrInvalidToken)
	}
	r := c.Clone(c.Context())
	r.Body = http.NoBody
	r.Header = http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}}
	who, allowance, err := s.door.identify(r, "", false)
	allowance.writeHeaders(c.w.Header())
	switch {
	case allowance.refusal() != nil:
		return who, allowance.refusal()
	case err != nil:
		return who, err
	case !who.Permissions.Has(auth.Admin):
		return who, wire.Forbidden(auth.Admin)
	}
	return who, nil
}

// signOut ends the session whose halves were sent, and removes the browser's cookie in any case. Halves
// that belong to no session are charged to the address, as they may be guesses.
func (s *Server) signOut(c *call) error {
	id, err := s.options.Page.SignIn.EndSession(c.Request, s.cookieName())
	if err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	s.setCookie(c, s.cookieName(), "", -1)
	s.dropOldCookie(c)
	if id != "" {
		s.log.InfoContext(c.Context(), "signed out on the page", "session", id, "address", c.RemoteAddr)
	} else if c.Header.Get(auth.SessionHeader) != "" {
		a := s.door.perAddress.take(address(c.Request))
		a.writeHeaders(c.w.Header())
		if err := a.refusal(); err != nil {
			return err
		}
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
