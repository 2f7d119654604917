package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
)

// Each reason not to begin is named, and nothing is changed.
func TestPreflight(t *testing.T) {
	t.Parallel()
	all := startCluster(t)
	from, to, other := all[0], all[1], all[2]
	from.must("set", keyIn(5), strings.Repeat("x", 3<<20))
	ask := func(fields map[string]any) (string, error) {
		t.Helper()
		args, out := checked(t, fields), bytes.Buffer{}
		err := preview(t.Context(), define(config{}, slog.New(slog.DiscardHandler)), args, &out)
		return out.String(), err
	}
	out, err := ask(between(from, to, "5-6,8"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 slots with 1 keys, about ", "go from " + from.addr, "slots 5-6: 1 keys\n", "slots 8: 0 keys\n", "has no limit of memory"} {
		if !strings.Contains(out, want) {
			t.Errorf("the preview is\n%s\nwant %q in it", out, want)
		}
	}
	if out, err := ask(between(from, to, "5", "big_ms", 20_000)); err != nil || !strings.Contains(out, "cluster-node-timeout of 20000 ms") {
		t.Errorf("with a long time-out: %s%v", out, err)
	}

	nobody := strings.Repeat("0", 40)
	set := func(name string, value any) map[string]any { return between(from, to, "5", name, value) }
	for _, test := range []struct {
		name       string
		do, undo   func()
		fields     map[string]any
		want, also string
	}{
		{name: "no such node", fields: set("from", nobody), want: "from: the cluster has no node"},
		{name: "the same node", fields: set("to", from.addr), want: "is the node that gives the slots"},
		{name: "slots of another", fields: between(from, to, "5499-5500"), want: "slot 5500 belongs to " + to.addr},
		{name: "too many", fields: between(from, to, "", "slots", nil, "count", 5501), want: "has only 5500 slots"},
		{name: "nothing to do", fields: between(from, to, "", "slots", nil), want: "give either count or slots"},
		{name: "a backward range", fields: between(from, to, "7-5"), want: `"7-5" is neither a slot`},
		{name: "nobody there", fields: set("addrs", []string{"127.0.0.1:1"}), want: "127.0.0.1:1 doesn't say"},
		{
			name: "open", fields: set("slots", "5"),
			do:   func() { to.must("cluster", "setslot", 5, "importing", from.id) },
			undo: func() { to.must("cluster", "setslot", 5, "stable") },
			want: to.addr + " (" + short(to.id) + ") has slot 5 open",
		},
		{
			name: "open elsewhere", fields: set("adopt", true),
			do: func() {
				to.must("cluster", "setslot", 5, "importing", from.id)
				other.must("cluster", "setslot", 9, "importing", from.id)
			},
			undo: func() {
				to.must("cluster", "setslot", 5, "stable")
				other.must("cluster", "setslot", 9, "stable")
			},
			want: other.addr + " (" + short(other.id) + ") has slot 9 open",
		},
		{
			name: "too little memory", fields: set("slots", "5"),
			do:   func() { to.must("config", "set", "maxmemory", "2mb") },
			undo: func() { to.must("config", "set", "maxmemory", "0", "maxmemory-policy", "noeviction") },
			want: "of memory left, the keys need about",
		},
		{
			name: "memory of others", fields: set("slots", "5"),
			do:   func() { to.must("config", "set", "maxmemory", "2mb", "maxmemory-policy", "allkeys-lru") },
			undo: func() { to.must("config", "set", "maxmemory", "0", "maxmemory-policy", "noeviction") },
			want: "by its policy allkeys-lru it would drop others",
		},
		{
			name: "a slot without an owner", fields: set("slots", "5"),
			do:   func() { other.must("cluster", "delslots", 12000) },
			undo: func() { other.must("cluster", "addslots", 12000) },
			want: "says that the cluster's state is fail",
		},
	} {
		if test.do != nil {
			test.do()
		}
		if out, err := ask(without(test.fields)); err == nil || !strings.Contains(err.Error(), test.want) || out != "" {
			t.Errorf("%s: %s%v, want %q", test.name, out, err, test.want)
		}
		if test.undo != nil {
			test.undo()
		}
	}
	t.Run("adopt", func(t *testing.T) { testAdopt(t, from, to) })
}

// without leaves out the fields that are nil.
func without(fields map[string]any) map[string]any {
	kept := map[string]any{}
	for name, value := range fields {
		if value != nil {
			kept[name] = value
		}
	}
	return kept
}

// A slot that somebody else has opened is carried on if the arguments say so.
func testAdopt(t *testing.T, from, to *server) {
	key := keyIn(20)
	from.must("set", key, "value")
	to.must("cluster", "setslot", 20, "importing", from.id)
	from.must("cluster", "setslot", 20, "migrating", to.id)
	d := newDesk(t, between(from, to, "20"))
	var refused *kapi.PreflightError
	if err := d.attempt(); !errors.As(err, &refused) {
		t.Errorf("a slot of somebody else is refused with %v", err)
	}
	d.args["adopt"] = true
	if err := d.attempt(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, from, to, 20)
	wantValue(t, to, key, "value")
}

// The command names everything that is wrong with its arguments.
func TestCommand(t *testing.T) {
	var out bytes.Buffer
	if err := command(t.Context(), []string{"preview"}, &out); err == nil {
		t.Error("no arguments are enough")
	}
	wrong, err := json.Marshal(map[string]any{"from": "a", "batch_keys": 0, "slots": "all", "more": 1})
	if err != nil {
		t.Fatal(err)
	}
	err = command(t.Context(), []string{"preview", string(wrong)}, &out)
	for _, want := range []string{"addrs: is missing", "to: is missing", "batch_keys: must be at least 1", "slots: must match", "more: is unknown"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
