// Package acceptance holds tests alone: those that need several processes, or the built
// binary, to say whether kapi keeps what it promises.
//
//   - crash: rounds of processes that work on shared keys, one of them killed at a random
//     moment; nothing acknowledged is missing, no key ever had two holders.
//   - truth: what a peer says of a runner that is stopped, killed, a zombie, of another PID
//     namespace, or gone while its command lives on.
//   - restart, failover: the PostgreSQL under it all is stopped, killed, or killed for good and its
//     synchronous standby promoted, while commands run and processes work; nothing acknowledged is
//     missing, and what runs goes on.
//   - surroundings: kapi run where the kernel says no: few descriptors, few threads, no
//     pseudo-terminal, no /proc, system calls that a sandbox refuses.
//   - reshard: kapi run around a resharding of a Redis Cluster of real nodes, seen over
//     REST by an admin.
//
// The other processes are the test binary itself, in a role (see roles), and kapi as
// built for users. A test ends every process that it started, by its pid.
//
// With KAPI_SOAK set there are many more rounds.
package acceptance
