package pgtest

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kill ends the server and its children as a power cut would, and waits until they are gone: its shared
// memory exists as long as any of them, and a new server would refuse to start.
func (s *Server) Kill() {
	_ = s.cmd.Process.Signal(syscall.SIGSTOP) // so that it starts no more children
	all := append(children(s.PID()), s.PID())
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.ended
	for end := time.Now().Add(deadline); slices.ContainsFunc(all, alive) && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func children(parent int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		stat, _ := os.ReadFile(path)
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// Halt stops the server the way an admin does without waiting for its clients.
func (s *Server) Halt() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	<-s.ended
}

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	if s.ended != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.ended
	}
	s.remove()
}

func (s *Server) remove() {
	for end := time.Now().Add(deadline); ; time.Sleep(5 * time.Millisecond) { // children may still be writing
		if err := os.RemoveAll(s.folder); err == nil || errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			return
		}
	}
}
