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
	roster roster

	mu    sync.Mutex
	cache map[[sha256.Size]byte]cached
	// revocations counts them, so that a look-up that began before one doesn't put
	// the token back after it.
	revocations int
}

// cached is a token that was found valid; after until it has to be looked up again. What isn't valid
// is not kept: it is different every time when somebody guesses.
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
	return &Authenticator{tokens: tokens, roster: roster{tokens: tokens}, cache: make(map[[sha256.Size]byte]cached)}
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
	a.roster.void()

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

	found, fresh, revocations := a.recall(hash, start)
	if !fresh {
		token, asOf, err := a.lookUp(ctx, id, found.known())
		if err != nil {
			return Token{}, err
		}
		if token.Session || !token.is(hash) {
			return Token{}, ErrInvalidToken
		}
		found = cached{token: token, until: asOf.Add(cacheFor)}
	}
	if err := found.expiry(time.Now()); err != nil {
		return Token{}, err
	}
	if !fresh {
		a.remember(hash, found, revocations)
	}
	return found.token, nil
}

// lookUp asks the store for a token, which is as it was at asOf or later. One that the store doesn't
// know is not valid. One that was valid before (known) doesn't share with guesses.
func (a *Authenticator) lookUp(ctx context.Context, id string, known bool) (t Token, asOf time.Time, err error) {
	asOf = time.Now()
	if known {
		t, err = a.tokens.FindToken(ctx, id)
	} else {
		t, asOf, err = a.roster.find(ctx, id)
	}
	switch {
	case errors.Is(err, ErrUnknownToken):
		return Token{}, asOf, ErrInvalidToken
	case err != nil:
		return Token{}, asOf, fmt.Errorf("look up token %s: %w", id, err)
	}
	return t, asOf, nil
}

// recall returns what was valid before, if anything; fresh reports that it need not be looked up again.
func (a *Authenticator) recall(hash [sha256.Size]byte, now time.Time) (c cached, fresh bool, revocations int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, known := a.cache[hash]
	return c, known && now.Before(c.until), a.revocations
}

// known reports whether c was found valid at some time.
func (c *cached) known() bool { return !c.until.IsZero() }

func (a *Authenticator) remember(hash [sha256.Size]byte, c cached, revocations int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revocations != revocations {
		return
	}
	if _, known := a.cache[hash]; !known && len(a.cache) >= maxCache {
		clear(a.cache) // costs one look-up each
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
