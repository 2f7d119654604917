package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// SessionHeader is the request header for Session.Half.
	SessionHeader = "X-Kapi-Session"
	// SessionFor is how long a session lasts at most. Using it does not extend it.
	SessionFor = 7 * 24 * time.Hour
)

// A Session is what a browser keeps after somebody has signed in. Either half alone gives no access,
// because a browser also sends the cookie to servers on other ports of the host.
type Session struct {
	// ID names the session in lists and to end it. It is not secret.
	ID string
	// Cookie is the value of a cookie that no script can read.
	Cookie string
	// Half is to be kept where only the page's own origin can read it, and sent in SessionHeader.
	Half string
	// ExpiresAt is in milliseconds since 1970-01-01 UTC.
	ExpiresAt int64
}

// BeginSession begins a session with the token that has this id. The session always has the token's
// current identity and permissions. It ends when the token is revoked or expires, and after SessionFor
// at the latest. BeginSession returns ErrUnknownToken if there is no such token, and ErrExpiredToken if
// it has expired.
func (a *Authenticator) BeginSession(ctx context.Context, token string) (Session, error) {
	by, err := a.tokens.FindToken(ctx, token)
	switch {
	case err != nil:
		return Session{}, fmt.Errorf("look up token %s: %w", token, err)
	case by.Session:
		return Session{}, ErrUnknownToken
	case by.expired(time.Now()):
		return Session{}, ErrExpiredToken
	}
	return a.begin(ctx, Token{Name: by.Name, Type: by.Type, By: by.ID}, by.ExpiresAt)
}

// BeginSessionWithout begins a session without a token. Its identity is a user whose ID is the session's.
func (a *Authenticator) BeginSessionWithout(ctx context.Context, name string, perms Permissions) (Session, error) {
	if err := checkName(name); err != nil {
		return Session{}, err
	}
	return a.begin(ctx, Token{Name: name, Type: TypeUser, Permissions: perms}, 0)
}

// begin stores a session, which ends at endsWith at the latest; 0 is never.
func (a *Authenticator) begin(ctx context.Context, t Token, endsWith int64) (Session, error) {
	var random [idBytes + 2*secretBytes]byte
	rand.Read(random[:]) // never fails: it crashes the program instead
	now := time.Now()
	t.Session = true
	t.ID = idEncoding.EncodeToString(random[:idBytes])
	t.CreatedAt, t.ExpiresAt = now.UnixMilli(), earlier(now.Add(SessionFor).UnixMilli(), endsWith)
	s := Session{
		ID:        t.ID,
		Cookie:    t.ID + "." + encode(random[idBytes:idBytes+secretBytes]),
		Half:      halfPrefix + t.ID + "." + encode(random[idBytes+secretBytes:]),
		ExpiresAt: t.ExpiresAt,
	}
	t.Hash = hashHalves(s.Cookie, s.Half)
	if err := a.tokens.AddToken(ctx, t); err != nil {
		return Session{}, fmt.Errorf("begin a session: %w", err)
	}
	a.sweep(ctx, now)
	return s, nil
}

// sweep removes sessions that have expired, and sessions whose token was removed without them. Errors are
// ignored, because none of these sessions is valid; the next sweep tries again.
func (a *Authenticator) sweep(ctx context.Context, now time.Time) {
	all, err := a.tokens.Tokens(ctx)
	if err != nil {
		return
	}
	known := make(map[string]bool, len(all))
	for _, t := range all {
		known[t.ID] = !t.Session
	}
	for _, t := range all {
		if t.Session && (t.expired(now) || t.By != "" && !known[t.By]) {
			_ = a.tokens.RemoveToken(ctx, t.ID)
		}
	}
}

// AuthenticateSession returns who sent r, by the session whose halves are in the cookie with this name and
// in SessionHeader. It returns ErrNoToken if r lacks one of them; its other errors are those of
// Authenticate.
func (a *Authenticator) AuthenticateSession(r *http.Request, cookie string) (Identity, error) {
	found, err := a.findSession(r, cookie)
	if err != nil {
		return Identity{}, err
	}
	return found.token.identity(), nil
}

// EndSession ends the session whose halves r has, and returns its id. The id is "" if r lacks a half, or
// they don't belong to a session.
func (a *Authenticator) EndSession(r *http.Request, cookie string) (id string, err error) {
	found, err := a.findSession(r, cookie)
	if err == nil {
		err = a.Revoke(r.Context(), found.session)
	}
	for _, none := range []error{ErrNoToken, ErrInvalidToken, ErrExpiredToken, ErrUnknownToken} {
		if errors.Is(err, none) {
			return "", nil
		}
	}
	return found.session, err
}

// findSession returns the token that the session of r stands for, if both are valid now.
func (a *Authenticator) findSession(r *http.Request, cookie string) (cached, error) {
	id, hashes, err := halves(r, cookie)
	if err != nil {
		return cached{}, err
	}
	start := time.Now()
	revocations := 0
	known := false
	for _, hash := range hashes {
		found, fresh, n := a.recall(hash, start)
		if revocations = n; fresh {
			return found, found.expiry(time.Now())
		}
		known = known || found.known()
	}
	session, asOf, err := a.lookUp(r.Context(), id, known)
	if err != nil {
		return cached{}, err
	}
	i := slices.IndexFunc(hashes, session.is)
	if !session.Session || i < 0 {
		return cached{}, ErrInvalidToken
	}
	found, err := a.standsFor(r.Context(), session)
	if err == nil {
		err = found.expiry(time.Now())
	}
	if err != nil {
		return cached{}, err
	}
	found.until = asOf.Add(cacheFor)
	a.remember(hashes[i], found, revocations)
	return found, nil
}

// standsFor returns the token that a session stands for, which expires no later than the session.
func (a *Authenticator) standsFor(ctx context.Context, session Token) (cached, error) {
	if session.By == "" {
		return cached{token: session, session: session.ID}, nil
	}
	token, _, err := a.lookUp(ctx, session.By, true)
	switch {
	case err != nil:
		return cached{}, err
	case token.Session:
		return cached{}, ErrInvalidToken
	}
	token.ExpiresAt = earlier(session.ExpiresAt, token.ExpiresAt)
	return cached{token: token, session: session.ID}, nil
}

// halfPrefix distinguishes halves from tokens, including those of other services.
const halfPrefix = "kapi."

// IsSessionHalf reports whether text has the form of Session.Half.
func IsSessionHalf(text string) bool {
	_, ok := halfID(text)
	return ok
}

func halfID(half string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(half, halfPrefix)
	if !ok {
		return "", false
	}
	return cookieID(rest)
}

// cookieID returns the id in a Session.Cookie, or false if begin can't have made it.
func cookieID(cookie string) (id string, ok bool) {
	id, secret, ok := strings.Cut(cookie, ".")
	if !ok || !isID(id) {
		return "", false
	}
	if _, ok := decode(secret, secretBytes); !ok {
		return "", false
	}
	return id, true
}

// halves returns the id in the header of r, and a session hash for each cookie with the same id. There may
// be several, because servers on other ports of the host can set cookies with that name, too.
func halves(r *http.Request, cookie string) (id string, hashes [][sha256.Size]byte, err error) {
	header, cookies := r.Header.Values(SessionHeader), r.CookiesNamed(cookie)
	if len(header) == 0 || len(cookies) == 0 {
		return "", nil, ErrNoToken
	}
	id, ok := halfID(header[0])
	if !ok || len(header) > 1 {
		return "", nil, ErrInvalidToken
	}
	for _, c := range cookies {
		if of, ok := cookieID(c.Value); ok && of == id {
			hashes = append(hashes, hashHalves(c.Value, header[0]))
		}
	}
	if hashes == nil {
		return "", nil, ErrInvalidToken
	}
	return id, hashes, nil
}

// hashHalves can't return the hash of a token, because no token has a line break.
func hashHalves(cookie, half string) [sha256.Size]byte {
	return sha256.Sum256([]byte("kapi session\n" + cookie + "\n" + half))
}

// earlier returns the earlier of two times. 0 as the second means never.
func earlier(a, b int64) int64 {
	if b != 0 && b < a {
		return b
	}
	return a
}
