package auth_test

import (
	"strings"
	"testing"

	"github.com/kettubot/kapi/auth"
)

func TestBitsAreKAPIs(t *testing.T) {
	if auth.Owner != 1 || auth.Kettu != 4 || auth.Admin != 8 {
		t.Errorf("owner %d, kettu %d, admin %d; want 1, 4, 8", auth.Owner, auth.Kettu, auth.Admin)
	}
}

func TestOwnerAndKettuImplyAdmin(t *testing.T) {
	for _, c := range []struct {
		have, want auth.Permissions
		ok         bool
	}{
		{0, auth.Admin, false},
		{0, 0, true},
		{1 << 1, auth.Admin, false},
		{auth.Admin, auth.Admin, true},
		{auth.Owner, auth.Admin, true},
		{auth.Kettu, auth.Admin, true},
		{auth.Admin, auth.Owner, false},
		{auth.Admin, auth.Kettu, false},
		{auth.Owner, auth.Kettu, false},
		{auth.Owner, auth.Owner | auth.Admin, true},
		{auth.Owner, auth.Owner | auth.Kettu, false},
	} {
		if got := c.have.Has(c.want); got != c.ok {
			t.Errorf("(%s).Has(%s) = %v, want %v", c.have, c.want, got, c.ok)
		}
	}
}

func TestParsePermissions(t *testing.T) {
	for _, c := range []struct {
		list string
		want auth.Permissions
		text string
	}{
		{"", 0, ""},
		{"  ", 0, ""},
		{"admin", auth.Admin, "admin"},
		{"ADMIN", auth.Admin, "admin"},
		{"admin,owner", auth.Owner | auth.Admin, "owner,admin"},
		{" kettu , admin, kettu", auth.Kettu | auth.Admin, "kettu,admin"},
		{"owner,kettu,admin", auth.Owner | auth.Kettu | auth.Admin, "owner,kettu,admin"},
	} {
		got, err := auth.ParsePermissions(c.list)
		if err != nil || got != c.want || got.String() != c.text {
			t.Errorf("ParsePermissions(%q) = %q, %v; want %q", c.list, got, err, c.text)
		}
	}
}

func TestUnknownPermissionNamesTheKnownOnes(t *testing.T) {
	for _, list := range []string{"root", "admin,", ",admin", "admin owner", "admin,,owner", "8"} {
		p, err := auth.ParsePermissions(list)
		if err == nil || p != 0 {
			t.Errorf("ParsePermissions(%q) = %v, %v; want an error", list, p, err)
			continue
		}
		for _, word := range []string{"owner", "kettu", "admin"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("ParsePermissions(%q): %q doesn't say that there is %q", list, err, word)
			}
		}
	}
}

func TestBitsWithoutANameAreShown(t *testing.T) {
	if got := (auth.Admin | 1<<1 | 1<<10).String(); got != "admin,0x402" {
		t.Errorf("got %q", got)
	}
}

func FuzzParsePermissions(f *testing.F) {
	for _, s := range []string{"", "admin", "admin,owner", "KETTU, x", ",,", "ſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		p, err := auth.ParsePermissions(list)
		if err != nil {
			return
		}
		again, err := auth.ParsePermissions(p.String())
		if err != nil || again != p {
			t.Errorf("%q became %q, which became %q, %v", list, p, again, err)
		}
	})
}
