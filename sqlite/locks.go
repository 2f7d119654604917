package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// The offsets of SQLite's locks (https://www.sqlite.org/walformat.html, "WAL Locks"; os.h, "PENDING_BYTE").
const (
	// In the index of the log: the locks for writing, checkpointing and recovery, those for reading, and the
	// one that every process holds while it has the index open.
	lockWrite, lockWriteSize = 120, 3
	lockRead, lockReadSize   = 123, 5
	lockDMS                  = 128
	// In the file itself: the locks that a process takes before an exclusive one, and those that every
	// process holds while it has the file open.
	lockPending, lockPendingSize = 0x40000000, 512
	lockShared, lockSharedSize   = 0x40000002, 510
)

// lockedBy adds to an error about a lock which process holds the lock, if that can be found out.
func lockedBy(path string, err error) error {
	code := sqlite.ErrCode(err).ToPrimary()
	if code != sqlite.ResultBusy && code != sqlite.ResultProtocol {
		return err
	}
	var by *holderError
	if errors.As(err, &by) {
		return err
	}
	for _, lock := range []struct {
		end     string
		from, n int64
	}{{"-shm", lockWrite, lockWriteSize}, {"-shm", lockRead, lockReadSize}, {"", lockPending, lockPendingSize}} {
		file, lookErr := factsOf(path + lock.end)
		if lookErr != nil {
			continue
		}
		if pid, held := owner(path+lock.end, file, lock.from, lock.n); held {
			return &holderError{err, nameProcess(pid)}
		}
	}
	return err
}

// A holderError is an error about a lock, with the name of the process that holds it.
type holderError struct {
	err error
	by  string
}

func (e *holderError) Error() string { return fmt.Sprintf("%v, %s", e.err, e.by) }

func (e *holderError) Unwrap() error { return e.err }
