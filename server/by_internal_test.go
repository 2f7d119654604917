package server

import (
	"testing"

	"github.com/kettubot/kapi/auth"
)

func TestBy(t *testing.T) {
	for want, who := range map[string]auth.Identity{
		"alice (1)": {ID: "1", Name: "alice"},
		"alice":     {Name: "alice"},
		"1":         {ID: "1"},
		"root":      {ID: "root", Name: "root"},
		"an admin":  {},
	} {
		if got := by(who); got != want {
			t.Errorf("%+v: %q, want %q", who, got, want)
		}
	}
}
