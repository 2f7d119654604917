package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Errors of authentication and of stores of tokens.
var (
	// ErrNoToken is returned when the request has no token.
	ErrNoToken = errors.New("no token")
	// ErrInvalidToken is returned when the request's token is malformed, unknown, or sent with
	// the wrong scheme.
	ErrInvalidToken = errors.New("token not valid")
	// ErrExpiredToken is returned when the token is known, but has expired.
	ErrExpiredToken = errors.New("token expired")
	// ErrForbidden is returned when the token is valid, but lacks a permission. It comes from a server,
	// never from an Authenticator.
	ErrForbidden = errors.New("not allowed")
	// ErrUnknownToken is returned by a store that has no token with that id.
	ErrUnknownToken = errors.New("unknown token")
)

// Type is the kind of user that a token stands for.
type Type string

const (
	// TypeUser is a person. The token is sent as "Bearer x.y.z".
	TypeUser Type = "user"
	// TypeBot is a bot. The token is sent as "Bot x.y.z".
	TypeBot Type = "bot"
	// TypeKettu is kettu itself. The token is sent as "Bot x.y.z".
	TypeKettu Type = "kettu"
)

// Valid reports whether t is one of the three.
func (t Type) Valid() bool { return t == TypeUser || t == TypeBot || t == TypeKettu }

// An Identity is the sender of a request.
type Identity struct {
	// ID is unique among identities; rate limits are kept by it. For kapi's tokens it is the
	// token's id.
	ID string
	// Name is for people: in logs, and in what others see.
	Name string
	// Type is the token's. It has no effect on permissions.
	Type Type
	// Permissions are as granted, without implied ones.
	Permissions Permissions
}

// A Token is the record of a token or of a session.
type Token struct {
	// ID names the token in lists and to revoke it. It is part of the secret, but not secret
	// itself.
	ID string
	// Name has 1 to 100 characters and is for people.
	Name        string
	Type        Type
	Permissions Permissions
	// CreatedAt and ExpiresAt are in milliseconds since 1970-01-01 UTC; an ExpiresAt of 0 is never.
	CreatedAt, ExpiresAt int64
	// Hash is the SHA-256 of the whole secret, or of both halves of a session.
	Hash [sha256.Size]byte
	// Session is true for the record of a Session, false for that of a token.
	Session bool
	// By is the id of the token that a session was begun with, or "". If it is set,
	// the session has the permissions of that token instead of its own.
	By string
}

// Tokens is a store of tokens. kapi's stores of actions implement it.
//
// All methods may be called concurrently. If the store can't be reached, they return an error
// that is not one of this package's.
type Tokens interface {
	// AddToken adds a token or a session. It returns an error if the id is taken.
	AddToken(context.Context, Token) error
	// Tokens returns all tokens and sessions, oldest first, including expired ones.
	Tokens(context.Context) ([]Token, error)
	// FindToken returns ErrUnknownToken if there is none with that id.
	FindToken(ctx context.Context, id string) (Token, error)
	// RemoveToken removes a session, or a token and the sessions that were begun with it. It
	// returns ErrUnknownToken if there is none with that id.
	RemoveToken(ctx context.Context, id string) error
}

const (
	idBytes     = 10
	timeBytes   = 8
	secretBytes = 32
	maxName     = 100
)

// New makes a token that is valid for lifetime, at least 1 ms; 0 is forever. Show the secret once, and
// don't store it.
func New(name string, typ Type, perms Permissions, lifetime time.Duration) (secret string, t Token, err error) {
	if err := checkName(name); err != nil {
		return "", Token{}, err
	}
	if !typ.Valid() {
		return "", Token{}, fmt.Errorf("unknown token type %q (there are: user, bot, kettu)", typ)
	}
	if lifetime < 0 || (lifetime > 0 && lifetime < time.Millisecond) {
		return "", Token{}, fmt.Errorf("token lifetime %v is too short", lifetime)
	}
	now := time.Now()
	var random [idBytes + secretBytes]byte
	rand.Read(random[:]) // never fails: it ends the program instead

	t = Token{Name: name, Type: typ, Permissions: perms, CreatedAt: now.UnixMilli()}
	t.ID = idEncoding.EncodeToString(random[:idBytes])
	if lifetime > 0 {
		t.ExpiresAt = now.Add(lifetime).UnixMilli()
	}
	secret = encode([]byte(t.ID)) + "." +
		encode(binary.BigEndian.AppendUint64(nil, uint64(t.CreatedAt))) + "." +
		encode(random[idBytes:])
	t.Hash = sha256.Sum256([]byte(secret))
	return secret, t, nil
}

// expired reports whether t is no longer valid.
func (t *Token) expired(now time.Time) bool {
	return t.ExpiresAt != 0 && now.UnixMilli() >= t.ExpiresAt
}

// is reports whether hash is that of t's secret, in constant time.
func (t *Token) is(hash [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(t.Hash[:], hash[:]) == 1
}

func (t *Token) identity() Identity {
	return Identity{ID: t.ID, Name: t.Name, Type: t.Type, Permissions: t.Permissions}
}

func checkName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("token name %q has characters that can't be printed", name)
	case strings.TrimSpace(name) == "":
		return errors.New("a token needs a name")
	case n > maxName:
		return fmt.Errorf("token name has %d characters, at most %d are allowed", n, maxName)
	}
	return nil
}

// tokenID returns the id in a secret, or false if New can't have made it.
func tokenID(secret string) (id string, ok bool) {
	x, rest, ok := strings.Cut(secret, ".")
	if !ok {
		return "", false
	}
	y, z, ok := strings.Cut(rest, ".")
	if !ok {
		return "", false
	}
	rawID, ok := decode(x, idEncoding.EncodedLen(idBytes))
	if !ok {
		return "", false
	}
	if _, ok := decode(y, timeBytes); !ok {
		return "", false
	}
	if _, ok := decode(z, secretBytes); !ok {
		return "", false
	}
	if !isID(string(rawID)) {
		return "", false
	}
	return string(rawID), true
}

// IsToken reports whether text has the form of a token's secret.
func IsToken(text string) bool {
	_, ok := tokenID(text)
	return ok
}

// isID reports whether New may have made id. The length must be checked because base32 skips line breaks.
func isID(id string) bool {
	raw, err := idEncoding.DecodeString(id)
	return err == nil && len(raw) == idBytes && len(id) == idEncoding.EncodedLen(idBytes)
}

// idEncoding makes ids of lower-case letters and digits. None of these is a hyphen or begins with
// one in base64, so neither an id nor a secret can be taken for a flag.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode accepts only results of encode for n bytes. Comparing the length first bounds the work, and
// is necessary because base64 skips line breaks.
func decode(s string, n int) ([]byte, bool) {
	if len(s) != base64.RawURLEncoding.EncodedLen(n) {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) == n
}
