// Package peer is the engine: a [Peer] is this process's part in a store. It starts actions, runs
// their operations, follows what other peers do, and settles the actions of dead and silent runners.
//
//	store, err := sqlite.Open("/var/lib/bot/kapi.db") // or postgres.Open
//	p, err := peer.Open(ctx, store, peer.Options{})
//	defer p.Close() // asks operations to stop, and waits for the grace period
//
// [Peer.Start] starts an operation and returns; [Peer.Do] waits for its end. [Peer.List] and
// [Peer.Get] answer from memory, as of the call or later; [Peer.Watch] delivers a snapshot and then
// the changes. [Peer.Cancel], [Peer.Dismiss] and [Peer.GiveUp] are for admins.
// [Peer.StartRemote] and [Peer.Report] are for servers whose clients do the work; [Peer.ExpectWork],
// [Peer.RecordWork] and [Peer.Kill] for operations that run commands. [Peer.Stats] returns the peer's
// counts, even while the store can't be reached.
package peer
