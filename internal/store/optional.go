package store

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
	// the same user and this PID namespace. It is called every one or two seconds, also concurrently, and doesn't wait. A process
	// stays the keeper until it dies, closes the store, or doesn't call Keep for some seconds.
	Keep(namespace string) bool
}

// A Bell is a Store that can tell a peer cheaply whether other peers have changed what it runs. So a peer that
// needs nothing else neither listens nor reads its actions time and again.
type Bell interface {
	// Rung returns a mark that changes after each commit whose Writes.Wake names this runner. It returns false
	// if that can't be known. A missed change costs a delay, never an update: the peer also reads its actions
	// once in a lease. Rung doesn't wait. It is not called after Close.
	Rung(runner string) (mark uint64, ok bool)
}

// A Monitor is a Store that tells more cheaply than by Runners which runners are alive.
type Monitor interface {
	// Alive sets Held and Beat of each. It doesn't wait. It is not called after Close.
	Alive(runners []Monitored)
}

// A Monitored is a runner whose record was read before.
type Monitored struct {
	ID    string
	Pulse Pulse // as in its record
	// Held is true if RunnerRecord.Lock is LockHeld. False means that the record must be read again.
	Held bool
	// Beat is as in RunnerRecord, if Held is true. It may be too low until the record is read again: then it stays
	// the same, or grows with further renewals.
	Beat uint64
}

// A Roster is a Store that shows to other processes, by more than a record, that its own peer's runner (see
// RunnerRecord.Own) is alive.
type Roster interface {
	// Depart tells the store what its runner leaves when Close is called. Without a call, that is
	// DepartUnsettled.
	Depart(how Departure)
}

// A Departure is what a runner leaves when its store is closed.
type Departure int

const (
	// DepartUnsettled means that unsettled records may name the runner. None of its work continues in this
	// process.
	DepartUnsettled Departure = iota
	// DepartSettled means that everything the runner ran has ended, and the records say so.
	DepartSettled
	// DepartWorking means that some of its work continues in this process. The runner must be considered
	// alive until the process ends.
	DepartWorking
)

// A Mark can only be compared for equality.
type Mark [6]uint64
