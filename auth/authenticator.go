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

// Cookie is the name of the cookie that may carry a bare token of any type, for requests without an
// Authorization header from clients other than browsers. In a request from a browser (one with an Origin
// or Sec-Fetch-Site header) it is ignored, because a browser sends its cookies to every port of the host.
const Cookie = "sess"

const (
	// cacheFor bounds how long a revocation by another process goes unnoticed. It is half of
	// the promised second, which leaves time for the request itself.
	cacheFor = 500 * time.Millisecond
	maxCache = 1024
)

// An Authenticator says who sent a request, by the tokens of a store. Its methods may be called
// concurrently.
type Authenticator struct {
	tokens Tokens
	roster roster

	mu    sync.Mutex
	cache map[[sha256.Size]byte]cached
	// revocations counts revocations, so that a look-up that began before one doesn't put
	// the token back after it.
	revocations int
}

// cached is a token that was found valid. After until it must be looked up again. Invalid tokens are not
// cached, because guesses are all different.
type cached struct {
	token   Token
	session string // the id of the session that stands for the token, "" for the token itself
	until   time.Time
}

// expiry returns ErrExpiredToken once it has expired.
func (c *cached) expiry(now time.Time) error {
	if c.token.expired(now) {
		return ErrExpiredToken
	}
	return nil
}

// NewAuthenticator returns an Authenticator for these tokens.
func NewAuthenticator(tokens Tokens) *Authenticator {
	return &Authenticator{tokens: tokens, roster: roster{tokens: tokens}, cache: make(map[[sha256.Size]byte]cached)}
}

// Authenticate returns who sent r, or ErrNoToken, ErrInvalidToken or ErrExpiredToken. Any
// other error is from the store, which could not be asked.
//
// The cookie counts only if there is no Authorization header, not even an invalid one.
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

// Revoke removes a session, or a token and the sessions that were begun with it, from the store and from
// this Authenticator's cache. It returns ErrUnknownToken if there is none with that id.
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

// lookUp asks the store for a token, which is as it was at asOf or later. A token that the store doesn't
// know is ErrInvalidToken. A known token, one that was valid before, doesn't share the limit of guesses.
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

// recall returns what is cached for hash. fresh reports that it need not be looked up again.
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
		clear(a.cache) // costs one look-up for each token
	}
	a.cache[hash] = c
}

// credentials returns the secret in r, and a function that says which token types may be sent that way.
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

// fromBrowser reports whether r has a header that browsers send.
func fromBrowser(r *http.Request) bool {
	return r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil
}

// fromHeader reads "Bearer x.y.z" or "Bot x.y.z". The scheme is case-insensitive (RFC 9110,
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
