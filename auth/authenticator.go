package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/scheme"
)

// Cookie is the name of the cookie that carries a bare token of any type, for requests without an
// Authorization header from clients that are no browser: what a browser sends (an Origin or
// Sec-Fetch-Site header tells) is taken for a request without a token, since a browser sends its
// cookies to every port of the host.
const Cookie = "sess"

const (
	// cacheFor bounds how long a revocation by another process goes unnoticed. Half
	// of the second that is promised leaves room for the request itself.
	cacheFor = 500 * time.Millisecond
	maxCache = 1024
)

// An Authenticator says who is behind a request, by the tokens of a store.
type Authenticator struct {
	tokens Tokens

	mu    sync.Mutex
	cache map[[sha256.Size]byte]cached
	// revocations counts them, so that a look-up that began before one doesn't put
	// the token back after it.
	revocations int
}

// cached is a token that was found valid. What isn't valid is not kept: it is
// different every time when somebody guesses.
type cached struct {
	token   Token
	session string // the id of the session that stands for the token, "" if it came itself
	until   time.Time
}

// expiry returns ErrExpiredToken once it has expired.
func (c *cached) expiry(now time.Time) error {
	if c.token.expired(now) {
		return ErrExpiredToken
	}
	return nil
}

// NewAuthenticator returns an Authenticator over these tokens.
func NewAuthenticator(tokens Tokens) *Authenticator {
	return &Authenticator{tokens: tokens, cache: make(map[[sha256.Size]byte]cached)}
}

// Authenticate returns who is behind r, or ErrNoToken, ErrInvalidToken or
// ErrExpiredToken. Any other error means that the store could not say.
//
// An Authorization header counts even if it is wrong; only without one does the
// cookie.
func (a *Authenticator) Authenticate(r *http.Request) (Identity, error) {
	secret, schemeFits, err := credentials(r)
	if err != nil {
		return Identity{}, err
	}
	token, err := a.find(r.Context(), secret)
	if err != nil {
		return Identity{}, err
	}
	if !schemeFits(token.Type) {
		return Identity{}, ErrInvalidToken
	}
	return token.identity(), nil
}

// Revoke removes a token, with the sessions that were begun with it, or a session from the store, and
// from what this Authenticator remembers. It returns ErrUnknownToken if there is none with that id.
func (a *Authenticator) Revoke(ctx context.Context, id string) error {
	err := a.tokens.RemoveToken(ctx, id)

	a.mu.Lock()
	defer a.mu.Unlock()
	a.revocations++
	for hash, c := range a.cache {
		if c.token.ID == id || c.session == id {
			delete(a.cache, hash)
		}
	}
	return err
}

// find returns the token with this secret, if it is valid now.
func (a *Authenticator) find(ctx context.Context, secret string) (Token, error) {
	id, ok := tokenID(secret)
	if !ok {
		return Token{}, ErrInvalidToken
	}
	hash := sha256.Sum256([]byte(secret))
	start := time.Now()

	found, known, revocations := a.recall(hash, start)
	if !known {
		token, err := a.lookUp(ctx, id)
		if err != nil {
			return Token{}, err
		}
		if token.Session || !token.is(hash) {
			return Token{}, ErrInvalidToken
		}
		found = cached{token: token, until: start.Add(cacheFor)}
	}
	if err := found.expiry(time.Now()); err != nil {
		return Token{}, err
	}
	if !known {
		a.remember(hash, found, revocations)
	}
	return found.token, nil
}

// lookUp asks the store. One that it doesn't know is not valid.
func (a *Authenticator) lookUp(ctx context.Context, id string) (Token, error) {
	token, err := a.tokens.FindToken(ctx, id)
	switch {
	case errors.Is(err, ErrUnknownToken):
		return Token{}, ErrInvalidToken
	case err != nil:
		return Token{}, fmt.Errorf("look up token %s: %w", id, err)
	}
	return token, nil
}

func (a *Authenticator) recall(hash [sha256.Size]byte, now time.Time) (c cached, ok bool, revocations int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok = a.cache[hash]
	if ok && !now.Before(c.until) {
		delete(a.cache, hash)
		ok = false
	}
	return c, ok, a.revocations
}

func (a *Authenticator) remember(hash [sha256.Size]byte, c cached, revocations int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revocations != revocations {
		return
	}
	if len(a.cache) >= maxCache {
		clear(a.cache) // costs one look-up each; entries live for half a second anyway
	}
	a.cache[hash] = c
}

// credentials returns the secret that r carries, and which types may come that way.
func credentials(r *http.Request) (secret string, fits func(Type) bool, err error) {
	if header, ok := r.Header["Authorization"]; ok {
		if len(header) != 1 {
			return "", nil, ErrInvalidToken
		}
		return fromHeader(header[0])
	}
	if fromBrowser(r) {
		return "", nil, ErrNoToken
	}
	for _, c := range r.CookiesNamed(Cookie) {
		if c.Value != "" {
			return c.Value, Type.Valid, nil
		}
	}
	return "", nil, ErrNoToken
}

// fromBrowser reports whether a browser sent r, as far as one says so.
func fromBrowser(r *http.Request) bool {
	return r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil
}

// fromHeader reads "Bearer x.y.z" or "Bot x.y.z", the scheme in any case (RFC 9110,
// section 11.1).
func fromHeader(value string) (secret string, fits func(Type) bool, err error) {
	switch kind, secret := scheme.Cut(strings.TrimSpace(value)); {
	case secret == "":
	case strings.EqualFold(kind, scheme.Bearer):
		return secret, func(t Type) bool { return t == TypeUser }, nil
	case strings.EqualFold(kind, scheme.Bot):
		return secret, func(t Type) bool { return t == TypeBot || t == TypeKettu }, nil
	}
	return "", nil, ErrInvalidToken
}
