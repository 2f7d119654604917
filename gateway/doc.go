// Package gateway is kAPI's gateway: the WebSocket protocol by which clients get every
// change of every action as it happens.
//
// [New] makes a [Gateway] for a peer, which is an http.Handler for the path that clients
// dial. Package server mounts one next to its routes; it can also be mounted elsewhere.
// docs/gateway.md describes the protocol for writers of clients.
//
// A connection goes through these steps: the server says hello; the client identifies
// with a token, or resumes a session from the last seq that it saw; the server answers
// with READY, or with the missed changes and RESUMED; then it sends changes, and the
// client heartbeats. The close code tells the client what to do next.
//
// What is promised:
//
//   - The s of a dispatch is the store's seq, the same for every client and at every peer.
//     So a session can be resumed at any peer, even after a restart: everything that changed
//     since is sent in order, endings included, or the close code says that it can't be.
//   - A message is encoded once and the same bytes go to everybody.
//   - A slow reader gets only the newest version of each action, takes no memory for what it
//     has not read, and delays nobody else. One that reads nothing for 30 seconds is
//     disconnected.
//   - Without the permission ADMIN a client doesn't learn that an action exists. When a token
//     is revoked or expires, its connections are closed within 5 seconds.
package gateway
