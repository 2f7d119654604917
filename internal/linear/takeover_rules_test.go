package linear

import (
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/kettubot/kapi"
)

// Histories of one action "x", whose id is "1". Its runners are "a", "b" and "c".

// recorded is a start at a peer that doesn't offer the operation.
func (h *made) recorded() *operation { return h.add(call{Kind: begin, Title: "x"}, answer{}) }

// begun is a start at a peer that offers the operation, and runs it.
func (h *made) begun(runner string, fence uint64) {
	h.add(call{Kind: begin, Title: "x", Fence: fence, runCall: runCall{Offers: true, Runner: runner}}, answer{})
	h.claims(runner, fence, 1)
}

func (h *made) claims(runner string, fence uint64, attempt int) *operation {
	return h.add(call{Kind: claim, Title: "x", Fence: fence, runCall: runCall{ID: "1", Origin: "1", Runner: runner, Attempt: attempt}}, answer{})
}

func (h *made) saves(fence uint64, n int) *operation {
	return h.add(call{Kind: save, Title: "x", Fence: fence, runCall: runCall{Place: &place{n, fence}}}, answer{})
}

func (h *made) restores(fence uint64, at place) {
	h.add(call{Kind: restore, Title: "x", Fence: fence}, answer{Found: &at})
}

func (h *made) proceeds(fence uint64) { h.add(call{Kind: proceed, Title: "x", Fence: fence}, answer{}) }

// leaves is the end of a run by which the action is handed over.
func (h *made) leaves(fence uint64) { h.add(call{Kind: end, Title: "x", Fence: fence}, answer{}) }

// dies is the death of a runner. Others may find it out at any time.
func (h *made) dies(runner string) *operation {
	o := h.add(call{Kind: gone, Title: "x", runCall: runCall{Runner: runner}}, answer{})
	o.to = forever
	return o
}

func (h *made) shows(runner string, seq uint64) {
	s := sight{Title: "x", ID: "1", Seq: seq, Status: running, Runner: runner, Attempt: 1}
	if runner == "" {
		s.Status = kapi.StatusImpacted
	}
	h.add(call{Kind: get, Title: "x"}, answer{Seen: []sight{s}})
}

func (h *made) keeps(s sight) *operation {
	s.Title, s.ID, s.Attempt = "x", "1", max(s.Attempt, 1)
	return h.add(call{Kind: final, Title: "x"}, answer{Seen: []sight{s}})
}

type madeCase = struct {
	legal bool
	make  func(h *made)
}

func tryAll(t *testing.T, all map[string]madeCase) {
	t.Helper()
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			var h made
			c.make(&h)
			result, _ := check(takeoverRules(h), h)
			if (result == porcupine.Ok) != c.legal {
				t.Errorf("%s, want it to be legal: %v\n%v", result, c.legal, &h)
			}
		})
	}
}

// What the checker of takeovers must accept and find about who has an action.
func TestRulesOfClaims(t *testing.T) {
	tryAll(t, map[string]madeCase{
		"a recorded start is claimed": {true, func(h *made) {
			h.recorded()
			h.claims("a", 2, 1)
			h.proceeds(2)
		}},
		"by two": {false, func(h *made) {
			h.recorded()
			h.claims("a", 2, 1)
			h.claims("b", 3, 1)
		}},
		"nobody has started it": {false, func(h *made) { h.claims("a", 2, 1) }},
		"one that runs is claimed": {false, func(h *made) {
			h.begun("a", 1)
			h.claims("b", 2, 2)
		}},
		"its runner is dead": {true, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.claims("b", 3, 2)
		}},
		"another one is": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("c")
			h.claims("b", 3, 2)
		}},
		"it is dead, and two claim its action": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.claims("b", 3, 2)
			h.claims("c", 4, 2)
		}},
		"a planned stop": {true, func(h *made) {
			h.begun("a", 1)
			h.leaves(1)
			h.claims("b", 3, 1)
		}},
		"a claim before it": {false, func(h *made) {
			h.begun("a", 1)
			h.claims("b", 3, 1)
			h.leaves(1)
		}},
		"a frozen runner is replaced": {true, func(h *made) {
			h.begun("a", 1)
			h.dies("a").to = 25 // it comes back
			h.claims("b", 3, 2)
			h.saves(1, 1).Outcome = stale
			h.proceeds(3)
		}},
		"one that has come back before": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a").to = 25
			h.proceeds(1)
			h.claims("b", 3, 2)
		}},
		"it proceeds after it was replaced": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a").to = 25
			h.claims("b", 3, 2)
			h.proceeds(1)
		}},
		"a fence that falls": {false, func(h *made) {
			h.begun("a", 5)
			h.dies("a")
			h.claims("b", 3, 2)
		}},
		"a fence below a seq that was seen": {false, func(h *made) {
			h.begun("a", 1)
			h.shows("a", 4)
			h.dies("a")
			h.claims("b", 3, 2)
		}},
		"a fence that comes again": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.claims("a", 1, 2)
		}},
		"another id": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.claims("b", 3, 2).ID = "2"
		}},
		"an attempt that falls": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.claims("b", 3, 2)
			h.dies("b")
			h.claims("c", 5, 1)
		}},
		"a runner is seen that dies before it begins": {true, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.shows("b", 3)
			h.dies("b")
			h.claims("c", 5, 2)
		}},
		"a second runner is seen": {false, func(h *made) {
			h.begun("a", 1)
			h.shows("b", 3)
		}},
		"the last runner is seen again": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.claims("b", 3, 1)
			h.shows("a", 3)
		}},
		"no runner is seen while there is one": {false, func(h *made) {
			h.begun("a", 1)
			h.shows("", 3)
		}},
	})
}

// The same about checkpoints, and what is stored in the end.
func TestRulesOfCheckpoints(t *testing.T) {
	tryAll(t, map[string]madeCase{
		"the last one is restored": {true, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			h.saves(1, 2)
			h.dies("a")
			h.claims("b", 3, 2)
			h.restores(3, place{2, 1})
		}},
		"the one before": {false, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			h.saves(1, 2)
			h.dies("a")
			h.claims("b", 3, 2)
			h.restores(3, place{1, 1})
		}},
		"one of unknown outcome": {true, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			unheard(h.saves(1, 2))
			h.dies("a")
			h.claims("b", 3, 2)
			h.restores(3, place{2, 1})
		}},
		"it is not there": {true, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			unheard(h.saves(1, 2))
			h.dies("a")
			h.claims("b", 3, 2)
			h.restores(3, place{1, 1})
		}},
		"and comes later": {false, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			unheard(h.saves(1, 2))
			h.dies("a")
			h.claims("b", 3, 2)
			h.restores(3, place{1, 1})
			h.dies("b")
			h.claims("c", 5, 3)
			h.restores(5, place{2, 1})
		}},
		"a stale runner saves": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a").to = 25
			h.claims("b", 3, 2)
			h.saves(1, 1)
		}},
		"before it is replaced": {true, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1).to = 100
			h.dies("a").to = 100
			h.claims("b", 3, 2)
		}},
		"what it has saved comes back": {false, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			h.dies("a").to = 35
			h.claims("b", 3, 2)
			h.restores(3, place{1, 1})
			h.saves(3, 2)
			h.dies("b")
			h.claims("a", 5, 3)
			h.restores(5, place{1, 1})
		}},
		"the runner is refused": {false, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1).Outcome = stale
		}},
		"it has ended": {false, func(h *made) {
			h.begun("a", 1)
			h.ends("x", 1, completed)
			h.saves(1, 1)
		}},
		"the last one is stored": {true, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			h.ends("x", 1, failed)
			h.keeps(sight{Seq: 2, Status: failed, Fence: 1, Saved: &place{1, 1}})
		}},
		"it is lost": {false, func(h *made) {
			h.begun("a", 1)
			h.saves(1, 1)
			h.keeps(sight{Seq: 1, Status: running, Runner: "a", Fence: 1})
		}},
		"an end is lost": {false, func(h *made) {
			h.begun("a", 1)
			h.ends("x", 1, completed)
			h.keeps(sight{Seq: 1, Status: running, Runner: "a", Fence: 1})
		}},
		"it fails by itself": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.keeps(sight{Seq: 2, Status: failed, Fence: 1})
		}},
		"a start is lost": {false, func(h *made) {
			h.recorded()
			h.add(call{Kind: final, Title: "x"}, answer{})
		}},
		"a runner has left and not handed over": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.keeps(sight{Seq: 1, Status: running, Runner: "a", Fence: 1}).left = true
		}},
		"a fence from before the last claim is stored": {false, func(h *made) {
			h.begun("a", 1)
			h.dies("a")
			h.claims("b", 3, 2)
			h.keeps(sight{Seq: 3, Status: running, Runner: "b", Fence: 1, Attempt: 2})
		}},
	})
}
