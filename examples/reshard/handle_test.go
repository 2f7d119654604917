package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kettubot/kapi"
)

// A fileHandle is an OperationHandle whose checkpoints are files in a folder, so that a process that is killed loses
// none. Each time the folder is opened is an attempt, with a greater fence. The file "progress" has every value that the
// operation reported, and "states" every state.
type fileHandle struct {
	folder string
	fence  uint64
	mu     sync.Mutex
	// permit, unless nil, is called by Proceed with the number of the call, from 1 on.
	permit              func(call int) error
	calls               int
	impacted, recovered int
}

func openHandle(folder string) (*fileHandle, error) {
	h := &fileHandle{folder: folder, fence: 1}
	if _, err := h.Load("fence", &h.fence); err != nil {
		return nil, err
	}
	h.fence++
	return h, h.Save("fence", h.fence)
}

// newHandle opens a folder for one test.
func newHandle(t *testing.T, folder string) *fileHandle {
	t.Helper()
	h, err := openHandle(folder)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *fileHandle) ID() string               { return "an-action" }
func (h *fileHandle) Origin() string           { return h.ID() }
func (h *fileHandle) Fence() uint64            { return h.fence }
func (h *fileHandle) Attempt() int             { return int(h.fence) - 1 }
func (h *fileHandle) Action() kapi.Action      { return kapi.Action{ID: h.ID()} }
func (h *fileHandle) Dismissed() []kapi.Action { return nil }
func (h *fileHandle) SetProgress(p float64)    { h.appendLine("progress", fmt.Sprint(p)) }
func (h *fileHandle) ResetProgress()           { h.appendLine("progress", "0") }
func (h *fileHandle) SetState(s string)        { h.appendLine("states", s) }
func (h *fileHandle) SetExitCode(int)          {}
func (h *fileHandle) NoCancel(string) error    { return nil }

func (h *fileHandle) Impacted(reason string) error {
	h.appendLine("states", "impacted: "+reason)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.impacted++
	return nil
}

func (h *fileHandle) Recovered() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recovered++
	return nil
}

func (h *fileHandle) Checkpoint(v any) error      { return h.Save("checkpoint", v) }
func (h *fileHandle) Restore(v any) (bool, error) { return h.Load("checkpoint", v) }

func (h *fileHandle) Proceed(ctx context.Context) error {
	if h.calls++; h.permit != nil {
		if err := h.permit(h.calls); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// Save writes a new file, syncs it and its folder, and gives it the name of the old one.
func (h *fileHandle) Save(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(h.folder, name)
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	folder, err := os.Open(h.folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func (h *fileHandle) Load(name string, v any) (bool, error) {
	data, err := os.ReadFile(filepath.Join(h.folder, name))
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return true, d.Decode(v)
}

func (h *fileHandle) appendLine(name, line string) {
	if err := appendLine(filepath.Join(h.folder, name), line); err != nil {
		panic(err)
	}
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	return err
}

// lines returns the lines of a file of the folder.
func lines(t *testing.T, folder, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}
