// Package client uses a kapi server from Go: it lists and watches actions, dismisses and cancels them, and
// runs operations as actions of the server. It uses the routes of package server, and the gateway.
//
//	c, err := client.New("https://kapi.example", token, client.Options{})
//	actions, err := c.List(ctx)
//
// [Client.Do] runs an operation in this program as an action of the server: it renews the lease,
// reports what the operation says, continues while the server can't be reached, and reports the end.
// [Client.Start] and [Client.Report] are for programs that do all this themselves. [Client.Watch]
// returns every change; it reconnects and resumes by itself.
//
// The errors are those that a peer.Peer returns for the same call, so that code works with either:
// kapi.ErrUnknown, kapi.ErrNotFailed, a *kapi.HeldError, and so on. auth.ErrNoToken,
// auth.ErrInvalidToken and auth.ErrExpiredToken mean that the token was refused, auth.ErrForbidden
// that it lacks a permission. A call whose error wraps kapi.ErrUnavailable may be repeated.
package client
