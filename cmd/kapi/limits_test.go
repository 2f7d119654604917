package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/gateway"
	"github.com/kettubot/kapi/internal/conns"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
)

// A limit has the same name as a flag and as an option. On the command line 0 is off; in Go, 0 is the default
// and a negative limit is off.
func TestLimitFlagsAreOptions(t *testing.T) {
	for _, c := range []struct {
		args []string
		want map[string]float64 // the limits that aren't 0
	}{
		{nil, map[string]float64{"RateLimit": 100, "RateLimitAddress": 20}},
		{[]string{"--rate-limit=0", "--rate-burst=0", "--rate-limit-address=0", "--max-connections=0", "--max-connections-address=0"}, map[string]float64{
			"RateLimit": -1, "RateBurst": -1, "RateLimitAddress": -1, "MaxConnections": -1, "MaxConnectionsAddress": -1,
		}},
		{[]string{"--rate-limit=0.5", "--rate-burst=6", "--rate-limit-address=7", "--max-connections=8", "--max-connections-address=9"}, map[string]float64{
			"RateLimit": 0.5, "RateBurst": 6, "RateLimitAddress": 7, "MaxConnections": 8, "MaxConnectionsAddress": 9,
		}},
	} {
		var line cli
		command, err := newParser(&line)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := command.Parse(append([]string{"serve"}, c.args...)); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, options := range []any{line.Serve.requests(), line.Serve.connections()} {
			all := reflect.ValueOf(options)
			for i := range all.NumField() {
				f := all.Field(i)
				if name := all.Type().Field(i).Name; (f.CanInt() || f.CanFloat()) && !f.IsZero() {
					got[name] = f.Convert(reflect.TypeFor[float64]()).Float()
				}
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.args, got, c.want)
		}
	}
}

// unlimited matches the flags and options that are numbers but no limits.
var unlimited = regexp.MustCompile(`^(total)$`)

// The text of every limit says how to turn it off (on the command line by 0, in Go by a negative value), or
// that it can't be off.
func TestLimitsSayWhatIsOff(t *testing.T) {
	command, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	_ = kong.Visit(command.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && isLimit(flag.Target.Type()) && !unlimited.MatchString(flag.Name) {
			flags++
			if !regexp.MustCompile(`\b0 is off|it can't be off`).MatchString(flag.Help) {
				t.Errorf("--%s doesn't say what is off: %s", flag.Name, flag.Help)
			}
		}
		return next(nil)
	})
	options := 0
	for file, o := range map[string]any{
		"../../server/server.go": server.Options{}, "../../server/connections.go": server.ConnectionLimits{}, "../../gateway/gateway.go": gateway.Options{},
		"../../peer/options.go": peer.Options{}, "../../client/client.go": client.Options{}, "../../internal/conns/conns.go": conns.Limits{},
	} {
		docs := docsOf(t, file, reflect.TypeOf(o).Name())
		for _, f := range reflect.VisibleFields(reflect.TypeOf(o)) {
			if !f.IsExported() || !isLimit(f.Type) {
				continue
			}
			options++
			if !regexp.MustCompile(`(?s)\b0(,| is | means | and ).*\b[Nn]egative\b|it can't be off`).MatchString(docs[f.Name]) {
				t.Errorf("%T.%s doesn't say what is off: %s", o, f.Name, docs[f.Name])
			}
		}
	}
	if flags != 10 || options != 17 {
		t.Errorf("%d flags and %d options are limits", flags, options)
	}
}

func isLimit(kind reflect.Type) bool {
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	switch kind {
	case reflect.TypeFor[int](), reflect.TypeFor[int64](), reflect.TypeFor[float64](), reflect.TypeFor[time.Duration]():
		return true
	}
	return false
}

// docsOf returns the comments of a struct's fields.
func docsOf(t *testing.T, file, name string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for node := range ast.Preorder(parsed) {
		spec, ok := node.(*ast.TypeSpec)
		if !ok || spec.Name.Name != name {
			continue
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			for _, n := range f.Names {
				docs[n.Name] = strings.ReplaceAll(f.Doc.Text(), "\n", " ")
			}
		}
	}
	return docs
}
