// Package metrics exports the counts of a peer, its gateway and its server to Prometheus. It is
// separate so that programs without it don't link the Prometheus client.
//
// # Serve the metrics
//
// [Handler] serves all of them, and the metrics of the Go runtime and the process. Package server
// offers it to admins at GET /metrics:
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
// [Connections] adds those of a server that limits its connections.
//
// docs/metrics.md lists all metrics and defines what each one counts.
//
// # Promises
//
//   - No label holds an id, a title or a state. Only kapi_refusals_total has keys in a label: the
//     first 100 that were refused.
//   - Counters start at 0 when the peer is opened. Those of starts, ends and refusals count what this
//     peer did, so a sum over all peers counts each once. Those named seen count what all peers did.
//   - A scrape doesn't access the store, so it also works during an outage.
package metrics
