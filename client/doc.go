// Package client uses a kapi server from Go: it lists and watches actions, dismisses and cancels them, and
// runs operations as actions of the server. It speaks to the routes of package server, and the gateway.
//
//	c, err := client.New("https://kapi.example", token, client.Options{})
//	actions, err := c.List(ctx)
//
// [Client.Do] runs an operation in this program as an action of the server: it keeps the lease,
// reports what the operation says, goes on while the server is away, and reports the end. Who
// wants to do that by hand has [Client.Start] and [Client.Report]. [Client.Watch] tells of every change; it reconnects and resumes by
// itself.
//
// The errors are those that a peer.Peer gives for the same call, so that code works with
// either: kapi.ErrUnknown, kapi.ErrNotFailed, a *kapi.HeldError, and so on; auth.ErrNoToken and
// its like say that the token is refused, and auth.ErrForbidden that its owner may not do this. What
// wraps kapi.ErrUnavailable may be tried again.
package client
