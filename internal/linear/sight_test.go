package linear

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"

	"github.com/kettubot/kapi"
)

// What kapi writes into the state of an action when its runner no longer reports.
const (
	runnerDied        = "its runner died: "
	lastSaid          = "; it last said: "
	noWord            = "no word from "
	startNotConfirmed = "its start could not be confirmed, so it was not run"
)

// A model is what all worlds of one history have in common.
type model struct {
	titles []string // by the action's number
	wanted []uint64 // the keys that their starts asked for
	keys   []string
	seed   maphash.Seed
}

func (m *model) bit(key string) uint64 { return 1 << slices.Index(m.keys, key) }

func (m *model) bits(keys []string) (set uint64) {
	for _, key := range keys {
		set |= m.bit(key)
	}
	return set
}

// sees reports whether a record may be seen like that. Silence hides status and state; it comes and
// goes by itself, and takes a seq each time.
func (m *model) sees(r *record, s *sight) bool {
	if s.Seq < r.seq || m.bits(s.Keys) != r.keys || len(s.Keys) != bits.OnesCount64(r.keys) {
		return false
	}
	if (s.Progress != nil) != r.hasProgress || s.Progress != nil && *s.Progress != r.progress {
		return false
	}
	if r.active() && s.Status == kapi.StatusImpacted && strings.HasPrefix(s.State, noWord) {
		return true
	}
	return s.Status == r.status && r.says(s.State)
}

// says reports whether a state is the record's.
func (r *record) says(state string) bool {
	if !r.died {
		return state == r.state
	}
	_, last, _ := strings.Cut(state, lastSaid)
	return strings.HasPrefix(state, runnerDied) && last == r.state
}

// seesAll checks a list of everything ongoing, or the final reading of everything that ever was.
func (m *model) seesAll(w *world, o *operation) bool {
	if o.stranger {
		return false
	}
	for n, r := range w.records {
		s := o.sights[n]
		switch {
		case !o.part.in[n]:
		case r == nil || o.Kind == list && !r.ongoing():
			if s != nil {
				return false
			}
		case s == nil || s.Fence != 0 && s.Fence != r.fence || !m.sees(r, s):
			return false
		}
	}
	return true
}

// sum returns a hash of the record with number n.
func (m *model) sum(n int, r *record) uint64 {
	if r == nil {
		return 0
	}
	return maphash.Comparable(m.seed, struct {
		n int
		r record
	}{n, *r})
}
