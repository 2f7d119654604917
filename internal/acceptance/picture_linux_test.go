package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// TestPicture runs a watcher and runners over a bad network, against a server that is killed and
// restarted, while actions change all the time. Whenever the changes pause, the watcher's picture
// equals the store: it has missed nothing, including endings, and no seq or progress ever decreased.
func TestPicture(t *testing.T) {
	t.Parallel()
	rounds := 12
	if os.Getenv("KAPI_SOAK") != "" {
		rounds = 1000
	}
	s := newScene(t)
	for round := range rounds {
		fault := s.fault()
		time.Sleep(rand.N(100 * time.Millisecond))
		s.compare(fmt.Sprintf("round %d, after %s", round, fault))
	}
	s.end()
}

// A scene is a server with everything around it.
type scene struct {
	*installation
	serving *process
	address string
	peer    *peer.Peer
	// near is between the watcher and the server, far between the runners and the server.
	near, far *badnet.Proxy
	picture   *picture

	quiet sync.RWMutex // held for reading by those who change something, for writing by those who need quiet
	stop  context.CancelFunc
	work  sync.WaitGroup
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{installation: install(t, buildKapi(t)), address: freeAddress(t)}
	s.startServer()
	stdout, stderr, code := s.installation.run("token create", "--name", "test", "--perms", "admin")
	if code != 0 {
		t.Fatalf("kapi token create: %s", stderr)
	}
	s.near, s.far = badnet.New(t, s.address, 0), badnet.New(t, s.address, 5*time.Millisecond)
	store, err := sqlite.Open(s.store[len("sqlite:"):])
	if err != nil {
		t.Fatal(err)
	}
	if s.peer, err = peer.Open(t.Context(), store, peer.Options{Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.peer.Close() })
	s.picture = watchPicture(t, s.dial(s.near, stdout))
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	t.Cleanup(s.end)
	for range 4 {
		s.work.Go(func() { s.churn(ctx) })
	}
	runner := s.dial(s.far, stdout)
	for range 2 {
		s.work.Go(func() { s.runElsewhere(ctx, runner) })
	}
	s.work.Go(func() { s.disturb(ctx) })
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s *scene) dial(by *badnet.Proxy, token string) *client.Client {
	s.t.Helper()
	c, err := client.New("http://"+by.Address(), token, client.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *scene) startServer() {
	s.t.Helper()
	cmd := exec.Command(s.binary, "serve", "--store", s.store, "--listen", s.address, "--rate-limit", "0", "--rate-limit-address", "0")
	cmd.Env = s.env
	s.serving = start(s.t, cmd)
	s.serving.gather()
	kapitest.Eventually(s.t, "the server listens", func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// fault injects a fault, and returns its description.
func (s *scene) fault() string {
	s.t.Helper()
	switch rand.N(4) {
	case 0:
		s.near.Cut(false)
		return "a hang-up"
	case 1:
		s.near.Cut(true)
		return "a reset"
	case 2:
		_ = syscall.Kill(s.serving.pid(), syscall.SIGKILL)
		s.serving.wait()
		s.startServer()
		return "a crash of the server"
	}
	_ = syscall.Kill(s.serving.pid(), syscall.SIGTERM)
	s.serving.wait()
	s.startServer()
	return "a restart of the server"
}

// churn starts and ends actions directly on the store.
func (s *scene) churn(ctx context.Context) {
	for ctx.Err() == nil {
		s.quiet.RLock()
		var id string
		err := s.peer.Do(context.Background(), kapi.Spec{Title: "near"}, func(_ context.Context, h kapi.Handle) error {
			id = h.ID()
			return work(h)
		})
		s.settle(id, err)
		s.quiet.RUnlock()
	}
}

var errWork = errors.New("something failed")

// A reporter is either kind of handle.
type reporter interface {
	SetProgress(float64)
	SetState(string)
	Impacted(string) error
	Recovered() error
}

// work reports on itself, and fails now and then.
func work(h reporter) error {
	const steps = 10
	for i := range steps {
		h.SetProgress(float64(i+1) / steps)
		h.SetState(fmt.Sprintf("step %d", i))
		if rand.N(20) == 0 {
			_, _ = h.Impacted("for a while"), h.Recovered()
		}
		time.Sleep(rand.N(4 * time.Millisecond))
	}
	if rand.N(3) == 0 {
		return errWork
	}
	return nil
}

// settle records how an action ended, and dismisses most failed ones.
func (s *scene) settle(id string, err error) {
	switch {
	case err == nil:
		s.picture.expect(id, kapi.StatusCompleted)
	case errors.Is(err, errWork) && err.Error() == errWork.Error(): // recording the end went well
		if rand.N(10) == 0 {
			return
		}
		if _, err := s.peer.Dismiss(context.Background(), id, "test"); err != nil {
			s.t.Errorf("dismiss %s: %v", id, err)
		}
		s.picture.expect(id, kapi.StatusAborted)
	default:
		s.t.Errorf("action %s: %v", id, err)
	}
}

// runElsewhere is churn by a program that only has the server, over a worse network.
func (s *scene) runElsewhere(ctx context.Context, c *client.Client) {
	for ctx.Err() == nil {
		s.quiet.RLock()
		var id string
		err := c.Do(context.Background(), kapi.Spec{Title: "far"}, func(_ context.Context, h kapi.Handle) error {
			id = h.ID()
			return work(h)
		})
		s.settle(id, err)
		s.quiet.RUnlock()
	}
}

// disturb cuts off the runners from time to time.
func (s *scene) disturb(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-time.After(rand.N(300 * time.Millisecond)):
			s.far.Cut(rand.N(2) == 0)
		case <-ctx.Done():
		}
	}
}

// compare waits, while nothing changes, until the picture equals the store.
func (s *scene) compare(when string) {
	s.t.Helper()
	s.quiet.Lock()
	defer s.quiet.Unlock()
	all, err := s.peer.List(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	want := map[string]string{}
	for _, a := range all {
		want[a.ID] = encoded(a)
	}
	kapitest.Eventually(s.t, when+": the watcher sees what the store has", func() bool {
		got, missed := s.picture.now()
		if maps.Equal(got, want) && missed == "" {
			return true
		}
		if s.t.Failed() { // that was reported already
			s.t.FailNow()
		}
		return false
	}, func() string {
		got, missed := s.picture.now()
		return fmt.Sprintf("the watcher sees %v, the store has %v; missed ending: %s", got, want, missed)
	})
}

func (s *scene) end() {
	s.stop()
	s.work.Wait()
	s.picture.close()
}

func encoded(a kapi.Action) string {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// A picture is the watcher's view of the actions.
type picture struct {
	t     *testing.T
	watch *client.Watch
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu       sync.Mutex
	seq      uint64
	ongoing  map[string]kapi.Action
	endings  map[string]kapi.Status
	expected map[string]kapi.Status
}

func watchPicture(t *testing.T, c *client.Client) *picture {
	t.Helper()
	w, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := &picture{t: t, watch: w, ongoing: map[string]kapi.Action{}, endings: map[string]kapi.Status{}, expected: map[string]kapi.Status{}}
	for _, a := range w.Snapshot {
		p.ongoing[a.ID] = a
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.done.Go(func() {
		for {
			a, err := w.Next(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Errorf("the watch ended: %v", err)
				return
			}
			p.update(a)
		}
	})
	return p
}

func (p *picture) update(a kapi.Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Seq <= p.seq {
		p.t.Errorf("seq fell from %d to %d", p.seq, a.Seq)
	}
	p.seq = a.Seq
	before, known := p.ongoing[a.ID]
	if known && before.Progress != nil && (a.Progress == nil || *a.Progress < *before.Progress) {
		p.t.Errorf("progress fell: %s, then %s", encoded(before), encoded(a))
	}
	if a.Status.Ongoing() {
		p.ongoing[a.ID] = a
		return
	}
	delete(p.ongoing, a.ID)
	p.endings[a.ID] = a.Status
}

// expect records how an action has ended.
func (p *picture) expect(id string, status kapi.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected[id] = status
}

// now returns the actions believed to be ongoing, and an ending that was not seen.
func (p *picture) now() (ongoing map[string]string, missed string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ongoing = map[string]string{}
	for id, a := range p.ongoing {
		ongoing[id] = encoded(a)
	}
	for id, want := range p.expected {
		switch got, seen := p.endings[id]; {
		case !seen:
			missed = id
		case got != want:
			p.t.Errorf("action %s ended as %v, but was seen to end as %v", id, want, got)
		default:
			delete(p.expected, id)
			delete(p.endings, id)
		}
	}
	return ongoing, missed
}

func (p *picture) close() {
	p.stop()
	p.done.Wait()
	p.watch.Close()
}
