package linear

import "golang.org/x/sys/unix"

// now reads the system's monotonic clock, in nanoseconds. It is one for all processes of the
// machine, so times that several of them tell can be compared; the monotonic part of Go's
// times counts from the start of each process, and the wall clock may be set meanwhile.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // the kernel always has it
	}
	return t.Nano()
}
