package sqlite

import (
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestOlderSchema: an older kapi's store is migrated, and keeps its content.
func TestOlderSchema(t *testing.T) {
	for name, more := range map[string]string{
		"version 3": "",
		"between versions": `ALTER TABLE head ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
			ALTER TABLE head ADD COLUMN min_report INTEGER NOT NULL DEFAULT 1;
			ALTER TABLE head ADD COLUMN min_start INTEGER NOT NULL DEFAULT 1;`,
	} {
		t.Run(name, func(t *testing.T) { openOlder(t, more) })
	}
}

// openOlder opens the store of testdata after running a script on it, and checks its content.
func openOlder(t *testing.T, more string) {
	path := newPath(t)
	c := rawConn(t, path)
	if err := sqlitex.ExecuteScript(c, string(readFile(t, "testdata/schema3.sql"))+more, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s := openFor(t, path)
	snapshot, err := s.Snapshot(kapitest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	// This is not the file that was dumped, so its history is new.
	if snapshot.Epoch == "gileyniopckcxwjam6od2y74fw" || snapshot.Seq != 3+store.Ahead {
		t.Errorf("the head is %v, want a new epoch ahead of seq 3", snapshot.Head)
	}
	statuses := map[string]kapi.Status{}
	var runners []string
	for _, r := range snapshot.Records {
		statuses[r.Title] = r.Status
		runners = append(runners, r.Runner.ID)
	}
	if len(statuses) != 2 || statuses["Backup"] != kapi.StatusRunning || statuses["Import"] != kapi.StatusFailed {
		t.Errorf("it has %v", statuses)
	}
	if known, err := s.Runners(kapitest.Within(t), runners); err != nil || len(known) != 2 || known[0].Work != "" {
		t.Errorf("its runners: %v (error: %v)", known, err)
	}
	if tokens, err := s.Tokens(kapitest.Within(t)); err != nil || len(tokens) != 1 || tokens[0].Session {
		t.Errorf("its tokens: %v (error: %v)", tokens, err)
	}
	mustInsert(t, s, "a")
	wantSame(t, headOf(t, openFor(t, path)), headOf(t, s))
}

// If an older kapi changes a row without updating what it waits for, the old value is ignored.
func TestWaitsForOfAnOlderKapi(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	waiting := store.Record{
		Action: kapi.Action{Seq: 1, ID: "a", Title: "a", Keys: []string{}, WaitsFor: &kapi.WaitsFor{Key: "k", Action: "b", Title: "Backup"}},
		Fence:  1, Ticket: 1, Waits: []string{"k"},
	}
	err := s.Commit(kapitest.Within(t), store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		waiting.Seq = l.Seq + 1
		return store.Writes{Head: waiting.Seq, Insert: []store.Record{waiting}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func() *kapi.WaitsFor {
		t.Helper()
		snapshot, err := s.Snapshot(kapitest.Within(t))
		if err != nil || len(snapshot.Records) != 1 {
			t.Fatalf("%d records, %v", len(snapshot.Records), err)
		}
		return snapshot.Records[0].WaitsFor
	}
	if w := read(); w == nil || *w != *waiting.WaitsFor {
		t.Errorf("it waits for %+v", w)
	}
	script(t, path, "UPDATE head SET seq = seq + 1", "UPDATE actions SET seq = (SELECT seq FROM head), keys = 'k', waits = ''")
	if w := read(); w != nil {
		t.Errorf("it still waits for %+v", w)
	}
}
