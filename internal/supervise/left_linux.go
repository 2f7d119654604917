package supervise

import (
	"slices"
	"time"
)

// lookAtLeft is how often the remaining processes are listed.
const lookAtLeft = time.Second

// notifyLeft reports, once the command itself has ended, which processes the tree still waits for.
func (t *Tree) notifyLeft() {
	if t.left == nil {
		return
	}
	if !t.child.adopted {
		select {
		case <-t.child.exited:
		case <-t.gone:
			return
		}
	}
	tick := time.NewTicker(lookAtLeft)
	defer tick.Stop()
	var last []Process
	for {
		select {
		case <-tick.C:
		case <-t.gone:
			return
		}
		status, left, ok := t.child.remaining()
		if ok && len(left) > 0 && !slices.Equal(left, last) {
			last = left
			t.left(newResult(status, nil, ""), left)
		}
	}
}
