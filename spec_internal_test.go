package kapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/kettubot/kapi/internal/wellformed"
)

func TestSpecValidate(t *testing.T) {
	keys := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint("k", i))
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		spec  Spec
		field string // "" if it is right
	}{
		{"title only", Spec{Title: "t"}, ""},
		{"no title", Spec{}, "title"},
		{"title at the limit, in code points", Spec{Title: strings.Repeat("🐈", 200)}, ""},
		{"title one past", Spec{Title: strings.Repeat("🐈", 201)}, "title"},
		{"title not UTF-8", Spec{Title: "a\xff"}, "title"},
		{"title with NUL", Spec{Title: "a\x00"}, "title"},
		{"description at the limit", Spec{Title: "t", Description: strings.Repeat("é", 2000)}, ""},
		{"description one past", Spec{Title: "t", Description: strings.Repeat("é", 2001)}, "description"},
		{"description not UTF-8", Spec{Title: "t", Description: "\xc3"}, "description"},
		{"description with NUL", Spec{Title: "t", Description: "\x00"}, "description"},
		{"host at the limit", Spec{Title: "t", Host: strings.Repeat("é", 253)}, ""},
		{"host one past", Spec{Title: "t", Host: strings.Repeat("é", 254)}, "host"},
		{"host not UTF-8", Spec{Title: "t", Host: "\xff"}, "host"},
		{"host with NUL", Spec{Title: "t", Host: "a\x00"}, "host"},
		{"host with a line break", Spec{Title: "t", Host: "a\nb"}, "host"},
		{"host with a C1 control character", Spec{Title: "t", Host: "a\u009bb"}, "host"},
		{"eight keys", Spec{Title: "t", Keys: keys(8)}, ""},
		{"nine keys", Spec{Title: "t", Keys: keys(9)}, "keys"},
		{"eight keys, one twice", Spec{Title: "t", Keys: append(keys(8), "k0")}, ""},
		{"empty key", Spec{Title: "t", Keys: []string{""}}, "key"},
		{"key at the limit", Spec{Title: "t", Keys: []string{strings.Repeat("é", 200)}}, ""},
		{"key one past", Spec{Title: "t", Keys: []string{strings.Repeat("é", 201)}}, "key"},
		{"key with a space", Spec{Title: "t", Keys: []string{"a b"}}, "key"},
		{"key with a line break", Spec{Title: "t", Keys: []string{"a\n"}}, "key"},
		{"key with a no-break space", Spec{Title: "t", Keys: []string{"a\u00a0b"}}, "key"},
		{"key with a control character", Spec{Title: "t", Keys: []string{"a\x1b"}}, "key"},
		{"key with NUL", Spec{Title: "t", Keys: []string{"a\x00"}}, "key"},
		{"key not UTF-8", Spec{Title: "t", Keys: []string{"\xff"}}, "key"},
		{"key with a surrogate", Spec{Title: "t", Keys: []string{"\xed\xa0\x80"}}, "key"},
	} {
		_, err := tt.spec.Validate()
		var invalid *InvalidError
		switch {
		case tt.field == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.field != "" && !errors.As(err, &invalid):
			t.Errorf("%s: %v, want an InvalidError", tt.name, err)
		case tt.field != "" && invalid.Field != tt.field:
			t.Errorf("%s: %v, want the field %s", tt.name, err, tt.field)
		}
	}
}

func TestSpecKeysOnceInOrder(t *testing.T) {
	given := []string{"b", "a", "b"}
	s, err := Spec{Title: "t", Keys: given}.Validate()
	if err != nil || !slices.Equal(s.Keys, []string{"b", "a"}) {
		t.Errorf("keys %v, %v", s.Keys, err)
	}
	given[0] = "changed by the caller"
	if s.Keys[0] != "b" {
		t.Error("the caller's slice is kept")
	}
}

func FuzzSpecValidate(f *testing.F) {
	f.Add("title", "description", "a b")
	f.Add("\xff", "\x00", "a\x00b")
	f.Add(strings.Repeat("é", 201), "", "")
	f.Fuzz(func(t *testing.T, title, description, keys string) {
		spec := Spec{Title: title, Description: description, Keys: strings.Split(keys, "/")}
		s, err := spec.Validate()
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q", err)
			}
			return
		}
		for _, text := range append([]string{s.Title, s.Description}, s.Keys...) {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				t.Fatalf("%q was accepted", text)
			}
		}
		if len(s.Keys) > wellformed.MaxKeys || slices.ContainsFunc(s.Keys, func(key string) bool {
			return key == "" || strings.ContainsFunc(key, unicode.IsSpace)
		}) {
			t.Fatalf("the keys %q were accepted", s.Keys)
		}
	})
}
