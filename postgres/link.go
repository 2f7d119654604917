package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
)

// letGo is how long a connection that is given up may take to end in good order.
const letGo = 2 * time.Second

// A link is a connection that is made when it is needed, and again after it broke. One goroutine
// uses it at a time.
type link struct {
	store  *Store
	gate   *gate
	config *pgx.ConnConfig
	conn   *pgx.Conn // nil if there is none
	// coming is an attempt to connect that is under way, nil if there is none.
	coming *attempt
	// cluster is the database cluster's own number, "" if its user may not know it.
	cluster string
	guard   *guard
	// warned says that the server warned of something since it was last set to false.
	warned bool
}

// An attempt is one to connect.
type attempt struct {
	cancel context.CancelFunc
	done   chan struct{}
	// What came of it, once done is closed.
	conn    *pgx.Conn
	cluster string
	err     error
}

// A guard stands between pgx and the network for one connection.
type guard struct {
	// made: what is dialled from now on is for a cancel request.
	made atomic.Bool
	// sealed says that a COMMIT is on its way. PostgreSQL takes a cancel request in it for leave
	// not to wait for its standby, so none may leave then; pgx sends one whenever it gives up.
	sealed atomic.Bool
}

var errSealed = errors.New("a commit is not cancelled")

func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:         dialTimeout,
		Control:         limitUnacknowledged,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}
	if !g.made.Load() {
		return dialer.DialContext(ctx, network, address)
	}
	if g.sealed.Load() {
		return nil, errSealed
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(letGo)) // it waits for an answer
	}
	return conn, err
}

func (s *Store) newLink(config *pgx.ConnConfig, g *gate, role string) *link {
	l := &link{store: s, gate: g, config: config.Copy()}
	if l.config.RuntimeParams["application_name"] == "" {
		l.config.RuntimeParams["application_name"] = applicationName(role)
	}
	l.config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { l.warned = l.warned || n.SeverityUnlocalized == "WARNING" }
	return l
}

// ready connects if need be; fresh says that it did.
//
// An attempt to connect goes on when ctx ends, and who comes next finds what became of it. Were it
// given up each time, a server that is slow because many connect to it at once, after it was down,
// would be asked by all of them for ever and have nobody connected.
func (l *link) ready(ctx context.Context) (fresh bool, err error) {
	if l.conn != nil && !l.conn.IsClosed() {
		return false, nil
	}
	l.drop()
	if l.coming != nil {
		select {
		case <-l.coming.done: // while nobody waited; it may have broken since
			if l.take() == nil && !l.conn.IsClosed() {
				return false, nil
			}
			l.drop()
		default:
		}
	}
	if l.coming == nil {
		if err := l.gate.pass(); err != nil {
			return false, err
		}
		l.connect()
	}
	select {
	case <-l.coming.done:
		return true, l.take()
	case <-ctx.Done():
		return false, fmt.Errorf("there is no connection yet: %w", context.Cause(ctx))
	}
}

// take takes in what came of an attempt.
func (l *link) take() error {
	a := l.coming
	l.coming, l.conn, l.cluster = nil, a.conn, a.cluster
	return a.err
}

// connect begins an attempt to connect. Each address is given its time (see connectTimeout), so a
// host that doesn't answer takes nothing from the next.
func (l *link) connect() {
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{cancel: cancel, done: make(chan struct{})}
	g := &guard{}
	l.coming, l.guard = a, g
	l.store.served.Go(func() {
		defer cancel()
		defer close(a.done)
		a.conn, a.cluster, a.err = connect(ctx, l.config, g)
		l.gate.note(a.err)
	})
}

func connect(ctx context.Context, config *pgx.ConnConfig, g *guard) (*pgx.Conn, string, error) {
	config = config.Copy()
	config.DialFunc = g.dial
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		var failed *pgconn.ConnectError
		if errors.As(err, &failed) {
			err = failed.Unwrap() // without the user and the database, which the store's name has
		}
		return nil, "", discreet(config, err)
	}
	g.made.Store(true)
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	cluster, err := clusterOf(ctx, conn)
	return conn, cluster, err
}

// clusterOf reads the number of the database cluster.
func clusterOf(ctx context.Context, conn *pgx.Conn) (cluster string, err error) {
	err = conn.QueryRow(ctx, selectCluster).Scan(&cluster)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !conn.IsClosed() {
		return "", nil // its user may not know
	}
	return cluster, err
}

// broken reports whether the connection can't be used any more.
func (l *link) broken() bool { return l.conn == nil || l.conn.IsClosed() }

// drop gives the connection up.
func (l *link) drop() {
	if l.conn != nil {
		l.store.letGo(l.conn)
		l.conn = nil
	}
}

// end gives the connection up, and an attempt that is under way.
func (l *link) end() {
	l.drop()
	if l.coming != nil {
		l.coming.cancel()
		<-l.coming.done
		_ = l.take()
		l.drop()
	}
}

// letGo ends a connection in good order, behind the back of who used it.
func (s *Store) letGo(conn *pgx.Conn) {
	s.served.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), letGo)
		defer cancel()
		_ = conn.Close(ctx)
		select {
		case <-conn.PgConn().CleanupDone():
		case <-ctx.Done():
			_ = conn.PgConn().Conn().Close()
			<-conn.PgConn().CleanupDone()
		}
	})
}

// A pool is a number of links that are lent.
type pool chan *link

// use calls f with a link of a pool. If the link turns out to have broken while nobody used it,
// f is called once more with a new one, so it must not have changed anything before it finds out.
func (s *Store) use(ctx context.Context, p pool, f func(*link) error) error {
	var l *link
	select {
	case l = <-p:
	case <-s.closed:
		return s.fail(errClosed)
	case <-ctx.Done():
		return s.fail(fmt.Errorf("%w: busy: %w", kapi.ErrUnavailable, context.Cause(ctx)))
	}
	defer func() { p <- l }()
	for {
		fresh, err := l.ready(ctx)
		if err != nil {
			l.drop()
			return s.unreached(ctx, err)
		}
		err = f(l)
		if l.broken() {
			l.drop()
		}
		switch {
		case err == nil || !stale(err) || l.conn != nil || ctx.Err() != nil:
			return s.fail(err)
		case fresh:
			return s.unreached(ctx, err)
		}
	}
}

// stale reports whether the connection broke, rather than the server refused something. One that
// the server ended while it was idle says so with an error of its own.
func stale(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code == "57P01" || refused.Code == "57P05"
	}
	return !errors.Is(err, kapi.ErrUnavailable) // explained already: it came later
}
