package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// workAtOnce is the limit of the operation "limited".
const workAtOnce = 3

// limited returns the operation "limited". Each run holds a lock of its action, and one of as many locks as there may
// be runs; the kernel takes them from a process that dies. A run that can't have both adds to the file excess. A run ends
// when the folder has a file that is named like its action: with the file's text as the error, if there is any.
func limited(folder string) kapi.Definition {
	return kapi.Definition{
		Name: "limited", Title: "Limited", Limit: workAtOnce, Resume: &kapi.Resume{Takeovers: 1000},
		Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			end := filepath.Join(folder, h.ID())
			own, place := lockOf(end+".lock"), lockOne(folder)
			defer unlock(own, place)
			if own == nil || place == nil {
				return note(filepath.Join(folder, "excess"), fmt.Sprintf("%s at fence %d: own lock %v, place %v\n", h.ID(), h.Fence(), own, place))
			}
			for {
				if err := h.Proceed(ctx); err != nil {
					return err
				}
				text, err := os.ReadFile(end)
				switch {
				case err == nil && len(text) > 0:
					return errors.New(string(text))
				case err == nil:
					return nil
				}
				<-time.After(copyPause)
			}
		},
	}
}

// lockOne takes one of the locks that say how many work at once. It returns nil if all are held.
func lockOne(folder string) *os.File {
	for i := range workAtOnce {
		if f := lockOf(placeOf(folder, i)); f != nil {
			return f
		}
	}
	return nil
}

// lockOf locks a file. It returns nil if another process, or another run of this one, holds the lock.
func lockOf(path string) *os.File {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil && unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}) == nil {
		return f
	}
	unlock(f)
	return nil
}

// held counts the locks of lockOne that are held. It takes none: a run that begins may need it.
func held(t *testing.T, folder string) (n int) {
	t.Helper()
	for i := range workAtOnce {
		f, err := os.OpenFile(placeOf(folder, i), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
			t.Fatal(err)
		}
		unlock(f)
		if lock.Type != unix.F_UNLCK {
			n++
		}
	}
	return n
}

func placeOf(folder string, i int) string { return filepath.Join(folder, fmt.Sprint("place", i)) }

func unlock(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func note(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// limitedMain takes a store and a folder. It offers the operation "limited" until it gets SIGTERM.
func limitedMain(args []string) error {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	store, err := openStore(args[0])
	if err != nil {
		return err
	}
	p, err := peer.Open(context.Background(), store, peer.Options{Logger: quiet(), Operations: []kapi.Definition{limited(args[1])}})
	if err != nil {
		return err
	}
	fmt.Println("offers")
	<-terms
	return p.Close()
}

// A workshop is several processes that offer the operation "limited".
type workshop struct {
	t       *testing.T
	place   string // the store
	folder  string
	workers []*process
	admin   *peer.Peer
}

func (w *workshop) worker() *process {
	w.t.Helper()
	p := role(w.t, "limited", []string{w.place, w.folder})
	if line := p.line(); line != "offers" {
		w.t.Fatalf("a worker said %q: %s", line, p.stderr)
	}
	return p
}

// list returns the actions that have not failed, and dismisses those that have.
func (w *workshop) list() (ongoing []kapi.Action) {
	w.t.Helper()
	all, err := w.admin.List(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range all {
		if a.Status != kapi.StatusFailed {
			ongoing = append(ongoing, a)
			continue
		}
		if _, err := w.admin.Dismiss(w.t.Context(), a.ID, "ann"); errors.Is(err, kapi.ErrUnavailable) {
			w.t.Fatal(err)
		}
	}
	return ongoing
}

// start starts actions until there are more than may work at once.
func (w *workshop) start() {
	w.t.Helper()
	for range 2*workAtOnce - len(w.list()) {
		if _, err := w.admin.StartOperation(w.t.Context(), "limited", nil, kapi.StartOptions{Wait: time.Hour}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// upset kills a worker, or does something to an action.
func (w *workshop) upset() {
	w.t.Helper()
	ongoing := w.list()
	if len(ongoing) == 0 || rand.IntN(3) == 0 {
		i := rand.IntN(len(w.workers))
		w.workers[i].kill()
		w.workers[i] = w.worker()
		return
	}
	var err error
	id := ongoing[rand.IntN(len(ongoing))].ID
	switch rand.IntN(5) {
	case 0:
		_, err = w.admin.Cancel(w.t.Context(), id, "ann")
	case 1:
		_, err = w.admin.Pause(w.t.Context(), id, "ann")
	case 2:
		_, err = w.admin.Unpause(w.t.Context(), id, "ann")
	case 3:
		err = os.WriteFile(filepath.Join(w.folder, id), nil, 0o600)
	case 4:
		err = os.WriteFile(filepath.Join(w.folder, id), []byte("no more"), 0o600)
	}
	var closed *os.PathError
	if errors.Is(err, kapi.ErrUnavailable) || errors.As(err, &closed) {
		w.t.Fatal(err)
	}
}

// settled says what is wrong if the turns in use are not those of live work, or a turn is free that an action waits for.
func (w *workshop) settled() string {
	w.t.Helper()
	ongoing := w.list()
	working, used := 0, 0
	for _, a := range ongoing {
		switch _, err := os.Stat(filepath.Join(w.folder, a.ID)); {
		case a.Status == kapi.StatusPending && a.WaitsFor != nil:
			continue
		case a.PausedBy == "" && (a.Runner == nil || err == nil):
			return fmt.Sprintf("is to work, or to end: %+v", a)
		case a.Status != kapi.StatusPending && a.Runner != nil:
			working++
		}
		used++
	}
	if want := min(workAtOnce, len(ongoing)); used != want {
		return fmt.Sprintf("%d of %d turns are in use: %+v", used, want, ongoing)
	}
	if live := held(w.t, w.folder); live != working {
		return fmt.Sprintf("%d are at work, and %d are listed: %+v", live, working, ongoing)
	}
	return ""
}

// TestLimit: whatever is killed, cancelled, paused or fails, no more actions work at once than may, none has two runners,
// and whenever it is quiet the turns in use are those of live work.
func TestLimit(t *testing.T) {
	events := 40
	if isSoak() {
		events = 1000
	}
	onEachStore(t, func(t *testing.T, place string) {
		w := &workshop{t: t, place: place, folder: t.TempDir(), admin: openPeer(t, place)}
		for range 3 {
			w.workers = append(w.workers, w.worker())
		}
		for n := range events {
			if n%4 == 0 {
				w.start()
			}
			<-time.After(rand.N(50 * time.Millisecond))
			w.upset()
			if n%4 == 3 {
				wrong := ""
				kapitest.Eventually(t, "it is settled", func() bool { wrong = w.settled(); return wrong == "" }, func() string { return wrong })
			}
		}
		if text, err := os.ReadFile(filepath.Join(w.folder, "excess")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s, %v", text, err)
		}
	})
}
