package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
)

// childEnv names the variable with the DSN for a child process that stops inside a transaction.
const childEnv = "KAPI_POSTGRES_TEST_CHILD"

// runChild waits to be stopped inside its first transaction, and prints how that ended. Its second
// transaction must succeed.
func runChild(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	s, err := Open(ctx, dsn, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	err = insert(ctx, s, "frozen", func() {
		fmt.Println("inside")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	})
	if !errors.Is(err, kapi.ErrUnavailable) || errors.Is(err, kapi.ErrOutcomeUnknown) {
		return fmt.Errorf("the transaction in which it was stopped: %w", err)
	}
	fmt.Println("thawed")
	return insert(ctx, s, "thawed", nil)
}

// TestFrozen: a process that is stopped inside a transaction blocks the others only for seconds. When it
// continues, its writes are refused, and later ones succeed.
func TestFrozen(t *testing.T) {
	database := server.Database(t)
	s := openFor(t, server.DSN(database))
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), childEnv+"="+server.DSN(database), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "inside" {
		t.Fatalf("the child says %q", lines.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	mustInsert(t, s, "others")
	if took := time.Since(began); took > defaultStandstill+5*time.Second {
		t.Errorf("the others waited %v for a stopped process", took)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "\n")
	if !lines.Scan() || lines.Text() != "thawed" {
		t.Fatalf("the child says %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the child: %v", err)
	}
	wantIDs(t, s, "others", "thawed")
}
