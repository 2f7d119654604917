package scheme

import "testing"

func TestCut(t *testing.T) {
	for text, want := range map[string][2]string{
		"Bearer a.b.c":  {"Bearer", "a.b.c"},
		"bot   a.b.c ":  {"bot", "a.b.c "},
		"BEARER ":       {"BEARER", ""},
		"Bearer":        {"", "Bearer"},
		"a.b.c":         {"", "a.b.c"},
		"Basic a.b.c":   {"", "Basic a.b.c"},
		"Bearera.b.c x": {"", "Bearera.b.c x"},
		"":              {"", ""},
	} {
		if scheme, secret := Cut(text); scheme != want[0] || secret != want[1] {
			t.Errorf("%q: %q, %q", text, scheme, secret)
		}
	}
}
