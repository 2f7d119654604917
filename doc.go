// Package kapi keeps track of operations that take time, so that none of them is started
// twice at once and everybody can see how they are doing. Such an operation is an action:
// a small durable record with an id, a title, a status, progress and state.
//
// This package has the words: [Action], [Status], the [Spec] of a start, the [Handle] of an
// [Operation], and the errors that callers test. Package peer is the engine; package client does the
// same against a server, and links neither engine nor store. A program opens a store and becomes
// one of its peers, of which there may be any number, all equal:
//
//	store, err := sqlite.Open("/var/lib/bot/kapi.db") // or postgres.Open
//	p, err := peer.Open(ctx, store, peer.Options{})
//	defer p.Close() // asks operations to stop, waits the grace period
//
//	_, err = p.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}},
//		func(ctx context.Context, h kapi.Handle) error {
//			return reshard(ctx, h)
//		})
//
// The keys name what must not happen twice at once; a [HeldError] says who holds one. The
// operation reports through its Handle. nil completes the action, an error or a panic fails it, and
// a failed action keeps its keys until somebody dismisses it. Who wants to see what is going on asks
// a peer's List or Watch, or REST, kAPI's gateway or the web page, which package server has.
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
