package peer

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wellformed"
)

// Records that kapi can't have written are refused, and texts are cleaned up, before they are used.
func TestTidy(t *testing.T) {
	whole := func() store.Record {
		return store.Record{Action: kapi.Action{ID: "a-B_9", Title: "t", Status: kapi.StatusRunning, Runner: &kapi.Runner{ID: "r", Host: "h"}}}
	}
	for name, spoil := range map[string]func(*store.Record){
		"no id":               func(r *store.Record) { r.ID = "" },
		"an id for a shell":   func(r *store.Record) { r.ID = "x;reboot" },
		"an id of escapes":    func(r *store.Record) { r.ID = "x\x1b[2J" },
		"a long id":           func(r *store.Record) { r.ID = strings.Repeat("x", 65) },
		"a runner of another": func(r *store.Record) { r.Runner.ID = "r\nid" },
		"a status":            func(r *store.Record) { r.Status = 6 },
		"a status below":      func(r *store.Record) { r.Status = -1 },
		"an obstacle":         func(r *store.Record) { r.WaitsFor = &kapi.WaitsFor{Key: "k", Action: "x;reboot"} },
		"the last runner":     func(r *store.Record) { r.Defined = &store.Defined{Last: &kapi.Runner{ID: "r\nid"}} },
		"what it continues":   func(r *store.Record) { r.Defined = &store.Defined{Continues: "x;reboot"} },
	} {
		r := whole()
		spoil(&r)
		page := store.Page{Head: store.Head{Epoch: "e"}, Records: []store.Record{whole(), r}}
		if err := tidyPage(&page); !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), "data that kapi can't have written") ||
			strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, epoch := range []string{"", "e e", "e\r\nSet-Cookie: x", strings.Repeat("e", 65)} {
		if err := tidySnapshot(&store.Snapshot{Head: store.Head{Epoch: epoch}}); err == nil {
			t.Errorf("the epoch %q is accepted", epoch)
		}
	}
	long := strings.Repeat("é", 5000)
	for _, p := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 7, -1, 0.5} {
		r := whole()
		r.Title, r.Description, r.State, r.Runner.Host, r.Progress = "\xff\x00"+long, long, long, long, &p
		shared := &kapi.WaitsFor{Key: "k", Title: long}
		r.WaitsFor = shared
		if err := tidyRecord(&r); err != nil {
			t.Fatal(err)
		}
		if utf8.RuneCountInString(r.WaitsFor.Title) != wellformed.MaxTitle || shared.Title != long {
			t.Error("the title in WaitsFor is too long, or a shared WaitsFor was changed")
		}
		if n := utf8.RuneCountInString(r.Title); n != wellformed.MaxTitle || !strings.HasPrefix(r.Title, "\uFFFD\uFFFDé") || !utf8.ValidString(r.Title) {
			t.Errorf("the title has %d characters: %q", n, r.Title)
		}
		if utf8.RuneCountInString(r.Runner.Host) != maxHost || utf8.RuneCountInString(r.State) != wellformed.MaxState {
			t.Error("host or state are too long")
		}
		if _, err := json.Marshal(r.Shown()); err != nil {
			t.Errorf("progress %v: %v", p, err)
		}
	}
}

// An older version left NotProvenDead set on an action that reported its end after all.
func TestTidyLateEnd(t *testing.T) {
	for _, late := range []bool{false, true} {
		r := store.Record{Action: kapi.Action{ID: "a", Status: kapi.StatusFailed, NotProvenDead: true}, LateEnd: late}
		if err := tidyRecord(&r); err != nil || r.NotProvenDead == late {
			t.Errorf("ended after all %v: not proven dead %v (error: %v)", late, r.NotProvenDead, err)
		}
	}
}

func TestTidyDefined(t *testing.T) {
	long := strings.Repeat("é", 5000)
	shared := &store.Defined{
		Limit: 1 << 40, Said: long, Why: long, Refusal: &store.Refusal{Preflight: long, Invalid: long, Fault: long}, Last: &kapi.Runner{ID: "r", Host: long},
	}
	r := store.Record{Action: kapi.Action{
		ID: "a", Operation: long, StartedBy: long, NoCancel: "\xff" + long, PausedBy: long, WaitsFor: &kapi.WaitsFor{Operation: "op"},
	}, Defined: shared}
	if err := tidyRecord(&r); err != nil {
		t.Fatal(err)
	}
	d := r.Defined
	for name, c := range map[string]struct {
		text    string
		longest int
	}{
		"operation": {r.Operation, maxOperation}, "started by": {r.StartedBy, wellformed.MaxTitle}, "no cancel": {r.NoCancel, wellformed.MaxState},
		"paused by": {r.PausedBy, wellformed.MaxState}, "said": {d.Said, wellformed.MaxState}, "why": {d.Why, wellformed.MaxState},
		"preflight": {d.Refusal.Preflight, wellformed.MaxState}, "invalid": {d.Refusal.Invalid, wellformed.MaxState},
		"fault": {d.Refusal.Fault, wellformed.MaxState},
	} {
		if n := utf8.RuneCountInString(c.text); n != c.longest || !utf8.ValidString(c.text) {
			t.Errorf("%s has %d characters, or is not valid", name, n)
		}
	}
	if d.Limit != wellformed.MaxLimit || r.WaitsFor.Operation != "op" {
		t.Errorf("the limit is %d, and it waits for %+v", d.Limit, r.WaitsFor)
	}
	if n := utf8.RuneCountInString(d.Last.Host); n != maxHost {
		t.Errorf("the host of the last runner has %d characters", n)
	}
	if shared.Said != long || shared.Refusal.Invalid != long || shared.Last.Host != long {
		t.Error("a shared Defined was changed")
	}
}
