package sqlite

import (
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// A lightLoad is what has been read for a light batch so far.
type lightLoad struct {
	store.Loaded
	known map[string][]string // the ids in Found, and what each waits for
}

func (l *lightLoad) add(records []store.Record) {
	for _, r := range records {
		if _, ok := l.known[r.ID]; !ok {
			l.known[r.ID] = nil
			if r.Waiting() {
				l.known[r.ID] = r.Waits
			}
			l.Found = append(l.Found, r)
		}
	}
}

// loadLight reads what the changes of a light batch concern.
func loadLight(c *sqlite.Conn, b store.Batch) (store.Loaded, error) {
	l := &lightLoad{known: map[string][]string{}}
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
	if l.NoQueue, err = isEmpty(c, selectAnyQueue); err != nil {
		return l.Loaded, err
	}
	for keys := slices.Clone(b.Keys); len(keys) > 0; keys = keys[1:] {
		if _, ok := l.Held[keys[0]]; ok {
			continue
		}
		if err := l.lookUp(c, keys[0]); err != nil {
			return l.Loaded, err
		}
		if l.NoQueue {
			continue
		}
		more, err := l.waiting(c, keys[0])
		if err != nil {
			return l.Loaded, err
		}
		keys = append(keys, more...)
	}
	return l.Loaded, nil
}

// waiting reads the records that wait for key. It returns the other keys for which they wait, if those were not
// looked up.
func (l *lightLoad) waiting(c *sqlite.Conn, key string) (more []string, err error) {
	var ids, unknown []string
	err = each(c, selectQueue, func(stmt *sqlite.Stmt) { stmt.BindText(1, key) }, func(stmt *sqlite.Stmt) {
		id := stmt.ColumnText(0)
		ids = append(ids, id)
		if _, ok := l.known[id]; !ok {
			unknown = append(unknown, id)
		}
	})
	if err != nil {
		return nil, err
	}
	waiting, err := readByID(c, unknown)
	// An older build leaves the rows of an action that has begun or ended.
	l.add(slices.DeleteFunc(waiting, func(r store.Record) bool { return !r.Waiting() }))
	for _, id := range ids {
		for _, key := range l.known[id] {
			if _, looked := l.Held[key]; !looked {
				more = append(more, key)
			}
		}
	}
	return more, err
}

// lookUp reads which action holds key, and that action's record.
func (l *lightLoad) lookUp(c *sqlite.Conn, key string) error {
	holder := ""
	err := each(c, selectHolder,
		func(stmt *sqlite.Stmt) { stmt.BindText(1, key) },
		func(stmt *sqlite.Stmt) { holder = stmt.ColumnText(0) })
	l.Held[key] = holder
	if _, known := l.known[holder]; err != nil || holder == "" || known {
		return err
	}
	records, err := readByID(c, []string{holder})
	l.add(records)
	return err
}
