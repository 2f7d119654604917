// Package auth says who is asking, and what they may do.
//
// # Make a token
//
// [New] makes a token: a secret, which is shown once to whoever will use it, and a
// [Token], which is what a store keeps. The secret can't be computed from the
// record.
//
//	secret, token, err := auth.New("ops", auth.TypeUser, auth.Admin, 90*24*time.Hour)
//	err = store.AddToken(ctx, token)
//
// # Ask who a request comes from
//
// An [Authenticator] over a store's tokens answers with the [Identity] behind a
// request. It is what a server takes as its Authenticate function; a service that
// has users of its own passes a function of its own instead.
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
// A browser keeps no token: it sends a cookie to every port of the host, whoever listens there.
// [Authenticator.BeginSession] makes a [Session] of a token, in two halves: one for a cookie, the
// other for what only one origin can read. [Authenticator.AuthenticateSession] says who sent both,
// [Authenticator.EndSession] ends it. Package server does all that.
//
// # Take a token back
//
// [Authenticator.Revoke] does so for the process it is called in at once. Removing
// the token from the store, as another process does, shows within half a second.
//
// # Keep tokens elsewhere
//
// Implement [Tokens].
//
// # Promises
//
//   - Of a secret only its SHA-256 is kept, and it is compared in constant time.
//   - A session may do what its token may at that moment. It ends with its token, and after
//     [SessionFor].
//   - A secret holds 256 random bits, and never starts with a hyphen, so that it can
//     be given on a command line.
//   - A token that is past its expiry is refused at once, one that was removed from
//     the store within a second.
//   - Whatever is not shaped like a token is refused without asking the store.
//   - A store that fails is never taken for a token that is wrong: its error comes
//     back wrapped.
//   - Everything here may be called concurrently.
package auth
