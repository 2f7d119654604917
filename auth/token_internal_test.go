package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewTokenHasThreeParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, tok, err := New("ops", TypeBot, Owner, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(secret, ".")
		if len(parts) != 3 {
			t.Fatalf("%q has %d parts", secret, len(parts))
		}
		var raw [3][]byte
		for i, p := range parts {
			if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
				t.Fatalf("part %d, %q: %v", i, p, err)
			}
		}
		now := time.Now().UnixMilli()
		if string(raw[0]) != tok.ID {
			t.Errorf("first part is %q, want the id %q", raw[0], tok.ID)
		}
		if got := int64(binary.BigEndian.Uint64(raw[1])); got != now {
			t.Errorf("second part is %d, want the time %d", got, now)
		}
		if len(raw[2]) != 32 {
			t.Errorf("third part has %d bytes, want 32", len(raw[2]))
		}
		want := Token{
			ID: tok.ID, Name: "ops", Type: TypeBot, Permissions: Owner,
			CreatedAt: now, ExpiresAt: now + 3_600_000, Hash: sha256.Sum256([]byte(secret)),
		}
		if tok != want {
			t.Errorf("got %+v, want %+v", tok, want)
		}
		if id, ok := tokenID(secret); !ok || id != tok.ID {
			t.Errorf("tokenID = %q, %v; want %q", id, ok, tok.ID)
		}
	})
}

func TestZeroLifetimeIsForEver(t *testing.T) {
	_, tok, err := New("ops", TypeUser, 0, 0)
	if err != nil || tok.ExpiresAt != 0 {
		t.Errorf("expires at %d, %v", tok.ExpiresAt, err)
	}
	if tok.expired(time.Now().AddDate(1000, 0, 0)) {
		t.Error("a token without expiry expired")
	}
}

func TestTokensAndIDsAreNeverTakenForFlags(t *testing.T) {
	seen := make(map[string]bool)
	for range 2000 {
		secret, tok, err := New("n", TypeUser, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if secret[0] == '-' || tok.ID[0] == '-' {
			t.Fatalf("token %s with id %s begins with a hyphen", secret, tok.ID)
		}
		if seen[tok.ID] || seen[secret] {
			t.Fatalf("%s was given twice", tok.ID)
		}
		seen[tok.ID], seen[secret] = true, true
	}
	// The first character of the secret is made of the first character of the id alone.
	for _, c := range "abcdefghijklmnopqrstuvwxyz234567" {
		if encode([]byte{byte(c), 'a', 'a'})[0] == '-' {
			t.Errorf("an id that begins with %c gives a secret that begins with a hyphen", c)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		what, name string
		typ        Type
		lifetime   time.Duration
		says       string
	}{
		{"no name", "", TypeUser, 0, "needs a name"},
		{"a blank name", "  ", TypeUser, 0, "needs a name"},
		{"a line break", "a\nb", TypeUser, 0, "can't be printed"},
		{"broken UTF-8", "a\xff", TypeUser, 0, "can't be printed"},
		{"a long name", strings.Repeat("ä", 101), TypeUser, 0, "101 characters"},
		{"no type", "a", "", 0, "there are: user, bot, kettu"},
		{"an unknown type", "a", "root", 0, `"root"`},
		{"a negative lifetime", "a", TypeUser, -time.Hour, "-1h0m0s is too short"},
		{"a tiny lifetime", "a", TypeUser, time.Microsecond, "too short"},
	} {
		secret, tok, err := New(c.name, c.typ, 0, c.lifetime)
		if err == nil || secret != "" || tok != (Token{}) {
			t.Errorf("%s: got %v, %q, %v", c.what, tok, secret, err)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %q doesn't say %q", c.what, err, c.says)
		}
	}
	if _, _, err := New(strings.Repeat("ä", 100), TypeUser, 0, time.Millisecond); err != nil {
		t.Errorf("100 characters, 1 ms: %v", err)
	}
}

func FuzzTokenID(f *testing.F) {
	secret, _, err := New("seed", TypeUser, 0, 0)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		secret, "", ".", "..", "...", "a.b.c", secret + ".", "." + secret, secret + "=", secret + "\n", "-" + secret,
		strings.ToUpper(secret), secret[:len(secret)-1], strings.Replace(secret, ".", "..", 1), strings.Repeat("A", 1<<16),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := tokenID(s)
		if !ok {
			if id != "" {
				t.Errorf("tokenID(%q) refused, but gave %q", s, id)
			}
			return
		}
		// What is accepted has one spelling only, so that one token has one hash.
		parts := strings.Split(s, ".")
		if len(parts) != 3 || parts[0] != encode([]byte(id)) || len(id) != 16 || s[0] == '-' {
			t.Errorf("tokenID(%q) = %q", s, id)
		}
		for _, p := range parts {
			raw, err := base64.RawURLEncoding.DecodeString(p)
			if err != nil || encode(raw) != p {
				t.Errorf("part %q of %q has another spelling", p, s)
			}
		}
	})
}
