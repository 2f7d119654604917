package linear

import "github.com/anishathalye/porcupine"

// A part is the actions that want one key: all that can get in each other's way for it.
type part struct {
	key string
	in  []bool // by number
}

// split makes a history of each key, which holds whatever looks at an action that wants the
// key or changes it. A part is no less true for not knowing the rest, so a history that has an
// order has one in each part; and two actions that want no key in common are in no other
// relation than the order of their seqs, which all parts keep.
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

// concerns reports whether an operation has to do with the actions of its part; wanted are all
// the keys that those want.
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
