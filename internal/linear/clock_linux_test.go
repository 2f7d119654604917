package linear

import "golang.org/x/sys/unix"

// now reads the system's monotonic clock, in nanoseconds. All processes of the machine share it, so
// their times can be compared. The monotonic part of a time.Time counts from the start of each process,
// and the wall clock may be set meanwhile.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // the kernel always has this clock
	}
	return t.Nano()
}
