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

// Errors about who is behind a request.
var (
	// ErrNoToken: the request carries no token.
	ErrNoToken = errors.New("no token")
	// ErrInvalidToken: what it carries is no token, none that is known, or one under
	// the wrong scheme.
	ErrInvalidToken = errors.New("token not valid")
	// ErrExpiredToken: the token was valid once.
	ErrExpiredToken = errors.New("token expired")
	// ErrForbidden: the token is valid, but its owner may not do this. A server decides that, never
	// an Authenticator.
	ErrForbidden = errors.New("not allowed")
	// ErrUnknownToken is what a store of tokens answers when it has none with that id.
	ErrUnknownToken = errors.New("unknown token")
)

// Type says what kind of user a token stands for.
type Type string

const (
	// TypeUser is a person. The token comes as "Bearer x.y.z".
	TypeUser Type = "user"
	// TypeBot is a bot. The token comes as "Bot x.y.z".
	TypeBot Type = "bot"
	// TypeKettu is kettu itself. The token comes as "Bot x.y.z".
	TypeKettu Type = "kettu"
)

// Valid reports whether t is one of the three.
func (t Type) Valid() bool { return t == TypeUser || t == TypeBot || t == TypeKettu }

// An Identity is who is behind a request.
type Identity struct {
	// ID is unique among identities; rate limits count by it. For kapi's tokens it
	// is the token's id.
	ID string
	// Name is for people, in logs and in what others are told.
	Name string
	// Type is the token's; it decides nothing any more.
	Type Type
	// Permissions are as granted, what they imply not included.
	Permissions Permissions
}

// A Token is what is kept of a token, or of a session.
type Token struct {
	// ID names the token in lists and to revoke it. It is the readable part of the
	// secret, and no secret itself.
	ID string
	// Name is 1 to 100 characters, for people.
	Name        string
	Type        Type
	Permissions Permissions
	// CreatedAt and ExpiresAt are in milliseconds since 1970; an ExpiresAt of 0 is never.
	CreatedAt, ExpiresAt int64
	// Hash is the SHA-256 of the whole secret; of a session, of both its halves.
	Hash [sha256.Size]byte
	// Session says that this is a session, which is no token: see Session.
	Session bool
	// By is the id of the token that a session was begun with, "" if without one. The permissions of
	// one that has it are those of its token.
	By string
}

// Tokens keeps tokens. A store of actions does so too.
//
// All methods may be called concurrently. A store that can't be reached answers with
// an error that is none of this package's.
type Tokens interface {
	// AddToken adds a token or a session. An id that is taken is an error.
	AddToken(context.Context, Token) error
	// Tokens returns all tokens and sessions, the oldest first, the expired ones included.
	Tokens(context.Context) ([]Token, error)
	// FindToken returns ErrUnknownToken if there is none with that id.
	FindToken(ctx context.Context, id string) (Token, error)
	// RemoveToken removes the sessions that were begun with the token, too. It returns
	// ErrUnknownToken if there is none with that id.
	RemoveToken(ctx context.Context, id string) error
}

const (
	idBytes     = 10
	timeBytes   = 8
	secretBytes = 32
	maxName     = 100
)

// New makes a token that is valid for lifetime, 0 being for ever. The secret is to
// be shown once and forgotten.
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

// is reports whether hash is that of t's secret, in a time that tells nothing.
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

// tokenID returns the id inside a secret, or false for whatever New can't have made.
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

// IsToken reports whether a text has the shape of a token's secret.
func IsToken(text string) bool {
	_, ok := tokenID(text)
	return ok
}

// isID reports whether New may have made an id. base32 skips line breaks, so the length counts.
func isID(id string) bool {
	raw, err := idEncoding.DecodeString(id)
	return err == nil && len(raw) == idBytes && len(id) == idEncoding.EncodedLen(idBytes)
}

// idEncoding gives ids of small letters and digits. In base64 none of these begins
// with a hyphen, so neither the id nor the secret can be taken for a flag.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode takes only what encode makes of n bytes. The length is compared first: it
// bounds the work, and base64 skips line breaks otherwise.
func decode(s string, n int) ([]byte, bool) {
	if len(s) != base64.RawURLEncoding.EncodedLen(n) {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) == n
}
