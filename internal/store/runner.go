package store

import "time"

// A RunnerRecord is what a store keeps of a runner.
type RunnerRecord struct {
	ID, Host string
	PID      int
	// BootID, PIDNamespace and StartTime identify the process; empty or 0 where the system doesn't
	// provide them.
	BootID, PIDNamespace string
	StartTime            uint64
	// Work is what the runner recorded of the processes that do its work, in kapi's own format; empty
	// if there is nothing to record.
	Work string
	// Lease is how long the runner may stay silent.
	Lease time.Duration
	// Beat counts the runner's renewals.
	Beat uint64
	// HeardAt is when it was last renewed, in milliseconds since 1970-01-01 UTC, for display.
	HeardAt int64
	// Own is true if the runner is the process that writes this record. A store may then renew it in a
	// cheaper way, and show its Lock to other processes until Close is called. Own is only written.
	Own bool
	// Lock is the state of the lock that the runner has held since its first renewal. It is only read.
	Lock Lock
	// Working is true while a process has the lock that the runner gave to the commands that do its
	// work. False proves nothing. It is only read, and false if Lock is LockHeld.
	Working bool
	// Asked has the notes of NoteAsked. It is only read.
	Asked string
	// Pulse is for Monitor.Alive. It is only read.
	Pulse Pulse
}

// A Pulse says where a store finds a runner's signs of life. Only the store knows what it means.
type Pulse struct {
	Slot, File int64
	Beat       uint64
}

// A Lock is what the kernel says about a lock that only the runner itself can hold.
type Lock int

const (
	// LockUnknown means that the runner has no lock, or its state is unknown.
	LockUnknown Lock = iota
	// LockHeld means that the runner is alive.
	LockHeld
	// LockFree means that no process of this machine's kernel holds the lock. If the runner ever held it in
	// this kernel, it is dead.
	LockFree
)

// An Asked says which processes of a dead runner a peer has asked to end.
type Asked struct {
	// Runner is the runner's id. Note is in kapi's own format: lines, each with its newline.
	Runner, Note string
}

// MaxAsked limits RunnerRecord.Asked, in bytes.
const MaxAsked = 64 << 10

// An Observation is what peers have observed of a runner's silence. Peers that live only briefly hand
// it on to the next.
type Observation struct {
	// Runner is the runner's id, Beat its count of renewals at the last look.
	Runner string
	Beat   uint64
	// Clock names the clock of SinceBoot and Awake. Readings of different clocks can't be compared.
	Clock string
	// Silent is how long the runner was observed not to renew.
	Silent time.Duration
	// SinceBoot and Awake are the time of the last look, by a clock that runs on while the machine is
	// suspended, and by one that doesn't.
	SinceBoot, Awake time.Duration
	// Held says that the runner's lock was seen held (see RunnerRecord.Lock). A store without locks need
	// not keep it.
	Held bool
}
