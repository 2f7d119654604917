package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/kettubot/kapi/internal/store"
)

// ofCrash returns the checkpoint that a process saves, as the nth, before it dies.
func ofCrash(n int) store.Saved {
	return store.Saved{Action: "a", Version: n, Data: fmt.Appendf(nil, "[%d%s]", n, bytes.Repeat([]byte(", 7"), 8000))}
}

// SaveAndDie saves a checkpoint and kills this process in the moment in which the commit returns. So it only returns
// an error.
func SaveAndDie(s store.Store, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	err = s.Commit(ctx, store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		return store.Writes{Head: l.Seq, Saved: []store.Saved{ofCrash(n)}}, nil
	})
	if err == nil {
		err = self.Kill()
	}
	return errors.Join(errors.New("the process lives"), err)
}

// Kills checks that no checkpoint is lost when the process that has saved it is killed. command returns a process that
// calls SaveAndDie on the store that open opens. Some handles are opened before the process dies, some afterwards.
func Kills(t *testing.T, open func() store.Store, command func(n int) *exec.Cmd) {
	times := 20
	if os.Getenv("KAPI_SOAK") != "" {
		times = 1000
	}
	first := open()
	insert(t, first, bare("a"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= times && !t.Failed(); n++ {
		var s store.Store
		if n%2 == 0 {
			s = open()
		}
		cmd := command(n)
		said, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Errorf("the process was not killed: %v; it says: %s", err, said)
		}
		if s == nil {
			s = open()
		}
		wantSaved(t, s, "a", ofCrash(n))
		wantMarks(t, s, map[string]store.CheckpointMark{"a": {Saves: uint64(n), Version: n}}, "a")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
