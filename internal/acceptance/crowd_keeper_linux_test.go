package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// Where internal/keep has its locks: for each user and PID namespace there is room for the bytes of some posts,
// and more. The one at the first post is the keeper, the next ones are its deputies.
const (
	firstPost    = 1 << 50
	roomForPosts = 1 << 10
	numberOfPost = 8
)

// posts returns the members that are at posts, by post.
func (c *crowd) posts() map[int64]*member {
	posts := map[int64]*member{}
	if c.wake == "" {
		return posts
	}
	for _, m := range c.members {
		for _, at := range m.locks(c.wake) {
			if post := (at - firstPost) % roomForPosts; at >= firstPost && post < numberOfPost {
				posts[post] = m
			}
		}
	}
	return posts
}

// locks returns the offsets of the locks that the process holds on a file through its open file descriptions.
// Only the kernel's list by descriptor tells who holds those.
func (p *process) locks(file string) (offsets []int64) {
	dir := fmt.Sprintf("/proc/%d/", p.pid())
	descriptors, _ := os.ReadDir(dir + "fd") // it may have ended
	for _, d := range descriptors {
		if name, err := os.Readlink(dir + "fd/" + d.Name()); err != nil || name != file {
			continue
		}
		info, _ := os.ReadFile(dir + "fdinfo/" + d.Name())
		for line := range strings.Lines(string(info)) {
			// lock:	1: OFDLCK ADVISORY  WRITE -1 fe:00:10159497 1128041100033024 1128041100033024
			if f := strings.Fields(line); len(f) == 9 && f[2] == "OFDLCK" {
				at, err := strconv.ParseInt(f[7], 10, 64)
				if err != nil {
					p.t.Fatal(line, err)
				}
				offsets = append(offsets, at)
			}
		}
	}
	return offsets
}

// stop stops the keeper, then its deputy, and so on. Where each peer is a keeper, it stops any.
func (c *crowd) stop(n int) (stopped []*member) {
	if n > 0 && c.wake != "" {
		// Otherwise the last round's keeper may have died, and this one's be stopped, before a death is settled.
		c.await("there is a keeper, and no deputy, and the last round's dead are failed", func() bool {
			posts := c.posts()
			return len(posts) == 1 && posts[0] != nil &&
				!slices.ContainsFunc(c.dying, func(m *member) bool { return m.ends() && !m.settled() })
		})
	}
	for post := range int64(n) {
		kapitest.Eventually(c.t, fmt.Sprint("the process at post ", post, " can be stopped"), func() bool {
			c.refresh()
			m := c.posts()[post]
			if c.wake == "" {
				m = c.members[rand.IntN(len(c.members))]
			}
			if m == nil {
				return false
			}
			m.signal(syscall.SIGSTOP)
			kapitest.Eventually(c.t, "it is stopped", func() bool { return stateOf(m.pid()) == "T" })
			// One that is stopped within a write locks all others out, and one that has just left its post is
			// of no interest.
			if c.wake != "" && (c.posts()[post] != m || c.writes(m)) {
				m.signal(syscall.SIGCONT)
				return false
			}
			stopped = append(stopped, m)
			return true
		}, c.describe)
	}
	return stopped
}

// writes reports whether the process has SQLite's write lock.
func (c *crowd) writes(m *member) bool {
	const writeLock = "120" // its offset in the index of the log
	var index unix.Stat_t
	path := strings.TrimSuffix(c.wake, "-wake") + "-shm"
	if err := unix.Stat(path, &index); err != nil {
		c.t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(locks)) {
		// 1: POSIX  ADVISORY  WRITE 19419 fe:00:10159508 120 120
		f := strings.Fields(line)
		if len(f) == 8 && f[3] == "WRITE" && f[4] == strconv.Itoa(m.pid()) && f[6] == writeLock &&
			strings.HasSuffix(f[5], fmt.Sprint(":", index.Ino)) {
			return true
		}
	}
	return false
}
