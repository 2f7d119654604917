// Package kapi keeps track of operations that take time, so that none of them is started
// twice at once and everybody can see how they are doing. Each such operation has an action:
// a small durable record with an id, a title, a status, progress and state.
//
// This package has the vocabulary: [Action], [Status], the [Spec] of a start, the [Handle] of an
// [Operation], and the errors that callers test. Package peer is the engine. Package client does the
// same through a server, and links neither engine nor store. A program that opens a store becomes
// one of its peers; a store may have any number of them, all equal:
//
//	store, err := sqlite.Open("/var/lib/bot/kapi.db") // or postgres.Open
//	p, err := peer.Open(ctx, store, peer.Options{})
//	defer p.Close() // asks operations to stop, and waits for the grace period
//
//	_, err = p.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}},
//		func(ctx context.Context, h kapi.Handle) error {
//			return reshard(ctx, h)
//		})
//
// The keys name what must not happen twice at once; a [HeldError] says which action holds one. The
// operation reports through its Handle. Returning nil completes the action, an error or a panic fails
// it, and a failed action keeps its keys until somebody dismisses it. Ongoing actions are seen through
// a peer's List and Watch, and through package server: REST, kAPI's gateway and the web page.
//
// # What is promised
//
//   - Once: no two ongoing actions hold the same key, whatever crashes.
//   - Durable: what was acknowledged is on disk. Only the latest progress and state may
//     be lost in a crash.
//   - In order: changes are seen in the order of their seq, at every peer.
//   - Silence is not death: an action fails when its runner is proven dead, or long
//     silent and not provably alive. In the second case its keys stay held.
//   - Fenced: a runner that lost its action can't change it, and its context ends.
//   - Isolated: a slow watcher delays nobody else.
package kapi
