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

// letGo is how long a graceful close of a connection may take.
const letGo = 2 * time.Second

// A link is a connection that is made when it is first needed, and again after it broke. Only one goroutine
// may use it at a time.
type link struct {
	store  *Store
	gate   *gate
	config *pgx.ConnConfig
	conn   *pgx.Conn // nil if there is none
	// coming is an attempt to connect whose result was not taken yet, nil if there is none.
	coming *attempt
	// cluster is the identifier of the database cluster, "" if the user may not read it.
	cluster string
	guard   *guard
	// warned is set when the server sends a warning.
	warned bool
}

// An attempt is one attempt to connect.
type attempt struct {
	cancel context.CancelFunc
	done   chan struct{}
	// The result, once done is closed.
	conn    *pgx.Conn
	cluster string
	err     error
}

// A guard dials for one connection, and controls pgx's cancel requests.
type guard struct {
	// made is set once the connection is made: every later dial is for a cancel request.
	made atomic.Bool
	// sealed is set while a COMMIT is under way. A cancel request would make PostgreSQL stop
	// waiting for its standby, so none may be sent then. pgx sends one whenever a context ends.
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
		err = conn.SetDeadline(time.Now().Add(letGo)) // pgx waits for the server to close it
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

// ready connects if there is no connection; fresh reports whether it did.
//
// An attempt to connect continues after ctx has ended, and the next call takes its result. Otherwise, when
// many clients reconnect to a server that was down, so that each attempt takes longer than its caller
// waits, none of them would ever succeed.
func (l *link) ready(ctx context.Context) (fresh bool, err error) {
	if l.conn != nil && !l.conn.IsClosed() {
		return false, nil
	}
	l.drop()
	if l.coming != nil {
		select {
		case <-l.coming.done: // it ended while nobody waited, and the connection may have broken since
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

// take takes the result of the attempt to connect.
func (l *link) take() error {
	a := l.coming
	l.coming, l.conn, l.cluster = nil, a.conn, a.cluster
	return a.err
}

// connect begins an attempt to connect. Each address has its own time limit (see connectTimeout), so a
// host that doesn't answer doesn't use up the time of the next.
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
			err = failed.Unwrap() // the text without user and database, which fail adds as the store's name
		}
		return nil, "", discreet(config, err)
	}
	g.made.Store(true)
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	cluster, err := clusterOf(ctx, conn)
	return conn, cluster, err
}

// clusterOf reads the identifier of the database cluster.
func clusterOf(ctx context.Context, conn *pgx.Conn) (cluster string, err error) {
	err = conn.QueryRow(ctx, selectCluster).Scan(&cluster)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !conn.IsClosed() {
		return "", nil // the user may not read it
	}
	return cluster, err
}

// broken reports whether there is no usable connection.
func (l *link) broken() bool { return l.conn == nil || l.conn.IsClosed() }

// drop closes the connection, if there is one, in the background.
func (l *link) drop() {
	if l.conn != nil {
		l.store.letGo(l.conn)
		l.conn = nil
	}
}

// end closes the connection, and cancels an attempt to connect.
func (l *link) end() {
	l.drop()
	if l.coming != nil {
		l.coming.cancel()
		<-l.coming.done
		_ = l.take()
		l.drop()
	}
}

// letGo closes a connection gracefully in the background. Close waits for it.
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

// A pool has the links that are not in use.
type pool chan *link

// use calls f with a link of a pool. If the link turns out to have broken while nobody used it, use calls f
// once more with a new one. So f must have changed nothing when it returns the error of a broken link.
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

// stale reports whether err means that the connection broke, not that the server refused something. Two
// codes of the server mean that, too: it ended the connection.
func stale(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code == "57P01" || refused.Code == "57P05"
	}
	return !errors.Is(err, kapi.ErrUnavailable) // an explained error comes from a later step of a transaction
}
