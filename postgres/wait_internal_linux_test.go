package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
)

// TestPasses: passes is true for problems that may go away on their own, and false for others.
func TestPasses(t *testing.T) {
	says := func(code string) error { return fmt.Errorf("server error: %w", &pgconn.PgError{Code: code}) }
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{refused, true},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, true},
		{context.DeadlineExceeded, true}, // connect_timeout
		{io.ErrUnexpectedEOF, true},
		{says("57P03"), true},
		{says("53300"), true},
		{says("08P01"), true},
		{pgconn.ErrReadOnlyConnection, true},
		{says("28P01"), false},
		{says("28000"), false},
		{says("3D000"), false},
		{says("42501"), false},
		{errors.New("server refused TLS connection"), false},
		{&tls.CertificateVerificationError{Err: io.EOF}, true}, // any error that wraps an EOF
		{&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, false},
		{&net.DNSError{IsNotFound: true}, false},
		{&net.DNSError{IsTemporary: true}, true},
		// Several hosts, or one with TLS and without.
		{errors.Join(refused, pgconn.ErrReadOnlyConnection), true},
		{errors.Join(errors.New("server refused TLS connection"), says("57P03")), true},
		{errors.Join(&net.DNSError{IsNotFound: true}, refused), true},
		{errors.Join(refused, says("28P01")), false},
		{errors.Join(says("3D000"), refused), false},
	} {
		if got := passes(c.err); got != c.want {
			t.Errorf("%v: passes is %v", c.err, got)
		}
	}
}

// TestRefusedAtOnce: Open returns at once if the problem doesn't go away on its own.
func TestRefusedAtOnce(t *testing.T) {
	s, database := newStore(t)
	mustInsert(t, s, "first")
	for dsn, why := range map[string]string{
		server.DSN("none"): "there is no such database",
		strings.Replace(server.DSN(database), "postgres@", "nobody@", 1): "it refuses the user or the password",
	} {
		began := time.Now()
		_, err := Open(kapitest.Within(t), dsn, Options{})
		wantRefusal(t, err, why)
		if took := time.Since(began); took > deadline/2 {
			t.Errorf("%s: refused after %v", dsn, took)
		}
	}
}

// TestRestart: while the server is away or starting, a change waits and a read returns at once.
func TestRestart(t *testing.T) {
	alone := pgtest.For(t, pgtest.Options{Settings: map[string]string{"max_connections": "20"}})
	s := openFor(t, alone.DSN("postgres"))
	mustInsert(t, s, "first")
	wantIDs(t, s, "first")
	alone.Halt()
	answered := make(chan error, 2)
	go func() { answered <- insert(kapitest.Within(t), s, "second", nil) }()
	go func() {
		other, err := Open(kapitest.Within(t), alone.DSN("postgres"), Options{})
		if err == nil {
			err = other.Close()
		}
		answered <- err
	}()
	began := time.Now()
	_, err := s.Feed(kapitest.Within(t), 0)
	wantRefusal(t, err, "dial error: ")
	s.Quiesce(func() {}) // doesn't wait for the server either
	if took := time.Since(began); took > deadline/2 {
		t.Errorf("the read was refused after %v", took)
	}
	select {
	case err := <-answered:
		t.Errorf("without a server: %v", err)
	case <-time.After(3 * lastPause):
	}
	if err := alone.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-answered, <-answered); err != nil {
		t.Error(err)
	}
	wantIDs(t, s, "first", "second")
}

// TestReasonAfterWait: when the time is up, the error says what was wrong with the server, even if the end of the
// context interrupted the last attempt.
func TestReasonAfterWait(t *testing.T) {
	proxy := badnet.New(t, server.Address(), 0)
	database := server.Database(t)
	dsn := fmt.Sprintf("postgres://postgres@127.0.0.1:1,%s/%s?sslmode=disable&connect_timeout=1", proxy.Address(), database)
	proxy.Hang(true)
	ctx, cancel := context.WithTimeout(kapitest.Within(t), 1500*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, dsn, Options{})
	wantRefusal(t, err, "127.0.0.1:1: connect: connection refused")
	wantRefusal(t, err, proxy.Address())
}
