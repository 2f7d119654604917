package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// A lightLoad is what has been read for a light batch so far.
type lightLoad struct {
	store.Loaded
	known map[string]bool // the ids in Found
}

func (l *lightLoad) add(records []store.Record) {
	for _, r := range records {
		if !l.known[r.ID] {
			l.known[r.ID] = true
			l.Found = append(l.Found, r)
		}
	}
}

// loadLight reads what the changes of a light batch concern.
func loadLight(c *sqlite.Conn, b store.Batch) (store.Loaded, error) {
	l := &lightLoad{known: map[string]bool{}}
	h, err := readHead(c)
	if err != nil {
		return l.Loaded, err
	}
	l.Head, l.Held = h.Head, make(map[string]string, len(b.Keys))
	named, err := readByID(c, b.Find)
	if err != nil {
		return l.Loaded, err
	}
	l.add(named)
	pending, err := readRecords(c, selectPending, nil)
	if err != nil {
		return l.Loaded, err
	}
	keys := b.Keys
	for i := range pending {
		if pending[i].Waiting() {
			keys = append(keys[:len(keys):len(keys)], pending[i].Waits...)
			l.add(pending[i : i+1])
		}
	}
	for _, key := range keys {
		if err := l.lookUp(c, key); err != nil {
			return l.Loaded, err
		}
	}
	return l.Loaded, nil
}

// lookUp reads which action holds key, and that action's record.
func (l *lightLoad) lookUp(c *sqlite.Conn, key string) error {
	if _, ok := l.Held[key]; ok {
		return nil
	}
	holder := ""
	err := each(c, selectHolder,
		func(stmt *sqlite.Stmt) { stmt.BindText(1, key) },
		func(stmt *sqlite.Stmt) { holder = stmt.ColumnText(0) })
	l.Held[key] = holder
	if err != nil || holder == "" || l.known[holder] {
		return err
	}
	records, err := readByID(c, []string{holder})
	l.add(records)
	return err
}
