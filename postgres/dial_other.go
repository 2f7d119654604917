//go:build !linux

package postgres

import "syscall"

// limitUnacknowledged does nothing: keepalives and contexts still limit the wait.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
