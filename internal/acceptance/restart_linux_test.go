package acceptance

import (
	"regexp"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
)

// TestRestart stops the database as an admin would, or kills it, and restarts it. Running commands
// continue, their reports and ends are recorded afterwards, starts wait or are refused, and watchers
// miss nothing.
func TestRestart(t *testing.T) {
	t.Parallel()
	binary := buildKapi(t)
	server := pgtest.For(t, pgtest.Options{Durable: true, TCP: true, Settings: map[string]string{"max_connections": "60"}})
	for _, how := range []struct {
		title string
		down  func()
	}{{"stopped", server.Halt}, {"killed", server.Kill}} {
		r := &restart{installation: install(t, binary), server: server, title: how.title, down: how.down}
		r.store = pgtest.DSN("postgres", server)
		r.play()
	}
}

// A restart is a restart of the database while a command runs.
type restart struct {
	*installation
	server *pgtest.Server
	title  string // of the command
	down   func()

	watch *process  // kapi watch
	seen  *follower // a client of the gateway
}

func (r *restart) play() {
	r.t.Helper()
	r.serve()
	r.seen = follow(r.t, r.installation)
	r.watch = r.start("watch", "--json")
	run := r.start("run", append([]string{"--key", "k", "--title", r.title, "--"}, echoer...)...)
	run.gather()
	run.say("25")
	r.seen.await(r.title, "running", atProgress(0.25))
	for !atProgress(0.25)(r.action(r.watch.line())) { // watch has begun, too
	}

	r.down()
	run.say("50")
	r.refused()
	patient := r.start("run", "--store-timeout", "1m", "--title", "patient "+r.title, "--", "echo", "it runs")
	r.up()
	if line := patient.line(); line != "it runs" {
		r.t.Errorf("a start that waits printed %q", line)
	}
	if code := patient.wait(); code != 0 {
		r.t.Errorf("a start that waits exited with %d: %s", code, patient.stderr)
	}
	r.seen.await("patient "+r.title, "at its end", inStatus(kapi.StatusCompleted))
	r.seen.await(r.title, "still running", atProgress(0.5))
	for !atProgress(0.5)(r.action(r.watch.line())) { // watch has reconnected, too
	}

	r.down()
	_ = run.stdin.Close()
	kapitest.Eventually(r.t, "kapi run says that it can't record the end yet", func() bool {
		return strings.Contains(run.stderr.String(), "can't be recorded yet")
	})
	r.up()
	if code := run.wait(); code != 3 {
		r.t.Errorf("kapi run exited with %d: %s", code, run.stderr)
	}
	r.ended()
}

func (r *restart) up() {
	r.t.Helper()
	if err := r.server.Start(); err != nil {
		r.t.Fatal(err)
	}
}

// refused checks the message of a start that doesn't wait long.
func (r *restart) refused() {
	r.t.Helper()
	stdout, stderr, code := r.run("run", "--store-timeout", "300ms", "--", "echo", "started")
	want := regexp.MustCompile(`^kapi: store postgres://127\.0\.0\.1:\d+/postgres: store not available: [^\n]*connection refused[^\n]*\n$`)
	if code != 69 || stdout != "" || !want.MatchString(stderr) {
		r.t.Errorf("without a database a start exited with %d and wrote %q and %q", code, stdout, stderr)
	}
}

// ended checks that every watcher was told of the end, and missed nothing.
func (r *restart) ended() {
	r.t.Helper()
	a := r.seen.await(r.title, "failed", inStatus(kapi.StatusFailed))
	if a.ExitCode == nil || *a.ExitCode != 3 {
		r.t.Errorf("the action ended as %+v", a)
	}
	// Whoever was away during the outage gets only the newest state, so the dismissal waits until watch
	// is back.
	statuses := r.statusesUntil(a.ID, kapi.StatusFailed)
	if _, stderr, code := r.installation.run("dismiss", a.ID); code != 0 {
		r.t.Errorf("kapi dismiss exited with %d: %s", code, stderr)
	}
	r.seen.await(r.title, "dismissed", inStatus(kapi.StatusAborted))
	if n := r.seen.gapsSeen(); n > 0 {
		r.t.Errorf("the gateway's client missed something %d times", n)
	}
	statuses = append(statuses, r.statusesUntil(a.ID, kapi.StatusAborted)...)
	if len(statuses) != 2 {
		r.t.Errorf("kapi watch showed the statuses %v, want failed and aborted", statuses)
	}
	r.watch.kill()
}

// statusesUntil returns the statuses that kapi watch shows for an action, up to last.
func (r *restart) statusesUntil(id string, last kapi.Status) (statuses []kapi.Status) {
	r.t.Helper()
	for statuses == nil || statuses[len(statuses)-1] != last {
		if a := r.action(r.watch.line()); a.ID == id && (statuses == nil || statuses[len(statuses)-1] != a.Status) {
			statuses = append(statuses, a.Status)
		}
	}
	return statuses
}

// TestRestartUnderLoad kills and restarts the database repeatedly while many processes make changes.
// Nothing acknowledged is missing, in the same epoch.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	server := pgtest.For(t, pgtest.Options{Durable: true, TCP: true, Settings: map[string]string{"max_connections": "60"}})
	for range rounds(1, 25) {
		l := startLoad(t, pgtest.DSN("postgres", server), "200ms", "5s", "1m")
		for _, stop := range []func(){server.Kill, server.Halt, server.Kill} {
			l.await(30)
			stop()
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
		}
		l.await(30)
		if now := l.now(); now.Epoch != l.head.Epoch {
			t.Error("another epoch has begun")
		}
		l.end()
		if t.Failed() {
			return
		}
	}
}
