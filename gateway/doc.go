// Package gateway is kAPI's gateway: the WebSocket protocol by which clients are told of
// every change of every action as it happens.
//
// [New] makes a [Gateway] over a peer; it is an http.Handler for the path that clients
// dial. Package server mounts one beside its routes; mount it yourself to have it
// elsewhere. docs/gateway.md tells the protocol for those who write clients.
//
// A connection goes through these steps: the server says hello; the client identifies
// with a token, or resumes a session from the seq that it saw last; the server answers
// READY, or the missed changes and RESUMED; then come the changes, and heartbeats. The
// close code tells a client what to do next.
//
// What is promised:
//
//   - The s of a dispatch is the store's seq, the same for every client and at every peer.
//     So a session can be resumed at any peer, after a restart too: all that changed since
//     is told, in order, endings included, or the close code says that it can't be.
//   - A message is encoded once and the same bytes go to everybody.
//   - A reader that is slow is given only the newest of each action, needs no memory for
//     what it has not read, and holds nobody up; one that takes nothing for 30 seconds is cut.
//   - Nobody without the permission ADMIN learns that an action exists. A token that is
//     revoked or expires loses its connections within 5 seconds.
package gateway
