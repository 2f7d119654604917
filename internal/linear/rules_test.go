package linear

import (
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/kettubot/kapi"
)

// A made history is written by hand. Each operation gets a time after the one before, unless set
// otherwise.
type made []operation

func (h *made) add(c call, a answer) *operation {
	n := int64(len(*h))
	*h = append(*h, operation{call: c, answer: a, from: 10 * n, to: 10*n + 5})
	return &(*h)[len(*h)-1]
}

func (h *made) starts(title string, fence uint64, keys ...string) *operation {
	return h.add(call{Kind: start, Title: title, Keys: keys, Fence: fence},
		answer{Seen: []sight{{Title: title, Seq: fence, Status: kapi.StatusRunning, Keys: keys}}})
}

func (h *made) says(title string, fence, seq uint64, state string, keys ...string) *operation {
	return h.add(call{Kind: report, Title: title, Fence: fence, State: &state},
		answer{Seen: []sight{{Title: title, Seq: seq, Status: kapi.StatusRunning, State: state, Keys: keys}}})
}

func (h *made) ends(title string, fence uint64, status kapi.Status) *operation {
	return h.add(call{Kind: end, Title: title, Fence: fence, Status: status}, answer{})
}

func (h *made) dismisses(title string, seq uint64) *operation {
	return h.add(call{Kind: dismiss, Title: title}, answer{Seen: []sight{{Title: title, Seq: seq, Status: kapi.StatusAborted}}})
}

func (h *made) refused(key, holder string, seq uint64, keys ...string) *operation {
	return h.add(call{Kind: start, Title: "refused", Keys: keys},
		answer{Outcome: held, Key: key, Seen: []sight{{Title: holder, Seq: seq, Status: kapi.StatusRunning, Keys: []string{key}}}})
}

func (h *made) stored(all ...sight) *operation { return h.add(call{Kind: final}, answer{Seen: all}) }

const (
	running   = kapi.StatusRunning
	failed    = kapi.StatusFailed
	completed = kapi.StatusCompleted
)

// What the checker must accept and what it must find, each as small as possible.
func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		legal bool
		make  func(h *made)
	}{
		"one after the other": {true, func(h *made) {
			h.starts("x", 1, "a")
			h.ends("x", 1, completed)
			h.starts("y", 3, "a")
		}},
		"two holders": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.starts("y", 3, "a")
		}},
		"two holders of one of several keys": {false, func(h *made) {
			h.starts("x", 1, "a", "b")
			h.starts("y", 3, "c", "b")
		}},
		"a failed action keeps its keys": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.ends("x", 1, failed)
			h.starts("y", 3, "a")
		}},
		"until it is dismissed": {true, func(h *made) {
			h.starts("x", 1, "a")
			h.ends("x", 1, failed)
			h.dismisses("x", 3)
			h.starts("y", 4, "a")
		}},
		"unless it was to free them": {true, func(h *made) {
			h.starts("x", 1, "a").Release = true
			h.ends("x", 1, failed)
			h.starts("y", 3, "a")
		}},
		"or the start dismisses it": {true, func(h *made) {
			h.starts("x", 1, "a", "b")
			h.ends("x", 1, failed)
			h.starts("y", 4, "a").Dismiss = true
			h.starts("z", 5, "b")
		}},
		"a running one is dismissed": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.dismisses("x", 2)
		}},
		"a refusal by nobody": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.ends("x", 1, completed)
			h.refused("a", "x", 1, "a")
		}},
		"a refusal": {true, func(h *made) {
			h.starts("x", 1, "a")
			h.refused("a", "x", 1, "b", "a")
		}},
		"a refusal that names another key than the first": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.starts("y", 2, "b")
			h.refused("a", "x", 1, "b", "a")
		}},
		"a report": {true, func(h *made) {
			h.starts("x", 1, "a")
			h.says("x", 1, 2, "here", "a")
		}},
		"a stale report": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.says("x", 7, 2, "here", "a")
		}},
		"an acknowledged report is lost": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.says("x", 1, 2, "here", "a")
			h.stored(sight{Title: "x", Seq: 1, Fence: 1, Status: running, Keys: []string{"a"}})
		}},
		"an acknowledged start is lost": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.stored()
		}},
		"an acknowledged end is lost": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.ends("x", 1, completed)
			h.stored(sight{Title: "x", Seq: 1, Fence: 1, Status: running, Keys: []string{"a"}})
		}},
		"a report of unknown outcome may be missing": {true, func(h *made) {
			h.starts("x", 1, "a")
			unheard(h.says("x", 1, 2, "here", "a"))
			h.stored(sight{Title: "x", Seq: 1, Fence: 1, Status: running, Keys: []string{"a"}})
		}},
		"an end of unknown outcome that says what a report has said": {true, func(h *made) {
			h.starts("x", 1, "a")
			h.says("x", 1, 2, "here", "a")
			here := "here"
			e := h.ends("x", 1, completed)
			e.State = &here
			unheard(e)
			for range 2 {
				h.add(call{Kind: get, Title: "x"}, answer{Seen: []sight{{Title: "x", Seq: 2, Status: running, State: here, Keys: []string{"a"}}}})
			}
			h.stored(sight{Title: "x", Seq: 3, Fence: 1, Status: completed, State: here})
		}},
		"or not": {true, func(h *made) {
			h.starts("x", 1, "a")
			unheard(h.says("x", 1, 2, "here", "a"))
			h.stored(sight{Title: "x", Seq: 2, Fence: 1, Status: running, State: "here", Keys: []string{"a"}})
		}},
		"but not come and go": {false, func(h *made) {
			h.starts("x", 1, "a")
			unheard(h.says("x", 1, 2, "here", "a"))
			h.add(call{Kind: get, Title: "x"}, answer{Seen: []sight{{Title: "x", Seq: 2, Status: running, State: "here", Keys: []string{"a"}}}})
			h.stored(sight{Title: "x", Seq: 1, Fence: 1, Status: running, Keys: []string{"a"}})
		}},
		"nobody started it": {false, func(h *made) {
			h.stored(sight{Title: "x", Seq: 1, Fence: 1, Status: running, Keys: []string{"a"}})
		}},
		"it fails with its runner": {true, func(h *made) {
			h.starts("x", 1, "a")
			h.add(call{Kind: dies, Title: "x"}, answer{}).to = forever
			h.stored(sight{Title: "x", Seq: 2, Fence: 1, Status: failed, State: runnerDied + "so", Keys: []string{"a"}})
		}},
		"it fails, and its runner lives": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.stored(sight{Title: "x", Seq: 2, Fence: 1, Status: failed, State: runnerDied + "so", Keys: []string{"a"}})
		}},
		"a later change has a lower seq, elsewhere": {false, func(h *made) {
			h.starts("x", 5, "a")
			h.starts("y", 4, "b")
		}},
		"a list that is older than its call": {false, func(h *made) {
			h.starts("x", 1, "a")
			h.add(call{Kind: list}, answer{})
		}},
		"a list with a later change but not the one before": {false, func(h *made) {
			h.starts("x", 1, "a").to = 100
			h.starts("y", 2, "b").to = 100
			h.add(call{Kind: list}, answer{Seen: []sight{{Title: "y", Seq: 2, Status: running, Keys: []string{"b"}}}}).from = 0
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var h made
			c.make(&h)
			result, _ := check(newModel(keys, h).rules(), h)
			if (result == porcupine.Ok) != c.legal {
				t.Errorf("%s, want it to be legal: %v\n%v", result, c.legal, &h)
			}
		})
	}
}

// unheard makes an operation one that never returned.
func unheard(o *operation) { o.Outcome, o.Seen, o.to = uncertain, nil, forever }
