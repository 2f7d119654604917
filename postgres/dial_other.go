//go:build !linux

package postgres

import "syscall"

// limitUnacknowledged does nothing: there are still the keepalives, and the contexts.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
