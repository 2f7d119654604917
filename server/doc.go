// Package server serves a peer's actions over HTTP: kAPI's REST routes, the gateway, the web page, probes
// and metrics.
//
// # Mount it
//
// [New] returns one http.Handler over a peer. It serves its routes wherever it is
// mounted; under a prefix, with http.StripPrefix.
//
//	authenticator := auth.NewAuthenticator(store)
//	mux.Handle("/", server.New(peer, server.Options{Authenticate: authenticator.Authenticate}))
//	mux.Handle("/internal/", http.StripPrefix("/internal", server.New(peer, options)))
//
// A service with users of its own passes its own Authenticate.
//
// # The routes
//
//	GET    /v4/kapi/actions               all ongoing actions, oldest first, with an ETag
//	POST   /v4/kapi/actions               201: starts an action whose work the client does
//	GET    /v4/kapi/actions/{id}          one of them
//	PATCH  /v4/kapi/actions/{id}          200 with the action: a report by its runner
//	POST   /v4/kapi/actions/{id}/dismiss  204: the failed action is gone
//	POST   /v4/kapi/actions/{id}/cancel   202 with the action: its runner was asked to stop
//	GET    /v4/gateway                    where the gateway is (no token)
//	GET    /gateway                       the gateway, a WebSocket (see package gateway)
//	GET    /healthz                       the process answers (no token)
//	GET    /readyz                        the store can be read (no token)
//	GET    /metrics                       for Prometheus, if Options.Metrics is set (no /v4)
//	GET    /, /page/...                   the web page, unless Options.Page is off (no token, no /v4)
//	POST   /page/session                  begins a session of the page, with Page.SignIn; DELETE ends it
//
// The same routes without /v4 are version 4. HEAD works where GET does. No route of REST takes
// query parameters. docs/rest.md and docs/openapi.yaml have the bodies, docs/gateway.md the protocol.
//
// # Connections
//
// [LimitConnections] bounds how many connections an http.Server has open, by address and in all, so
// that a stranger who opens as many as they can keeps nobody out.
//
// # The page
//
// The page works as whoever Authenticate says its browser is, by a cookie. With Page.SignIn it
// takes kapi's tokens: POST /page/session begins a session of one, DELETE ends it, and
// [Server.SignInLink] makes links that sign in once. Half of a session is a cookie; the other the
// page keeps, and sends with every request.
//
// # What goes wrong
//
// Every refusal is a JSON object: {"code", "message"} where the client is at fault;
// {"message", "report"} where it is not, report being the id that the log has as incident; and
// {"message", "retry_after", "global"} past a rate limit. The codes are kAPI's;
// docs/rest.md has the table of them.
//
// # Promises
//
//   - Who has neither ADMIN nor RUN_ACTIONS learns nothing of actions, not even whether one exists. RUN_ACTIONS
//     alone tells of others' actions only what a refused start says of the holder of its key.
//   - Rate limits are told on every response, probes and errors included, and count
//     what is wrong too, in memory that is bounded.
//   - With Options.Hosts, a request for any other host is refused before anything else: a page
//     that has its name stand for this machine learns nothing, and uses nothing up.
//   - A valid token is never refused for what strangers do, at the same address or by a page of
//     theirs that its browser shows. How little a flood of wrong tokens costs is up to
//     Authenticate: an auth.Authenticator reads the store a few times a second for all of them.
//   - A POST that a browser sends for another site is refused before it is charged to anybody,
//     unless it carries its token in a header of its own.
//   - A panic answers 500 and ends nothing else.
//   - Tokens, headers and queries are never logged.
//   - The page loads nothing from elsewhere, and a token is in nothing that its scripts can read, nor in
//     a cookie: what a browser sends to the other ports of the host lets nobody in.
//   - A handler starts no goroutine that outlives a request.
package server
