package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

// slotCount is the number of hash slots of a Redis Cluster.
const slotCount = 16384

// arguments are what an admin says when a resharding is started. No secret is among them: everybody who may see the
// action may see its arguments. The user and password of Redis are the runner's (see config).
type arguments struct {
	Cluster string   `json:"cluster" jsonschema:"a name for the cluster; one resharding at a time for each name"`
	Addrs   []string `json:"addrs" jsonschema:"host:port of one or more of its nodes"`
	From    string   `json:"from" jsonschema:"the master that gives slots: its id, or host:port"`
	To      string   `json:"to" jsonschema:"the master that takes them: its id, or host:port"`

	Count int    `json:"count,omitempty" jsonschema:"how many slots to move, the lowest first; or give slots"`
	Slots string `json:"slots,omitempty" jsonschema:"the slots to move, such as 0-99,205; or give count"`
	Adopt bool   `json:"adopt,omitempty" jsonschema:"also carry on slots that are open between the two nodes; only if whoever opened them is gone"`

	BatchKeys  int `json:"batch_keys" jsonschema:"how many keys one MIGRATE moves at most"`
	BatchBytes int `json:"batch_bytes" jsonschema:"how much memory the keys of one MIGRATE take at most; a larger key is moved alone"`
	BatchMS    int `json:"batch_ms" jsonschema:"for how many ms one MIGRATE may hear nothing from the target"`
	BigMS      int `json:"big_ms" jsonschema:"the same for a key that is moved alone"`
	PatienceS  int `json:"patience_s" jsonschema:"for how many seconds a failing node is tried again before the operation fails"`
}

func (a arguments) batchTimeout() time.Duration { return time.Duration(a.BatchMS) * time.Millisecond }
func (a arguments) bigTimeout() time.Duration   { return time.Duration(a.BigMS) * time.Millisecond }
func (a arguments) patience() time.Duration     { return time.Duration(a.PatienceS) * time.Second }

// refine says what the tags of arguments can't.
func refine(s *jsonschema.Schema) {
	text := func(name string, most int) {
		s.Properties[name].MinLength, s.Properties[name].MaxLength = new(1), &most
	}
	number := func(name string, least, most float64, value string) {
		s.Properties[name].Minimum, s.Properties[name].Maximum = &least, &most
		if value != "" {
			s.Properties[name].Default = json.RawMessage(value)
		}
	}
	text("cluster", 64)
	s.Properties["cluster"].Default = json.RawMessage(`"redis"`)
	s.Properties["addrs"].MinItems, s.Properties["addrs"].MaxItems = new(1), new(100)
	s.Properties["addrs"].Items.MaxLength = new(300)
	text("from", 300)
	text("to", 300)
	number("count", 1, slotCount, "")
	s.Properties["slots"].Pattern = `^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$`
	number("batch_keys", 1, 10_000, "100")
	number("batch_bytes", 1, 1<<30, "1048576")
	number("batch_ms", 10, 60_000, "1000")
	number("big_ms", 10, 600_000, "10000")
	number("patience_s", 0, 86_400, "600")
}

// parseSlots parses slots such as "0-99,205" and returns them in order.
func parseSlots(text string) ([]int, error) {
	var slots []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		low, err := strconv.Atoi(first)
		high := low
		if err == nil && isRange {
			high, err = strconv.Atoi(last)
		}
		if err != nil || low < 0 || high >= slotCount || low > high {
			return nil, fmt.Errorf("slots: %q is neither a slot from 0 to %d nor a range of them", part, slotCount-1)
		}
		for slot := low; slot <= high; slot++ {
			slots = append(slots, slot)
		}
	}
	slices.Sort(slots)
	return slices.Compact(slots), nil
}

// A span is a range of slots, both ends included.
type span struct{ first, last int }

func (s span) String() string {
	if s.first == s.last {
		return strconv.Itoa(s.first)
	}
	return fmt.Sprintf("%d-%d", s.first, s.last)
}

// spans returns the ranges in slots, which must be in order.
func spans(slots []int) (all []span) {
	for _, slot := range slots {
		if n := len(all); n > 0 && all[n-1].last == slot-1 {
			all[n-1].last = slot
		} else {
			all = append(all, span{slot, slot})
		}
	}
	return all
}

// formatSlots is the inverse of parseSlots.
func formatSlots(slots []int) string {
	var parts []string
	for _, s := range spans(slots) {
		parts = append(parts, s.String())
	}
	return strings.Join(parts, ",")
}
