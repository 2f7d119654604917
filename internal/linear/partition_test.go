package linear

import "github.com/anishathalye/porcupine"

// A part is the actions that want one key: all that can compete for it.
type part struct {
	key string
	in  []bool // by the action's number
}

// split makes a history for each key, with all operations on actions that want the key. Leaving out the
// rest can't make a legal history illegal, so if the whole has an order, each part has one. Two actions
// that want no common key are related only by the order of their seqs, which all parts keep.
func (m *model) split(history []porcupine.Operation) [][]porcupine.Operation {
	split := make([][]porcupine.Operation, len(m.keys))
	for i, key := range m.keys {
		p := &part{key, make([]bool, len(m.titles))}
		var wanted uint64
		for n, keys := range m.wanted {
			if keys&m.bit(key) != 0 {
				p.in[n] = true
				wanted |= keys
			}
		}
		for _, h := range history {
			o := *h.Input.(*operation)
			if o.part = p; m.concerns(&o, wanted) {
				h.Input = &o
				split[i] = append(split[i], h)
			}
		}
	}
	return split
}

// concerns reports whether an operation affects the actions of its part; wanted are all keys that those
// want.
func (m *model) concerns(o *operation, wanted uint64) bool {
	switch {
	case o.Kind == list, o.Kind == final:
		return true
	case o.Kind != start:
		return o.action < 0 || o.part.in[o.action]
	case o.Outcome == held:
		return o.holder < 0 || o.part.in[o.holder] || o.keys&m.bit(o.part.key) != 0
	}
	return o.part.in[o.action] || o.Dismiss && o.keys&wanted != 0
}
