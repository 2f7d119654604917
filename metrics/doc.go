// Package metrics exports what a peer, its gateway and its server count to Prometheus. It is a package of
// its own so that who doesn't want it doesn't link the Prometheus client.
//
// # Serve them
//
// [Handler] answers with all of it, and with what the Go runtime and the process say of
// themselves. Package server puts it behind its door, at GET /metrics, for admins:
//
//	var counters gateway.Counters
//	handler := server.New(peer, server.Options{
//		Authenticate: authenticate,
//		Gateway:      gateway.Options{Counters: &counters},
//		Metrics:      metrics.Handler(peer, &counters, slog.Default()),
//	})
//
// A program that has a registry already adds kapi's part to it:
//
//	registry.MustRegister(metrics.Collector(peer, &counters))
//
// [Connections] are those of a server that limits them.
//
// docs/metrics.md has a table of them and says what each one counts exactly.
//
// # Promises
//
//   - No label holds an id, a title or a state. Keys are in one, kapi_refusals_total: the
//     first 100 of them that were refused.
//   - Counters grow from the time that the peer was opened. Those of starts, ends and refusals
//     count what this peer did, so a sum over all peers counts each once; those of what it has
//     seen count what all peers did.
//   - A scrape asks the store nothing, and so answers in an outage too.
package metrics
