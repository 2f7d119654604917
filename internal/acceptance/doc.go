// Package acceptance has only tests: those that need several processes, or the built binary, to check
// what kapi promises.
//
//   - crash: rounds of processes that work on shared keys, of which one is killed at a random
//     moment. Nothing acknowledged is missing, and no key ever had two holders.
//   - crowd: a hundred kapi run, on own and shared keys. Some are killed, with their commands or without, and so
//     is the keeper; or the keeper is stopped, and its deputy. The dead ones' actions fail, and nothing else
//     changes.
//   - truth: what a peer says of a runner that is stopped, killed, a zombie, in another PID
//     namespace, or dead while its command lives on.
//   - restart, failover: the PostgreSQL server is stopped or killed and restarted, or killed and
//     replaced by its synchronous standby, while commands run and processes work. Nothing
//     acknowledged is missing, and running commands continue.
//   - surroundings: kapi run where the kernel refuses things: few descriptors, few threads, no
//     pseudo-terminals, no /proc, system calls that a sandbox blocks.
//   - reshard: kapi run around a resharding of a Redis Cluster of real nodes, observed by an
//     admin over REST.
//
// The other processes are the test binary, in a role (see roles), and kapi as it is released. A
// test ends every process that it started, by its pid.
//
// With KAPI_SOAK set there are many more rounds.
package acceptance
