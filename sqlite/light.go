package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// loadLight reads what the changes of a light batch concern.
func loadLight(c *sqlite.Conn, b store.Batch) (l store.Loaded, err error) {
	h, err := readHead(c)
	if err != nil {
		return l, err
	}
	l.Head = h.Head
	if l.Found, err = readByID(c, b.Find); err != nil {
		return l, err
	}
	known := make(map[string]bool, len(l.Found))
	for i := range l.Found {
		known[l.Found[i].ID] = true
	}
	add := func(records []store.Record) {
		for _, r := range records {
			if !known[r.ID] {
				known[r.ID] = true
				l.Found = append(l.Found, r)
			}
		}
	}
	pending, err := readRecords(c, selectPending, nil)
	if err != nil {
		return l, err
	}
	keys := b.Keys
	for i := range pending {
		if pending[i].Waiting() {
			keys = append(keys[:len(keys):len(keys)], pending[i].Waits...)
			add(pending[i : i+1])
		}
	}
	l.Held = make(map[string]string, len(keys))
	for _, key := range keys {
		if _, ok := l.Held[key]; ok {
			continue
		}
		holder := ""
		err := each(c, selectHolder,
			func(stmt *sqlite.Stmt) { stmt.BindText(1, key) },
			func(stmt *sqlite.Stmt) { holder = stmt.ColumnText(0) })
		if err != nil {
			return l, err
		}
		if l.Held[key] = holder; holder != "" && !known[holder] {
			records, err := readByID(c, []string{holder})
			if err != nil {
				return l, err
			}
			add(records)
		}
	}
	return l, nil
}
