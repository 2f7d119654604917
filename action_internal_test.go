package kapi

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// wireActions are the golden files of testdata.
var wireActions = map[string]Action{
	"minimal": {ID: "a1", Title: "Resharding", CreatedAt: 1700000000000, Seq: 1, UpdatedAt: 1700000000000},
	"full": {
		ID: "a2", Title: "Guild audit <\u00e9>", CreatedAt: 1700000000000, Status: StatusImpacted,
		Description: "all guilds", Progress: new(0.25), State: "retrying shard 4", Seq: 41,
		Keys: []string{"audit", "deploy"}, UpdatedAt: 1700000005000, StartedAt: 1700000000001,
		Runner:            &Runner{ID: "r1", Host: "bot-1", PID: 4711, HeardAt: 1700000004000},
		CancelRequestedAt: 1700000004500, ExitCode: new(0), CancelledBy: "ops (t1)",
	},
	"waiting": {
		ID: "a5", Title: "Deploy", CreatedAt: 1700000000000, State: `waits for "Resharding" (a1)`, Seq: 11,
		UpdatedAt: 1700000000000, WaitsFor: &WaitsFor{Key: "reshard", Action: "a1", Title: "Resharding"},
	},
	"not_proven_dead": {
		ID: "a6", Title: "Backup", CreatedAt: 1700000000000, Status: StatusFailed, State: "no word; not proven dead", Seq: 12,
		Keys: []string{"backup"}, UpdatedAt: 1700000009000, StartedAt: 1700000000000, NotProvenDead: true,
	},
	"completed": {
		ID: "a3", Title: "Backup", CreatedAt: 1700000000000, Status: StatusCompleted, Progress: new(1.0), Seq: 9,
		UpdatedAt: 1700000009000, StartedAt: 1700000000000,
		Runner: &Runner{ID: "r1", Host: "bot-1", PID: 4711, HeardAt: 1700000009000}, ExitCode: new(0),
	},
	"failed": {
		ID: "a4", Title: "Backup", CreatedAt: 1700000000000, Status: StatusFailed, Progress: new(0.0),
		State: "exit status 3: disk full", Seq: 10, Keys: []string{"backup"},
		UpdatedAt: 1700000009000, StartedAt: 1700000000000, ExitCode: new(3),
	},
}

func TestActionJSON(t *testing.T) {
	for name, a := range wireActions {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(a, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", "action_"+name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var back Action
			if err := json.Unmarshal(want, &back); err != nil {
				t.Fatal(err)
			}
			if a.Keys == nil {
				a.Keys = []string{} // never null on the wire
			}
			if !reflect.DeepEqual(back, a) {
				t.Errorf("decoded to %+v, want %+v", back, a)
			}
		})
	}
}

// kAPI's seven fields come first and in its order, whatever is set.
func TestActionJSONOrder(t *testing.T) {
	seven := []string{"id", "title", "created_at", "status", "description", "progress", "state"}
	for name, a := range wireActions {
		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(strings.NewReader(string(data)))
		var fields []string
		for depth := 0; ; {
			token, err := dec.Token()
			if err != nil {
				break
			}
			switch v := token.(type) {
			case json.Delim:
				depth += map[json.Delim]int{'{': 1, '[': 1, '}': -1, ']': -1}[v]
			case string:
				if depth == 1 && slices.Contains(seven, v) && !slices.Contains(fields, v) {
					fields = append(fields, v)
				}
			}
		}
		want := slices.DeleteFunc(slices.Clone(seven), func(f string) bool {
			return f == "progress" && a.Progress == nil || f == "state" && a.State == ""
		})
		if !slices.Equal(fields, want) || !strings.HasPrefix(string(data), `{"id":`) {
			t.Errorf("%s: fields %v, want %v", name, fields, want)
		}
	}
}

func TestActionUnmarshalRefuses(t *testing.T) {
	for _, tt := range []struct{ json, field string }{
		{`{"title":"t","status":1}`, "id"},
		{`{"id":"a","status":1}`, "title"},
		{`{"id":"a","title":"t","status":6}`, "status"},
		{`{"id":"a","title":"t","status":-1}`, "status"},
		{`{"id":"a","title":"t","progress":1.01}`, "progress"},
		{`{"id":"a","title":"t","progress":-0.01}`, "progress"},
		{`null`, "id"},
		{`[]`, ""},
		{`{"id":"a","title":"t","status":"1"}`, ""},
		{`{"id":"a","title":"t","status":1.5}`, ""},
		{`{"id":1,"title":"t"}`, ""},
	} {
		a := Action{ID: "before"}
		err := a.UnmarshalJSON([]byte(tt.json))
		var invalid *InvalidError
		switch {
		case err == nil:
			t.Errorf("%s: accepted", tt.json)
		case tt.field != "" && (!errors.As(err, &invalid) || invalid.Field != tt.field):
			t.Errorf("%s: %v, want an InvalidError of %s", tt.json, err, tt.field)
		case a.ID != "before":
			t.Errorf("%s: refused, but the action was changed", tt.json)
		}
	}
	var a Action
	if err := json.Unmarshal([]byte(`{"id":"a","title":"t","status":1,"description":"","later":{}}`), &a); err != nil {
		t.Errorf("a field that a newer peer added: %v", err)
	}
}

func FuzzActionUnmarshalJSON(f *testing.F) {
	for _, a := range wireActions {
		data, err := json.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"id":"\ud800","title":"t","keys":null,"runner":null,"progress":1e-400}`))
	f.Add([]byte(`{"id":"a","title":"t","progress":NaN}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Action
		if json.Unmarshal(data, &first) != nil {
			return
		}
		encoded, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("decoded, but can't be encoded: %v", err)
		}
		if err := json.Unmarshal(encoded, &second); err != nil {
			t.Fatalf("%s was encoded, but can't be decoded: %v", encoded, err)
		}
		if first.Keys == nil {
			first.Keys = []string{}
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v became %+v", first, second)
		}
	})
}
