package peer

// A batch is what goes into one transaction.
type batch struct {
	changes []*submission
	// more is where others wait that may come along; nil is nowhere.
	more <-chan *submission
}

// fill takes in what is waiting, save for the changes that were withdrawn meanwhile.
func (b *batch) fill() {
	for len(b.changes) < maxBatch && len(b.more) > 0 {
		b.take(<-b.more)
	}
}

// begin puts changes before the others.
func (b *batch) begin(first []*submission) {
	if len(first) > 0 {
		b.changes = append(first, b.changes...)
	}
}

func (b *batch) take(c *submission) {
	if c.taken.CompareAndSwap(false, true) {
		b.changes = append(b.changes, c)
	}
}
