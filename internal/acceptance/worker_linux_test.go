package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// An event is what a worker reports to the test, after the call concerned has returned.
type event struct {
	What what   `json:"what"`
	ID   string `json:"id,omitempty"`
	// Seq is that of the change, if the call returns it; for a start it is the fence.
	Seq     uint64   `json:"seq,omitempty"`
	Keys    []string `json:"keys,omitempty"`
	Release bool     `json:"release,omitempty"`
	// Steps is how many reports the operation will make, Step the number of this one.
	Steps  int         `json:"steps,omitempty"`
	Step   int         `json:"step,omitempty"`
	Status kapi.Status `json:"status,omitempty"`
	Text   string      `json:"text,omitempty"`
}

type what string

const (
	started   what = "started"
	reported  what = "reported"
	ended     what = "ended"
	dismissed what = "dismissed"
	refused   what = "refused"   // action ID holds Keys[0]
	inherited what = "inherited" // a key of action ID, which died and was to keep it, by the action with fence Seq
	violation what = "violation"
)

var crashKeys = []string{"deploy", "backup", "reshard", "audit", "migrate"}

const (
	lanes = 2
	// afterRefusal is the pause after a refused start.
	afterRefusal = 5 * time.Millisecond
)

var errBoom = errors.New("boom")

// A worker starts, reports on and ends actions with shared keys until its standard input ends.
type worker struct {
	peer      *peer.Peer
	witnesses string
	// outages: the store may be unavailable at times. Starts are then refused; everything else is
	// retried.
	outages bool

	mu  sync.Mutex
	out *json.Encoder
}

// workerMain takes the store, the folder of the witnesses and, if the store may be unavailable, how
// long to wait for it.
func workerMain(args []string) error {
	w := &worker{witnesses: args[1], outages: len(args) > 2, out: json.NewEncoder(os.Stdout)}
	options := peer.Options{Logger: quiet()}
	var err error
	if w.outages {
		if options.StoreTimeout, err = time.ParseDuration(args[2]); err != nil {
			return err
		}
	}
	store, err := openStore(args[0])
	if err != nil {
		return err
	}
	if w.peer, err = peer.Open(context.Background(), store, options); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range lanes {
		all.Go(func() {
			for ctx.Err() == nil {
				w.work(ctx)
			}
		})
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	cancel()
	all.Wait()
	return errors.Join(err, w.peer.Close())
}

func (w *worker) emit(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.out.Encode(e); err != nil { // one write
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (w *worker) violated(format string, args ...any) {
	w.emit(event{What: violation, Text: fmt.Sprintf(format, args...)})
}

// A job is one operation of a worker.
type job struct {
	worker *worker
	spec   kapi.Spec
	steps  int
	fails  bool
}

// work makes one action, from its start to its end.
func (w *worker) work(ctx context.Context) {
	j := &job{worker: w, steps: rand.IntN(3), fails: rand.IntN(4) == 0}
	j.spec = kapi.Spec{
		Title: "Crash test", ReleaseOnFailure: rand.IntN(4) == 0, DismissFailed: rand.IntN(3) == 0,
	}
	for _, i := range rand.Perm(len(crashKeys))[:1+rand.IntN(2)] {
		j.spec.Keys = append(j.spec.Keys, crashKeys[i])
	}
	id, status, err := "", kapi.StatusFailed, error(nil)
	if rand.IntN(2) == 0 {
		id, status, err = j.do()
	} else {
		id, status, err = j.start()
	}
	var held *kapi.HeldError
	switch {
	case errors.As(err, &held):
		w.emit(event{What: refused, ID: held.Holder.ID, Keys: []string{held.Key}})
		select {
		case <-time.After(afterRefusal):
		case <-ctx.Done():
		}
	case id == "" && w.isOutage(err):
		<-time.After(afterRefusal)
	case err != nil:
		w.violated("%v", err)
	default:
		w.settle(id, status, j.spec)
	}
}

func (w *worker) isOutage(err error) bool { return w.outages && errors.Is(err, kapi.ErrUnavailable) }

// insist repeats f while the store is unavailable.
func (w *worker) insist(f func() error) error {
	for {
		if err := f(); !w.isOutage(err) {
			return err
		}
		<-time.After(afterRefusal)
	}
}

// do uses Peer.Do, which returns when the end is on disk.
func (j *job) do() (id string, status kapi.Status, err error) {
	err = j.worker.peer.Do(context.Background(), j.spec, func(_ context.Context, h kapi.Handle) error {
		id = h.ID()
		j.emitStart(id, h.Fence())
		return j.run(h)
	})
	if errors.Is(err, errBoom) {
		return id, kapi.StatusFailed, nil
	}
	return id, kapi.StatusCompleted, err
}

// start uses Peer.Start, and reads how it ended.
func (j *job) start() (id string, status kapi.Status, err error) {
	done := make(chan struct{})
	a, err := j.worker.peer.Start(context.Background(), j.spec, func(_ context.Context, h kapi.Handle) error {
		defer close(done)
		return j.run(h)
	})
	if err != nil {
		return "", 0, err
	}
	j.emitStart(a.ID, a.Seq)
	<-done
	for {
		now, err := j.worker.get(a.ID)
		switch {
		case errors.Is(err, kapi.ErrUnknown) && j.fails:
			return a.ID, kapi.StatusAborted, nil // somebody has dismissed it already
		case errors.Is(err, kapi.ErrUnknown):
			return a.ID, kapi.StatusCompleted, nil
		case err != nil:
			return a.ID, 0, err
		case now.Status == kapi.StatusFailed:
			return a.ID, kapi.StatusFailed, nil
		}
		<-time.After(time.Millisecond)
	}
}

func (w *worker) get(id string) (a kapi.Action, err error) {
	err = w.insist(func() error {
		a, err = w.peer.Get(context.Background(), id)
		return err
	})
	return a, err
}

func (j *job) emitStart(id string, fence uint64) {
	j.worker.emit(event{
		What: started, ID: id, Seq: fence, Keys: j.spec.Keys, Release: j.spec.ReleaseOnFailure, Steps: j.steps,
	})
}

// run is the operation: it holds the witnesses of its keys, and reports.
func (j *job) run(h kapi.Handle) error {
	free, leftovers, err := takeWitnesses(j.worker.witnesses, h, j.spec.ReleaseOnFailure)
	if err != nil {
		j.worker.violated("%v", err)
	}
	defer free()
	for _, id := range leftovers {
		j.worker.emit(event{What: inherited, ID: id, Seq: h.Fence()})
	}
	for step := 1; step <= j.steps; step++ {
		h.SetProgress(float64(step) / 4)
		if err := j.worker.insist(func() error { return h.Impacted(said(step, j.steps)) }); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		j.worker.emit(event{What: reported, ID: h.ID(), Step: step})
	}
	if j.steps > 0 {
		if err := j.worker.insist(h.Recovered); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		j.worker.emit(event{What: reported, ID: h.ID(), Step: j.steps + 1})
	}
	if j.fails {
		return errBoom
	}
	return nil
}

// said returns the state after a report; the last one says that the trouble is over.
func said(step, steps int) string {
	if step == 0 || step > steps {
		return ""
	}
	return fmt.Sprintf("trouble %d", step)
}

// settle reports the end, and dismisses most failures.
func (w *worker) settle(id string, status kapi.Status, spec kapi.Spec) {
	e := event{What: ended, ID: id, Status: status}
	if status != kapi.StatusFailed {
		w.emit(e)
		return
	}
	if a, err := w.get(id); err == nil {
		e.Seq = a.Seq
	} else if !errors.Is(err, kapi.ErrUnknown) || spec.ReleaseOnFailure {
		w.violated("read the failed action %s: %v", id, err)
	}
	w.emit(e)
	if rand.IntN(3) == 0 {
		return
	}
	var a kapi.Action
	tries := 0
	switch err := w.insist(func() (err error) {
		tries++
		a, err = w.peer.Dismiss(context.Background(), id, "its worker")
		return err
	}); {
	case err == nil:
		w.emit(event{What: dismissed, ID: id, Seq: a.Seq})
	case tries > 1 && errors.Is(err, kapi.ErrUnknown): // an earlier try did it, though its outcome was not known
	case !errors.Is(err, kapi.ErrUnknown) || spec.ReleaseOnFailure:
		w.violated("dismiss %s: %v", id, err)
	}
}
