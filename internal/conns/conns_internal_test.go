package conns

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A wire is a connection without a network.
type wire struct {
	net.Conn
	from   string
	closed bool
}

func (w *wire) RemoteAddr() net.Addr            { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(w.from)) }
func (w *wire) Read(p []byte) (int, error)      { return copy(p, "x"), nil }
func (w *wire) Close() error                    { w.closed = true; return nil }
func (w *wire) SetDeadline(t time.Time) error   { return nil }
func (w *wire) Write(p []byte) (n int, e error) { return len(p), nil }

// A set is a Set together with its log.
type set struct {
	*Set
	log bytes.Buffer
}

func newSet(l Limits) *set {
	s := new(set)
	l.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	s.Set = New(l)
	return s
}

// come opens n connections from an address.
func (s *set) come(n int, address string) (all []*Conn) {
	for i := range n {
		all = append(all, s.admit(&wire{from: fmt.Sprintf("%s:%d", address, 1000+i)}))
	}
	return all
}

func (s *set) signIn(n int, address, identity string) (all []*Conn) {
	for range n {
		c := s.come(1, address)[0]
		c.SignedIn(identity)
		all = append(all, c)
	}
	return all
}

// open returns how many of the connections are open.
func open(all []*Conn) (n int) {
	for _, c := range all {
		if !c.Conn.(*wire).closed {
			n++
		}
	}
	return n
}

func (s *set) expect(t *testing.T, strangers, signedIn, closed int) {
	t.Helper()
	if got := s.Stats(); got.Strangers != strangers || got.SignedIn != signedIn || got.Closed != uint64(closed) {
		t.Errorf("got %+v, want %d strangers, %d signed in, %d closed", got, strangers, signedIn, closed)
	}
}

// However many connections an attacker opens, a client at the same address gets in, and stays once it
// has signed in.
func TestMaxConnectionsAddress(t *testing.T) {
	s := newSet(Limits{MaxConnections: 100, MaxConnectionsAddress: 10})
	admins := s.signIn(20, "192.0.2.1", "admin") // signed-in clients have room of their own
	attack := s.come(10, "192.0.2.1")
	s.expect(t, 10, 20, 0)
	other := s.come(10, "192.0.2.2")
	fresh := s.come(1, "192.0.2.1")
	if open(attack) != 9 || open(fresh) != 1 || open(attack[1:]) != 9 {
		t.Errorf("open: %d of the attacker, %d of the new client", open(attack), open(fresh))
	}
	fresh[0].SignedIn("admin")
	attack = append(attack, s.come(200, "192.0.2.1")...)
	if open(attack) != 10 || open(fresh) != 1 || open(admins) != 20 || open(other) != 10 {
		t.Errorf("open: %d of the attacker, %d and %d of the admin, %d of others", open(attack), open(fresh), open(admins), open(other))
	}
	s.expect(t, 20, 21, 200)
	for _, c := range attack {
		_ = c.Close()
		_ = c.Close()
	}
	s.expect(t, 10, 21, 200)
}

// An IPv6 network counts as one address, and an IPv4 address is the same when mapped to IPv6. Trusted
// proxies are subject to the total limit only.
func TestAddresses(t *testing.T) {
	proxies := netip.MustParsePrefix("10.0.0.0/8")
	s := newSet(Limits{MaxConnections: 40, MaxConnectionsAddress: 4, Exempt: proxies.Contains})
	six := append(s.come(3, "[2001:db8:1:2::1]"), s.come(3, "[2001:db8:1:2:ffff::7]")...)
	four := append(s.come(3, "192.0.2.1"), s.come(3, "[::ffff:192.0.2.1]")...)
	proxied := s.come(20, "10.1.2.3")
	if open(six) != 4 || open(four) != 4 || open(proxied) != 20 {
		t.Errorf("open: %d, %d and %d", open(six), open(four), open(proxied))
	}
	proxied = append(proxied, s.come(50, "10.1.2.3")...)
	if open(six) != 4 || open(four) != 4 || open(proxied) != 32 {
		t.Errorf("with too many in total, open: %d, %d and %d", open(six), open(four), open(proxied))
	}
}

// Strangers lose idle connections first, then the oldest: sending a little now and then gives an
// attacker no advantage over a client that has just connected.
func TestWhoGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(Limits{MaxConnections: 100, MaxConnectionsAddress: 3})
		all := s.come(3, "192.0.2.1")
		busy, idle, late := all[0], all[1], all[2]
		gone := func(c *Conn) bool { return c.Conn.(*wire).closed }
		read := func(c *Conn) { _, _ = c.Read(make([]byte, 1)) }
		time.Sleep(4 * time.Second)
		read(busy)
		read(late)
		time.Sleep(2 * time.Second)
		next := s.come(1, "192.0.2.1")[0]
		if gone(busy) || gone(late) || !gone(idle) {
			t.Error("the idle connection was not closed")
		}
		time.Sleep(time.Second)
		read(busy)
		read(late)
		time.Sleep(time.Second) // the newest has been silent longest
		s.come(1, "192.0.2.1")
		if !gone(busy) || gone(late) || gone(next) {
			t.Error("the oldest connection was not closed")
		}
	})
}

// Signed-in clients keep their room, and strangers theirs, or nobody new could sign in. That holds even
// if a token without permissions opens all the connections it can.
func TestRoomForBoth(t *testing.T) {
	s := newSet(Limits{MaxConnections: 100, MaxConnectionsAddress: 50})
	admins := s.signIn(5, "192.0.2.1", "admin")
	strangers := append(s.come(50, "192.0.2.2"), s.come(50, "192.0.2.3")...)
	if open(admins) != 5 || open(strangers) != 95 {
		t.Errorf("open: %d and %d", open(admins), open(strangers))
	}
	bulk := s.signIn(300, "192.0.2.4", "worthless")
	var fresh []*Conn
	for i := range 20 {
		c := s.come(1, "192.0.2.4")[0]
		bulk = append(bulk, s.signIn(10, "192.0.2.4", "worthless")...) // before it has shown its token
		c.SignedIn(fmt.Sprint("runner ", i))
		fresh = append(fresh, c)
	}
	bulk = append(bulk, s.signIn(300, "192.0.2.4", "worthless")...)
	if open(admins) != 5 || open(bulk) > 51 || open(fresh) != 20 {
		t.Errorf("open: %d of admins, %d of one token, %d new", open(admins), open(bulk), open(fresh))
	}
	got := s.Stats()
	if got.Strangers+got.SignedIn != 100 || got.Strangers < 24 || got.Strangers > 26 {
		t.Errorf("%+v", got)
	}
}

func TestNoLimits(t *testing.T) {
	s := newSet(Limits{MaxConnections: -1, MaxConnectionsAddress: -1})
	if n := open(s.come(5000, "192.0.2.1")); n != 5000 {
		t.Errorf("%d connections are open", n)
	}
}

func TestDefaults(t *testing.T) {
	files, ok := openFiles()
	want := 16384
	if ok {
		want = int(min(files/4*3, 16384))
	}
	s := New(Limits{})
	if s.limits.MaxConnections != want || s.limits.MaxConnectionsAddress != min(want/2, 1024) {
		t.Errorf("%+v, with %d open files", s.limits, files)
	}
	if s := New(Limits{MaxConnections: 100}); s.limits.MaxConnectionsAddress != 50 {
		t.Errorf("%+v", s.limits)
	}
}

// A gateway connection is told why it is closed, and stops counting at once.
func TestOnCrowded(t *testing.T) {
	s := newSet(Limits{MaxConnections: 2, MaxConnectionsAddress: 1})
	calls := 0
	first := s.come(1, "192.0.2.1")[0]
	first.OnCrowded(func() { calls++ })
	second := s.come(1, "192.0.2.1")
	if calls != 1 || open([]*Conn{first}) != 1 || open(second) != 1 {
		t.Errorf("OnCrowded's function was called %d times", calls)
	}
	s.expect(t, 1, 0, 1)
	first.SignedIn("too late")
	_ = first.Close()
	s.expect(t, 1, 0, 1)
}

// Of finds a connection through TLS, and returns nil without one.
func TestOf(t *testing.T) {
	s := newSet(Limits{MaxConnections: 2})
	c := s.come(1, "192.0.2.1")[0]
	for _, conn := range []net.Conn{c, tls.Server(c, &tls.Config{})} {
		if Of(s.ConnContext(t.Context(), conn)) != c {
			t.Errorf("Of found no connection in a %T", conn)
		}
	}
	none := Of(s.ConnContext(t.Context(), &wire{}))
	none.SignedIn("x")
	none.OnCrowded(nil)
	Of(context.Background()).SignedIn("x")
}

// A failing listener first returns the given errors, then connections.
type failing struct {
	net.Listener
	errs []error
	n    int
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	f.n++
	return &wire{from: fmt.Sprintf("192.0.2.9:%d", f.n)}, nil
}

// Running out of files is logged now and then and counted, and idle strangers make room.
func TestFailuresToAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(Limits{MaxConnections: 1000, MaxConnectionsAddress: 1000})
		admin, strangers := s.signIn(1, "192.0.2.1", "admin"), s.come(40, "192.0.2.1")
		l := s.Listener(&failing{errs: []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.EMFILE}})
		for i, left := range []int{24, 8, 8, 0} {
			if _, err := l.Accept(); err == nil || open(strangers) != left || open(admin) != 1 {
				t.Errorf("failure %d (%v): %d strangers, want %d; %d admins", i, err, open(strangers), left, open(admin))
			}
		}
		if _, err := l.Accept(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(s.log.String(), "connections can't be accepted"); n != 1 || !strings.Contains(s.log.String(), "too many open files") {
			t.Errorf("logged %d times: %s", n, s.log.String())
		}
		time.Sleep(time.Minute)
		s.failed(syscall.EMFILE)
		s.failed(net.ErrClosed)
		if n := s.Stats().Failures; n != 5 || !strings.Contains(s.log.String(), "times=4") {
			t.Errorf("%d failures; logged %s", n, s.log.String())
		}
	})
}

// Closing to make room is logged, without filling the log.
func TestCrowdedIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(Limits{MaxConnections: 10, MaxConnectionsAddress: 5})
		s.come(1000, "192.0.2.1")
		time.Sleep(time.Minute)
		s.come(1, "192.0.2.1")
		if n := strings.Count(s.log.String(), "make room"); n != 2 || !strings.Contains(s.log.String(), "closed=995 last=192.0.2.1:") {
			t.Errorf("logged %d times: %s", n, s.log.String())
		}
	})
}

// However many real connections come and go at once, the counts are right in the end.
func TestManyComeAndGo(t *testing.T) {
	s := New(Limits{MaxConnections: 50, MaxConnectionsAddress: 20, Logger: slog.New(slog.DiscardHandler)})
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Listener(plain)
	var served, clients sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				continue
			}
			served.Go(func() {
				defer c.Close()
				if one := make([]byte, 1); readOne(c, one) && one[0] == 's' {
					c.(*Conn).SignedIn("somebody")
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	for i := range 8 {
		clients.Go(func() {
			for j := range 100 {
				c, err := net.Dial("tcp", plain.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(c, string("sx"[(i+j)%2]))
				defer c.Close()
			}
		})
	}
	clients.Wait()
	_ = l.Close()
	served.Wait()
	if got := s.Stats(); got.Strangers != 0 || got.SignedIn != 0 || got.Closed == 0 || len(s.strangers.of) != 0 || len(s.signedIn.of) != 0 {
		t.Errorf("%+v", got)
	}
}

func readOne(c net.Conn, p []byte) bool {
	_, err := io.ReadFull(c, p)
	return err == nil
}

// However many requests a connection has at once, only one of them has the turn.
func TestTurn(t *testing.T) {
	c := newSet(Limits{}).come(1, "192.0.2.1")[0]
	done, err := c.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Turn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("second request: %v", err)
	}
	done()
	if done, err = c.Turn(t.Context()); err != nil {
		t.Errorf("after the first request: %v", err)
	}
	done()
	for range 2 {
		if _, err := (*Conn)(nil).Turn(t.Context()); err != nil {
			t.Errorf("without a Set: %v", err)
		}
	}
}
