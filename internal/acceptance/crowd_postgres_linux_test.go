package acceptance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/pgtest"
)

// TestCrowdOnPostgres: more commands run at once than the database, or a pooler, has connections. A cancel
// reaches one of them, and all end well.
func TestCrowdOnPostgres(t *testing.T) {
	t.Parallel()
	const commands, limit = 60, 40
	binary := buildKapi(t)
	server := pgtest.For(t, pgtest.Options{TCP: true, Settings: map[string]string{"max_connections": fmt.Sprint(limit)}})
	for name, store := range map[string]string{
		"direct":    pgtest.DSN(server.Database(t), server),
		"PgBouncer": fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&default_query_exec_mode=exec", server.Bouncer(t, 5), server.Database(t)),
	} {
		t.Run(name, func(t *testing.T) {
			k := install(t, binary)
			k.store = store
			if _, stderr, code := k.run("ls"); code != 0 {
				t.Fatalf("kapi ls exited with %d: %s", code, stderr)
			}
			all := make([]*process, commands)
			for i := range all {
				all[i] = k.start("run", "--key", fmt.Sprint("k", i), "--release-on-failure", "--", "sh", "-c", "echo $KAPI_ACTION; exec cat")
			}
			var ids []string
			for _, p := range all {
				ids = append(ids, p.line())
				p.gather()
			}
			if _, stderr, code := k.run("cancel", ids[7]); code != 0 {
				t.Errorf("kapi cancel exited with %d: %s", code, stderr)
			}
			if code := all[7].wait(); code == 0 {
				t.Error("the cancelled command ended well")
			}
			for i, p := range all {
				_ = p.stdin.Close()
				if code := p.wait(); i != 7 && code != 0 {
					t.Errorf("command %d exited with %d: %s", i, code, p.stderr)
				}
			}
			if list, _, code := k.run("ls", "--json"); code != 0 || strings.Count(list, `"status"`) != 1 || !strings.Contains(list, ids[7]) {
				t.Errorf("kapi ls exited with %d: %s", code, list)
			}
		})
	}
}
