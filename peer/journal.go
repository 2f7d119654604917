package peer

import (
	"slices"
	"sort"
)

const (
	// A journal is tidied when it has grown to twice what was left the last time, and at
	// least to this many entries.
	journalTidy = 1024
	// maxEndings is how many endings a journal keeps for those who read slowly.
	maxEndings = 1 << 16
)

// A journal is the part of the log that somebody may still have to be told: the newest
// entry of each action that changed, in order of seq. Readers have a place in it, and
// nothing else: that is why a slow one is given the newest of each action, costs no
// memory, and stalls nobody.
//
// It is kept only while somebody watches.
type journal struct {
	entries []*entry       // ascending seq; nil where a newer one of the action follows
	seqs    []uint64       // of entries
	places  map[string]int // action -> index of its entry
	endings int            // how many of entries are endings
	tidyAt  int
}

// add appends the newest entry of an action.
func (j *journal) add(e *entry) {
	if j.places == nil {
		j.places = map[string]int{}
	}
	if i, ok := j.places[e.ID]; ok {
		j.entries[i] = nil // an action has no entry after its ending, so this is none
	}
	j.places[e.ID] = len(j.entries)
	j.entries = append(j.entries, e)
	j.seqs = append(j.seqs, e.Seq)
	if !e.Status.Ongoing() {
		j.endings++
	}
}

// after returns the first entry above seq, nil if there is none.
func (j *journal) after(seq uint64) *entry {
	for i := j.find(seq); i < len(j.entries); i++ {
		if j.entries[i] != nil {
			return j.entries[i]
		}
	}
	return nil
}

// rest returns all entries above seq.
func (j *journal) rest(seq uint64) []*entry {
	return slices.DeleteFunc(slices.Clone(j.entries[j.find(seq):]), func(e *entry) bool { return e == nil })
}

func (j *journal) find(seq uint64) int {
	return sort.Search(len(j.seqs), func(i int) bool { return j.seqs[i] > seq })
}

// full says that it is time to tidy.
func (j *journal) full() bool { return len(j.entries) >= max(journalTidy, j.tidyAt) }

// tidy forgets what everybody has read, up to seq, and the oldest endings if there are
// too many. It returns the seq of the last entry that was forgotten unread.
func (j *journal) tidy(seq uint64) (lost uint64) {
	excess := j.endings - maxEndings
	kept := journal{}
	for _, e := range j.entries {
		switch {
		case e == nil:
		case e.Seq <= seq:
			if !e.Status.Ongoing() {
				excess--
			}
		case excess > 0 && !e.Status.Ongoing():
			excess--
			lost = e.Seq
		default:
			kept.add(e)
		}
	}
	kept.tidyAt = 2 * len(kept.entries)
	*j = kept
	return lost
}
