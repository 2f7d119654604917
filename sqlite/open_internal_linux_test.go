package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// TestNamedPipe: Open gives up on a named pipe, whose opening blocks until a process writes to it.
func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	must(t, syscall.Mkfifo(path, 0o600))
	over := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := inTime(ctx, path, func() (*file, error) {
		defer close(over)
		c, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
		if err == nil {
			err = c.Close()
		}
		return nil, err
	})
	if !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), "is a named pipe") {
		t.Errorf("error: %v", err)
	}
	writer, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for the reader, SQLite
	must(t, err)
	must(t, writer.Close())
	kapitest.Receive(t, over, "the end of opening")
}

// TestOpenedSlowly: Open waits for a slow machine longer than its caller's time.
func TestOpenedSlowly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	f, err := inTime(ctx, path, func() (*file, error) {
		time.Sleep(3 * shortly)
		return openWith(ctx, path, size{readers: readers}, rights{}, mark{})
	})
	if err != nil {
		t.Fatal(err)
	}
	must(t, f.close(t.Context()))
}

// TestOpenedTooLate: a file whose opening succeeds after Open has given up is closed.
func TestOpenedTooLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	goOn, opened := make(chan struct{}), make(chan *file, 1)
	_, err := inTime(ctx, path, func() (*file, error) {
		<-goOn
		f, err := openWith(context.Background(), path, size{readers: readers}, rights{}, mark{})
		opened <- f
		return f, err
	})
	if !errors.Is(err, kapi.ErrUnavailable) {
		t.Errorf("error: %v", err)
	}
	close(goOn)
	if f := kapitest.Receive(t, opened, "the file"); f != nil {
		kapitest.Receive(t, f.shut, "its closing")
	}
}
