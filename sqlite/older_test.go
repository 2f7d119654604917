package sqlite

import (
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestOlderSchema: a store of an older kapi is brought to this version, with all that is in it.
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

// openOlder opens the store of testdata, to which a script was done.
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
	// It is another file than the one that was dumped.
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
