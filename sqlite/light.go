package sqlite

import (
	"slices"

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
	if l.NoQueue, err = isEmpty(c, selectAnyQueue); err != nil {
		return l.Loaded, err
	}
	for keys := b.Keys; len(keys) > 0; keys = keys[1:] {
		if _, ok := l.Held[keys[0]]; ok {
			continue
		}
		if err := l.lookUp(c, keys[0]); err != nil {
			return l.Loaded, err
		}
		if l.NoQueue {
			continue
		}
		waiting, err := l.waiting(c, keys[0])
		if err != nil {
			return l.Loaded, err
		}
		l.add(waiting)
		for i := range waiting {
			keys = append(keys[:len(keys):len(keys)], waiting[i].Waits...)
		}
	}
	return l.Loaded, nil
}

// waiting reads the records that wait for key and are not known yet.
func (l *lightLoad) waiting(c *sqlite.Conn, key string) (waiting []store.Record, err error) {
	var ids []string
	err = each(c, selectQueue, func(stmt *sqlite.Stmt) { stmt.BindText(1, key) }, func(stmt *sqlite.Stmt) {
		if id := stmt.ColumnText(0); !l.known[id] {
			ids = append(ids, id)
		}
	})
	if err != nil {
		return nil, err
	}
	waiting, err = readByID(c, ids)
	// An older build leaves the rows of an action that has begun or ended.
	return slices.DeleteFunc(waiting, func(r store.Record) bool { return !r.Waiting() }), err
}

// lookUp reads which action holds key, and that action's record.
func (l *lightLoad) lookUp(c *sqlite.Conn, key string) error {
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
