package proc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// procfs is the root of a mounted proc(5), or in tests of a copy of one.
type procfs string

// pids lists the entries whose names are numbers, in ascending order.
func (p procfs) pids() ([]int, error) {
	d, err := os.Open(string(p))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// stat has the fields of proc_pid_stat(5) that are needed.
type stat struct {
	pid     int
	name    string // comm
	state   byte
	parent  int // ppid
	group   int // pgrp
	session int
	flags   uint64
	threads int    // num_threads
	start   uint64 // starttime
	// bare is true if it shows no place where its environment is (env_end).
	bare bool
}

// dead reports whether the process has ended and only waits to be reaped.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// kernel reports whether it is a kernel thread (PF_KTHREAD), which has no environment.
func (s stat) kernel() bool { return s.flags&0x00200000 != 0 }

func (s stat) ref() Ref { return Ref{s.pid, s.start} }

func (p procfs) stat(pid int) (stat, error) {
	line, err := os.ReadFile(p.path(strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(line))
}

// parseStat parses a stat file. The name is between the first and the last
// parenthesis, and may itself contain blanks, newlines and parentheses.
func parseStat(line string) (stat, error) {
	before, _, _ := strings.Cut(line, " (")
	open, end := len(before)+2, strings.LastIndex(line, ") ")
	if end < open {
		return stat{}, fmt.Errorf("process status %q: no name in it", line)
	}
	// Field 3, the state, is the first of these.
	fields := strings.Fields(line[end+2:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("process status %q: too short", line)
	}
	var failed error
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		failed = cmp.Or(failed, err)
		return n
	}
	st := stat{
		pid: number(before), name: line[open:end], state: fields[0][0],
		parent: number(fields[4-3]), group: number(fields[5-3]), session: number(fields[6-3]),
		threads: number(fields[20-3]),
	}
	if len(fields) > 51-3 {
		st.bare = fields[51-3] == "0"
	}
	var err1, err2 error
	st.flags, err1 = strconv.ParseUint(fields[9-3], 10, 64)
	st.start, err2 = strconv.ParseUint(fields[22-3], 10, 64)
	if err := cmp.Or(failed, err1, err2); err != nil {
		return stat{}, fmt.Errorf("process status %q: %w", line, err)
	}
	return st, nil
}

// missing reports whether err means that the process ended before its file was opened or
// read.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

func (p procfs) path(elem ...string) string {
	return filepath.Join(append([]string{string(p)}, elem...)...)
}
