package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A crowd is many kapi run on one store. Some have a key of their own, the others share a few and wait for them.
type crowd struct {
	*installation
	direct store.Store // read directly, without a peer
	seq    uint64
	blow   blow
	size   int
	marks  string                     // has a file for each key
	wake   string                     // the file with the keeper's lock, "" if there is no keeper
	born   int                        // how many were started
	silent int                        // how many were marked as silent while they lived
	took   map[string][]time.Duration // until a dead one's action was failed, by blow

	members []*member // those that are expected to live
	dying   []*member // those that were killed, and may have left something
	byTitle map[string]*member
}

// A member is one kapi run of a crowd.
type member struct {
	*process
	crowd      *crowd
	slot       int // members that succeed each other have the same, and with it the same key and flags
	title, key string
	// releases, keepsRunning and waits are flags.
	releases, keepsRunning, waits bool
	// trapped: its command notes a SIGTERM, and doesn't end.
	trapped bool

	record store.Record
	place  uint64 // in the queue
	began  bool   // its command has
	ending ending
	// together: its command is killed with it.
	together bool
	children []int     // when it was killed
	since    time.Time // when it or, later, its orphan was made to end
	// orphanEnds: its command was made to end.
	orphanEnds bool
	blow       blow // in that round
	// twice: the peer that asks its command to end may be killed before it has noted that.
	twice bool
}

// An ending is how the test ends a member.
type ending string

const (
	none           ending = ""
	killed         ending = "killed"
	leaves         ending = "leaves"    // its command exits with 0
	dismissedLater ending = "dismissed" // after it was killed
	withdraws      ending = "withdraws" // it stops waiting
)

// crowdScript takes a file for its key. It marks there that it has the key, and says so if another process
// marks the same. It ends with its standard input.
const crowdScript = `
exec 9>>"$1"
flock -n 9 && mark=began || mark=clash
echo "$mark $KAPI_ACTION $KAPI_FENCE" >&9
[ -z "$2" ] || trap 'asked=1; echo "TERM $KAPI_ACTION $KAPI_FENCE" >&9' TERM
echo began
exec >/dev/null 2>&1
until read -r line; do
	[ "$asked" ] || break
	asked=
done
exit 0`

func newCrowd(t *testing.T, place string, size int) *crowd {
	c := &crowd{
		installation: install(t, buildKapi(t)), size: size, marks: t.TempDir(),
		took: map[string][]time.Duration{}, byTitle: map[string]*member{},
	}
	c.store = place
	if _, stderr, code := c.run("ls"); code != 0 { // makes the store
		t.Fatal(code, stderr)
	}
	direct, err := openStore(place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close() })
	c.direct = direct
	if path, ok := strings.CutPrefix(place, "sqlite:"); ok {
		c.wake = path + "-wake"
	}
	c.fillUp()
	return c
}

// fillUp starts a member for each slot that has none.
func (c *crowd) fillUp() {
	taken := map[int]bool{}
	for _, m := range slices.Concat(c.members, c.dying) {
		taken[m.slot] = true
	}
	for slot := range c.size {
		if !taken[slot] {
			c.add(slot)
		}
	}
}

func (c *crowd) add(slot int) {
	m := &member{crowd: c, slot: slot, title: fmt.Sprint("Member ", c.born)}
	c.born++
	args := []string{"--title", m.title}
	if own := c.size * 6 / 10; slot < own {
		m.key = fmt.Sprint("own", slot)
		m.releases, m.keepsRunning, m.trapped = slot%4 == 1, slot%4 == 2, slot%4 == 3
	} else {
		shared := slot % max(2, c.size/12)
		m.key, m.waits = fmt.Sprint("shared", shared), true
		m.releases, m.keepsRunning = shared%2 == 0, slot%5 == 0
		args = append(args, "--wait")
	}
	if m.releases {
		args = append(args, "--release-on-failure")
	}
	if m.keepsRunning {
		args = append(args, "--leave-running")
	}
	trap := ""
	if m.trapped {
		trap = "trap"
	}
	args = append(args, "--key", m.key, "--", "sh", "-c", crowdScript, "sh", m.marks(), trap)
	cmd := c.command("run", args...)
	// As cron does, which is what starts crowds. In one session, an orphan of one that lacks the secret of another
	// might be the other's.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	m.process = start(c.t, cmd)
	c.members = append(c.members, m)
	c.byTitle[m.title] = m
}

func (m *member) marks() string { return filepath.Join(m.crowd.marks, m.key) }

// count counts the marks of one kind that the member's command has made.
func (m *member) count(kind string) int {
	content, err := os.ReadFile(m.marks())
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Count(string(content), kind+" "+m.record.ID+" ")
}

// running reports whether the member has begun and is not marked as silent.
func (m *member) running() bool {
	return m.record.Status == kapi.StatusRunning && m.record.Silence == ""
}

// settled reports whether it is known that nothing is left of the member.
func (m *member) settled() bool {
	return m.record.Status == kapi.StatusFailed || m.record.ID != "" && !m.record.Status.Ongoing()
}

// noticed reports whether it is known that the member is dead.
func (m *member) noticed() bool {
	return m.settled() || m.record.Silence != "" && (!m.stays() || m.keepsRunning || m.count("TERM") > 0)
}

// stays reports whether the member's command, if it has begun, goes on when the member is killed and its
// command is asked to end.
func (m *member) stays() bool { return m.began && !m.together && (m.keepsRunning || m.trapped) }

// ends reports whether the command of a member that was killed is to end without the test.
func (m *member) ends() bool { return !m.stays() || m.orphanEnds }

// leave lets the member's command end.
func (m *member) leave() {
	m.ending = leaves
	_ = m.stdin.Close()
}

// die kills the member, and its command if they are to die together.
func (m *member) die() {
	m.children = descendants(m.t, m.pid())
	m.ending, m.since, m.blow, m.twice = killed, time.Now(), m.crowd.blow, m.crowd.blow.late
	m.signal(syscall.SIGKILL)
	if m.together {
		for _, pid := range m.children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// endOrphan ends the command of a member that was killed.
func (m *member) endOrphan() {
	if !m.ends() {
		m.orphanEnds, m.since, m.blow = true, time.Now(), m.crowd.blow
	}
	_ = m.stdin.Close()
}

// orphan returns a living process of the member's command, 0 if there is none.
func (m *member) orphan() int {
	for _, pid := range m.children {
		if state := stateOf(pid); state != "" && state != "Z" && state != "X" && programOf(pid) == "sh" {
			return pid
		}
	}
	return 0
}

// stateOf returns the state of a process, as in proc(5), "" if it doesn't exist.
func stateOf(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

// fault says what is wrong with the member's newest record, given the previous one. It returns "" if nothing is.
func (m *member) fault(was *store.Record) string {
	r := &m.record
	begun := was.ID != "" && was.Status != kapi.StatusPending
	switch {
	case was.ID != "" && was.ID != r.ID:
		return "has another action"
	case begun && r.Fence != was.Fence:
		return "has another fence"
	case begun && r.Status < was.Status, begun && was.Status != kapi.StatusRunning && r.Status == was.Status:
		return "changed again"
	}
	switch r.Status {
	case kapi.StatusPending:
		return ""
	case kapi.StatusRunning:
		return m.faultOfSilence()
	case kapi.StatusFailed:
		return m.faultOfFailure()
	case kapi.StatusAborted:
		if m.ending == dismissedLater && was.Status == kapi.StatusFailed || (m.ending == killed || m.ending == withdraws) && !begun {
			return ""
		}
	case kapi.StatusCompleted:
		if m.ending == leaves {
			return ""
		}
	}
	return "should not have done that"
}

// faultOfSilence checks why the member's action is shown as impacted, if it is.
func (m *member) faultOfSilence() string {
	dead := fmt.Sprintf("its runner (process %d on %s) is gone; ", m.pid(), m.record.Runner.Host)
	switch said := m.record.Silence; {
	case said == "", m.ending == killed && strings.HasPrefix(said, dead) && strings.Contains(said, "still running"): // not "may still be"
		return ""
	case m.ending != killed && strings.HasPrefix(said, "no word from "): // on a busy machine, or while it is stopped
		return ""
	}
	return "is impacted without reason"
}

// faultOfFailure checks the failure of the member's action.
func (m *member) faultOfFailure() string {
	r := &m.record
	held := []string{m.key}
	if m.releases {
		held = nil
	}
	switch {
	case m.ending != killed:
		return "was not killed, and failed"
	case r.NotProvenDead:
		return "is not proven dead"
	case !strings.HasPrefix(r.State, fmt.Sprintf("its runner died: process %d on %s is gone", m.pid(), r.Runner.Host)):
		return "failed for another reason"
	case !slices.Equal(r.Keys, held):
		return fmt.Sprintf("should hold the keys %q", held)
	}
	return ""
}
