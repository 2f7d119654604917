package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/internal/store"
)

// letGo is how long a graceful close of a connection may take.
const letGo = 2 * time.Second

// A target is a server that a store connects to.
type target struct {
	config *pgx.ConnConfig
	line   *line // of those who find no connection left, or get no answer
	// plain is set if the server has last refused TLS, although the DSN prefers it.
	plain atomic.Bool
}

func newTarget(config *pgx.ConnConfig) *target {
	return &target{config: config, line: newLine(hostsOf(config))}
}

// A link is a connection that is made when it is first needed, and again after it broke. Only one goroutine
// may use it at a time.
type link struct {
	store *Store
	at    *target
	name  string // of the connection, in the server's lists
	home  pool   // has the link while nobody uses it
	gate  *gate
	connected
	// coming is an attempt to connect whose result was not taken yet, nil if there is none.
	coming *attempt
	guard  *guard
	// warned is set when the server sends a warning.
	warned bool
	// uses counts the uses of the link. letGo is when its connection was last given up for others.
	uses  int
	letGo time.Time
	// heard, unless nil, gets the notifications that arrive.
	heard func(*pgconn.Notification)
}

// A connected is what an attempt to connect results in.
type connected struct {
	conn *pgx.Conn // nil if there is none
	// cluster is the identifier of the database cluster, "" if the user may not read it.
	cluster string
	// tight is set if the server has used most of its connections.
	tight bool
	// direct is set if there is no pooler between this process and the server, so that what is set for the session stays.
	direct bool
	// listens is set while the session listens.
	listens bool
	since   time.Time
}

// An attempt is one attempt to connect.
type attempt struct {
	cancel context.CancelFunc
	// failed is the error of the last try, if the attempt goes on (see isCrowded).
	failed atomic.Pointer[error]
	// moves counts how often the line in which it stands has moved.
	moves atomic.Int64
	done  chan struct{}
	// The result, once done is closed.
	connected
	err error
}

// A waitingError is returned while an attempt to connect goes on.
type waitingError struct{ error }

func (e *waitingError) Unwrap() error { return e.error }

// A guard dials for one connection, and controls pgx's cancel requests.
type guard struct {
	// cancels is set once the connection is made, unless it is one through a pooler. Before, there is nothing worth
	// cancelling, and pgx lets nobody wait for the request. A pooler ends a transaction when its client leaves, and
	// PgBouncer before 1.21 may end because of a cancel request (its issues 801, 822 and 904).
	cancels atomic.Bool
	// sealed is set while a COMMIT is under way. A cancel request would make PostgreSQL stop
	// waiting for its standby, so none may be sent then. pgx sends one whenever a context ends.
	sealed atomic.Bool
}

var errSealed = errors.New("no cancel request is sent for a commit, an attempt to connect, or through a pooler")

// connecting is the key of the context with which a connection is dialled. Every other dial is for a cancel request.
type connecting struct{}

func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:         dialTimeout,
		Control:         limitUnacknowledged,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	}
	if ctx.Value(connecting{}) != nil {
		return dialer.DialContext(ctx, network, address)
	}
	if !g.cancels.Load() || g.sealed.Load() {
		return nil, errSealed
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(letGo)) // pgx waits for the server to close it
	}
	return conn, err
}

func (s *Store) newLink(at *target, g *gate, role string) *link {
	return &link{store: s, at: at, gate: g, name: applicationName(role)}
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
	tick := time.NewTicker(lastPause / 2)
	defer tick.Stop()
	soon, moves := time.After(lastPause), l.coming.moves.Load()
	turn := uint64(0)
	for {
		select {
		case <-tick.C: // being one of many doesn't use up anybody's time
			movesNow, turnNow := l.coming.moves.Load(), l.at.line.turn()
			if movesNow != moves || turnNow != turn && turn != 0 {
				store.Moved(ctx)
			}
			moves, turn = movesNow, turnNow
		case <-l.coming.done:
			return true, l.take()
		case <-soon: // the link goes back to its pool now and then, for Quiesce
			soon = time.After(lastPause)
			if failed := l.coming.failed.Load(); failed != nil {
				return false, &waitingError{*failed}
			}
		case <-ctx.Done():
			if failed := l.coming.failed.Load(); failed != nil {
				return false, &waitingError{*failed}
			}
			return false, fmt.Errorf("there is no connection yet: %w", context.Cause(ctx))
		}
	}
}

// take takes the result of the attempt to connect.
func (l *link) take() error {
	a := l.coming
	l.coming, l.connected = nil, a.connected
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
		a.connected, a.err = l.connectInTurn(ctx, g, func(err error) { a.failed.Store(&err) }, func() { a.moves.Add(1) })
		l.gate.note(a.err)
	})
}

// connect makes a connection for a link.
func (t *target) connect(ctx context.Context, g *guard, l *link) (c connected, err error) {
	config := t.config.Copy()
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = l.name
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { l.warned = l.warned || n.SeverityUnlocalized == "WARNING" }
	// A pooler may pass on notifications for another client. They are dropped while this link doesn't listen.
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		if l.heard != nil {
			l.heard(n)
		}
	}
	config.DialFunc = g.dial
	prefers := config.TLSConfig != nil
	if prefers && t.plain.Load() {
		plainFirst(config)
	}
	conn, err := pgx.ConnectConfig(context.WithValue(ctx, connecting{}, true), config)
	if err != nil {
		var failed *pgconn.ConnectError
		if errors.As(err, &failed) {
			err = failed.Unwrap() // the text without user and database, which fail adds as the store's name
		}
		return c, discreet(config, err)
	}
	_, secure := conn.PgConn().Conn().(*tls.Conn)
	t.plain.Store(prefers && !secure)
	ctx, cancel := context.WithTimeout(ctx, max(config.ConnectTimeout, patience)) // a pooler may have a queue
	defer cancel()
	c = connected{conn: conn, since: time.Now()}
	if err = c.inspect(ctx); err == nil {
		t.line.noteTurn()
	}
	g.cancels.Store(err == nil && c.direct)
	return c, err
}

// plainFirst makes sslmode=prefer try without TLS first. For any other mode it changes nothing.
func plainFirst(config *pgx.ConnConfig) {
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.Host == b.Host && a.Port == b.Port && a.TLSConfig != nil && b.TLSConfig == nil {
			all[i-1], all[i] = b, a
			i++
		}
	}
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
}

// inspect finds out about the server.
func (c *connected) inspect(ctx context.Context) error {
	var pid uint32
	err := c.conn.QueryRow(ctx, selectCluster+`, `+selectTight, pgx.QueryExecModeExec).Scan(&c.cluster, &c.tight, &pid)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !c.conn.IsClosed() { // the user may not read the identifier, or more
		err = unlessRefused(c.conn.QueryRow(ctx, `SELECT `+selectTight, pgx.QueryExecModeExec).Scan(&c.tight, &pid))
	}
	c.direct = pid == c.conn.PgConn().PID()
	c.tight = c.tight && c.direct
	return err
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
