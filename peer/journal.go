package peer

import (
	"slices"
	"sort"
)

const (
	// A journal is tidied when it has twice as many entries as after the last time, and at least
	// journalTidy.
	journalTidy = 1024
	// maxEndings is how many endings a journal keeps for slow readers.
	maxEndings = 1 << 16
)

// A journal is the part of the feed that watchers may not have read yet: the newest entry of each
// action that changed, in order of seq. A watcher only has a position in it. So a slow watcher gets
// the newest entry of each action, needs no memory of its own, and stalls nobody.
//
// It is kept only while there are watches.
type journal struct {
	entries []*entry       // in order of seq; nil where a newer entry of the same action follows
	seqs    []uint64       // of entries
	places  map[string]int // action -> index of its entry
	endings int            // the number of entries that are endings
	tidyAt  int
}

// add appends the newest entry of an action.
func (j *journal) add(e *entry) {
	if j.places == nil {
		j.places = map[string]int{}
	}
	if i, ok := j.places[e.ID]; ok {
		j.entries[i] = nil // not an ending, because nothing follows an ending
	}
	j.places[e.ID] = len(j.entries)
	j.entries = append(j.entries, e)
	j.seqs = append(j.seqs, e.Seq)
	if !e.Status.Ongoing() {
		j.endings++
	}
}

// after returns the first entry above seq, or nil if there is none.
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

// full reports whether it is time to tidy.
func (j *journal) full() bool { return len(j.entries) >= max(journalTidy, j.tidyAt) }

// tidy drops the entries up to seq, which all watchers have read, and the oldest endings if there are
// too many. It returns the seq of the last entry that was dropped unread, or 0.
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
