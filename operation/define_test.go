package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

type arguments struct {
	Cluster string         `json:"cluster" jsonschema:"the address of any of its nodes"`
	Slots   int            `json:"slots"`
	Batch   uint8          `json:"batch,omitempty"`
	Mode    string         `json:"mode"`
	Dry     bool           `json:"dry,omitempty"`
	Weights map[string]int `json:"weights,omitempty"`
	Nodes   []node         `json:"nodes,omitempty"`
	Since   time.Time      `json:"since,omitzero"`
}

type node struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

func refine(s *jsonschema.Schema) {
	s.Properties["cluster"].Pattern = "^[a-z.]+:[0-9]+$"
	s.Properties["slots"].Minimum, s.Properties["slots"].Maximum = new(1.0), new(16384.0)
	s.Properties["mode"].Enum, s.Properties["mode"].Default = []any{"copy", "move"}, json.RawMessage(`"move"`)
	s.Properties["nodes"].MaxItems = new(3)
	s.Properties["nodes"].Items.Properties["port"].Default = json.RawMessage(`6379`)
}

func define() kapi.Definition {
	return operation.Define(operation.Of[arguments]{
		Name: "reshard", Title: "Resharding", Refine: refine,
		Keys: func(a arguments) ([]string, error) { return []string{"reshard:" + a.Cluster}, nil },
		Run: func(_ context.Context, _ kapi.OperationHandle, a arguments) error {
			return fmt.Errorf("%+v", a)
		},
	})
}

// Each wrong field is named with its reason.
func TestCheckNamesEachField(t *testing.T) {
	d := define()
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100)
	for given, want := range map[string][]string{
		``:   {`cluster: is missing`, `slots: is missing`},
		`{}`: {`cluster: is missing`, `slots: is missing`},
		`{"cluster":"a:1","slots":0,"mode":"steal","more":1}`: {
			`mode: must be one of "copy", "move", not "steal"`,
			`more: is unknown; known: cluster, slots, batch, mode, dry, weights, nodes, since`,
			`slots: must be at least 1, not 0`,
		},
		`{"cluster":7,"slots":"many","dry":"yes"}`: {
			`cluster: must be a text, not 7`, `dry: must be true or false, not "yes"`, `slots: must be a whole number, not "many"`,
		},
		`{"cluster":"a:1","slots":16385}`:                     {`slots: must be at most 16384, not 16385`},
		`{"cluster":"a:1","slots":1.5}`:                       {`slots: must be a whole number, not 1.5`},
		`{"cluster":"A","slots":1}`:                           {`cluster: must match ^[a-z.]+:[0-9]+$, not "A"`},
		`{"cluster":"a:1","slots":1,"batch":256}`:             {`batch: must be at most 255, not 256`},
		`{"cluster":"a:1","slots":1,"weights":{"a":"b"}}`:     {`weights.a: must be a whole number, not "b"`},
		`{"cluster":"a:1","slots":1,"nodes":[{"port":true}]}`: {`nodes[0].host: is missing`, `nodes[0].port: must be a whole number, not true`},
		`{"cluster":"a:1","slots":1,"nodes":[1,{"host":"a","x":1}]}`: {
			`nodes[0]: must be an object, not 1`, `nodes[1].x: is unknown; known: host, port`,
		},
		`{"cluster":"a:1","slots":1,"nodes":[{"host":"a"},{"host":"a"},{"host":"a"},{"host":"a"}]}`: {`nodes: must have at most 3 entries, not [{"host":"a","port":6379},{"host":"a","port":6379},{"host":"a","port":6379},{"ho...`},
		`{"cluster":"a:1","slots":1,"nodes":null}`:                                                  {`nodes: must be a list, not null`},
		`{"cluster":"a:1","slots":1,"since":"today"}`:                                               {`the arguments: parsing time "today" as "2006-01-02T15:04:05Z07:00": cannot parse "today" as "2006"`},
		`{"cluster":"a:1","slots":1,"slots":2}`:                                                     {`the arguments: must not have "slots" twice`},
		`{"cluster":"a:1","slots":1e999999999}`:                                                     {`the arguments: must not have a number that is too long or too large: 1e999999999`},
		`{"cluster":"a:1","slots":1e-999999999}`:                                                    {`the arguments: must not have a number that is too long or too large: 1e-999999999`},
		`{"cluster":"a:1","slots":9223372036854775808}`:                                             {`slots: must be at most 16384, not 9223372036854775808`},
		`[]`:                       {`the arguments: must be an object, not []`},
		`null`:                     {`the arguments: must be an object, not null`},
		`{"cluster"`:               {`the arguments: must be JSON: it ends too soon`},
		`{} {}`:                    {`the arguments: must not be followed by something else`},
		`{"nodes":` + deep + `}`:   {`the arguments: must not be nested more than 32 times`},
		"{\"cluster\":\"a:1\x00\"": {`the arguments: must be JSON: invalid character '\x00' in string literal`},
	} {
		checked, wrong := d.Check(json.RawMessage(given))
		var got []string
		for _, w := range wrong {
			got = append(got, w.Error())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || checked != nil {
			t.Errorf("%s\n is %s\n and wrong: %q\nwant: %q", given, checked, got, want)
		}
	}
}

// Arguments that are right get their defaults, and reach the operation.
func TestCheckedArguments(t *testing.T) {
	d := define()
	checked, wrong := d.Check(json.RawMessage(` {"slots": 5, "cluster": "a:1", "nodes": [{"host": "b"}]} `))
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if want := `{"cluster":"a:1","mode":"move","nodes":[{"host":"b","port":6379}],"slots":5}`; string(checked) != want {
		t.Errorf("checked: %s\nwant %s", checked, want)
	}
	keys, err := d.Keys(checked)
	if err != nil || !slices.Equal(keys, []string{"reshard:a:1"}) {
		t.Errorf("keys %q, %v", keys, err)
	}
	got := d.Run(t.Context(), nil, checked)
	if want := fmt.Sprintf("%+v", arguments{Cluster: "a:1", Slots: 5, Mode: "move", Nodes: []node{{"b", 6379}}}); got.Error() != want {
		t.Errorf("it ran with %v\nwant %s", got, want)
	}
}

// A definition that can't be is refused by its name.
func TestFlaws(t *testing.T) {
	run := func(context.Context, kapi.OperationHandle, struct{}) error { return nil }
	good := func() operation.Of[struct{}] { return operation.Of[struct{}]{Name: "ok", Title: "t", Run: run} }
	flawed := func(change func(*operation.Of[struct{}])) kapi.Definition {
		of := good()
		change(&of)
		return operation.Define(of)
	}
	if d := operation.Define(good()); d.Validate() != nil {
		t.Fatal(d.Validate())
	}
	for want, d := range map[string]kapi.Definition{
		"needs a name":          flawed(func(of *operation.Of[struct{}]) { of.Name = "Re shard" }),
		"is wrong: title":       flawed(func(of *operation.Of[struct{}]) { of.Title = "" }),
		"has no Run":            flawed(func(of *operation.Of[struct{}]) { of.Run = nil }),
		"a negative number":     flawed(func(of *operation.Of[struct{}]) { of.Limit = -1 }),
		"number in Resume":      flawed(func(of *operation.Of[struct{}]) { of.Resume = &kapi.Resume{Takeovers: -1} }),
		"they must be a struct": operation.Define(operation.Of[[]int]{Name: "ok", Title: "t"}),
		"have no schema":        operation.Define(operation.Of[struct{ C chan int }]{Name: "ok", Title: "t"}),
		"its schema is wrong": operation.Define(operation.Of[struct{ A int }]{Name: "ok", Title: "t", Refine: func(s *jsonschema.Schema) {
			s.Properties["A"].Default = json.RawMessage(`"text"`)
		}}),
		"must have both": {Name: "ok", Title: "t", Schema: json.RawMessage(`{}`), Run: func(context.Context, kapi.OperationHandle, json.RawMessage) error { return nil }},
	} {
		err := d.Validate()
		var invalid *kapi.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) || !strings.Contains(invalid.Field, d.Name) {
			t.Errorf("%q is refused with %v, want %q", d.Name, err, want)
		}
	}
}
