// Package auth says who sent a request, and what they may do.
//
// # Make a token
//
// [New] makes a token: a secret, which is shown once to its user, and a [Token], the
// record that a store keeps. The secret can't be computed from the record.
//
//	secret, token, err := auth.New("ops", auth.TypeUser, auth.Admin, 90*24*time.Hour)
//	err = store.AddToken(ctx, token)
//
// # Authenticate a request
//
// An [Authenticator] of a store's tokens returns the [Identity] that sent a request.
// Its method Authenticate can be passed to a server; a service that has its own users
// passes its own function instead.
//
//	who, err := auth.NewAuthenticator(store).Authenticate(request)
//	if err == nil && who.Permissions.Has(auth.Admin) { ... }
//
// The token is taken from the Authorization header, "Bearer x.y.z" for users and
// "Bot x.y.z" for bots and for kettu itself; without that header, from the cookie
// "sess", which carries the bare token, unless a browser sent it.
//
// # Let a browser sign in
//
// A browser must not keep a token, because it sends a cookie to every port of the host, whoever listens
// there. [Authenticator.BeginSession] makes a [Session] for a token, in two halves: one for a cookie, the
// other for storage that only one origin can read. [Authenticator.AuthenticateSession] says who sent a
// request that has both, and [Authenticator.EndSession] ends the session. Package server does all that.
//
// # Revoke a token
//
// [Authenticator.Revoke] takes effect at once in its own process. When another process removes a
// token from the store, that takes effect within half a second.
//
// # Keep tokens elsewhere
//
// Implement [Tokens].
//
// # Promises
//
//   - Only the SHA-256 of a secret is kept, and it is compared in constant time.
//   - A session has the current permissions of its token. It ends with its token, and after
//     [SessionFor].
//   - A secret has 256 random bits, and never starts with a hyphen, so that it can be
//     passed on a command line.
//   - An expired token is refused at once, one that was removed from the store within a
//     second.
//   - A text that doesn't have the form of a token is refused without asking the store.
//   - A failure of the store is never reported as an invalid token: its error is
//     returned wrapped.
//   - Everything here may be called concurrently.
package auth
