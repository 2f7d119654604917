package keep

import "os"

// Lock takes an exclusive lock on one byte of a file, in the way of a Keeper, until the file is closed. It is
// false if another open file description has the lock. On other systems than Linux it fails.
func Lock(f *os.File, at int64) (bool, error) { return lock(f, at) }

// Held reports whether another open file description has such a lock.
func Held(f *os.File, at int64) (bool, error) {
	by, err := held(f, at, 1)
	return by > 0, err
}
