// Package kapi keeps track of operations that take time, so that none of them is started
// twice at once and everybody can see how they are doing. Such an operation is an action:
// a small durable record with an id, a title, a status, progress and state.
//
// # Open
//
// A store says where actions are kept; any number of processes may have it open, and all
// of them are equal peers:
//
//	store, err := sqlite.Open("/var/lib/bot/kapi.db")
//	k, err := kapi.Open(ctx, store, kapi.Options{})
//	defer k.Close() // asks operations to stop, waits the grace period
//
// # Start
//
// [Peer.Start] starts an operation and returns, [Peer.Do] waits for its end. The keys of
// the [Spec] name what must not happen twice at once; a [HeldError] says who holds one:
//
//	_, err = k.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}},
//		func(ctx context.Context, h kapi.Handle) error {
//			return reshard(ctx, h)
//		})
//
// # Report
//
// The operation reports through its [Handle]: [Handle.Progress] and [Handle.State] may be
// called in the hottest loop; [Handle.Impacted] and [Handle.Recovered] are durable when
// they return; [Handle.Fence] is a number that outside systems can tell a stale holder
// by. nil completes the action, an error or a panic fails it. A failed action keeps its
// keys until somebody calls [Peer.Dismiss].
//
// # Watch
//
// [Peer.List] and [Peer.Get] answer from memory, never with anything older than the call.
// [Peer.Watch] gives a snapshot and then every change. [Peer.Cancel] asks a runner,
// wherever it is, to stop. Package server offers the same over REST.
//
// [Peer.Stats] tells what the peer has done so far, and how far its picture of the store is
// behind; package metrics hands it to Prometheus.
//
// # What is promised
//
//   - Once: no two ongoing actions hold one key, whatever dies whenever.
//   - Durable: what was acknowledged is on disk. Only progress and state may lose their
//     last moment in a crash.
//   - In order: changes are seen in the order of their seq, at every peer.
//   - Silence is not death: an action is failed when its runner is proven dead, or was
//     silent for long without being provably alive; then its keys stay held.
//   - Fenced: a runner that lost its action changes nothing any more, and its context ends.
//   - A slow watcher hurts nobody.
package kapi
