package store

// What a store may offer beside Store.

// A Glancer is a Store that can tell, without locking or waiting, that nothing was committed since it
// was last asked. That saves reading the head each time.
type Glancer interface {
	// Glance returns a mark that stays the same as long as nobody commits. It returns false if that
	// can't be known. It is not called after Close.
	Glance() (Mark, bool)
}

// A Keeper is a Store that many processes of one machine may have open, and that lets one process at a
// time, the keeper, judge silent runners for all of them. If a store is no Keeper, each peer judges for
// itself.
type Keeper interface {
	// Keep reports whether this process is the keeper now, for the processes of this machine that have
	// the same user and this PID namespace. It is called about once a second, and doesn't wait. A process
	// stays the keeper until it dies, closes the store, or doesn't call Keep for some seconds.
	Keep(namespace string) bool
}

// A Roster is a Store that has more of its own peer's runner (see RunnerRecord.Own) than a record: what
// proves to others that it is alive.
type Roster interface {
	// Depart says, before Close is called, what the runner leaves. It is DepartUnsettled otherwise.
	Depart(how Departure)
}

// A Departure is what a runner leaves when its store is closed.
type Departure int

const (
	// DepartUnsettled: records may name it that are not settled. Nothing of its work goes on in this process.
	DepartUnsettled Departure = iota
	// DepartSettled: all that it ran has ended, and is recorded so.
	DepartSettled
	// DepartWorking: its work goes on in this process, which must be taken for alive until it has ended.
	DepartWorking
)

// A Mark can only be compared for equality.
type Mark [6]uint64
