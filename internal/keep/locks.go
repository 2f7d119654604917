package keep

import "os"

// Lock takes an exclusive lock on one byte of a file, in the way of a Keeper, until the file is closed. It is
// false if another open file description has the lock. On other systems than Linux it fails.
func Lock(f *os.File, at int64) (bool, error) { return lock(f, at) }

// Held returns the position, counted from 1, of the first of n bytes that another open file description has locked, 0
// if there is none.
func Held(f *os.File, from, n int64) (int64, error) { return held(f, from, n) }

// Unlock releases the lock on one byte.
func Unlock(f *os.File, at int64) error { return unlock(f, at, 1) }
