// Package server serves a peer's actions over HTTP: kAPI's REST routes, the gateway, the web page, probes
// and metrics.
//
// # Mount it
//
// [New] returns one http.Handler for a peer. It can be mounted anywhere; under a prefix, with
// http.StripPrefix.
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
//	GET    /v4/kapi/actions/{id}          one ongoing action
//	PATCH  /v4/kapi/actions/{id}          200 with the action: a report by its runner
//	POST   /v4/kapi/actions/{id}/dismiss  204: the failed action was dismissed
//	POST   /v4/kapi/actions/{id}/cancel   202 with the action: its runner was asked to stop
//	GET    /v4/gateway                    where the gateway is (no token)
//	GET    /gateway                       the gateway, a WebSocket (see package gateway)
//	GET    /healthz                       the process answers (no token)
//	GET    /readyz                        the store can be read (no token)
//	GET    /metrics                       for Prometheus, if Options.Metrics is set (no /v4)
//	GET    /, /page/...                   the web page, unless Options.Page is off (no token, no /v4)
//	POST   /page/session                  begins a session of the page, with Page.SignIn; DELETE ends it
//
// The same routes without /v4 are version 4, too. HEAD works where GET does. No REST route takes query
// parameters. docs/rest.md and docs/openapi.yaml describe the bodies, docs/gateway.md the protocol.
//
// # Connections
//
// [LimitConnections] bounds how many connections an http.Server has open, by address and in all, so that
// a stranger who opens as many as possible keeps nobody else out.
//
// # The page
//
// The page acts as the identity that Authenticate finds for its browser, usually by a cookie. With
// Page.SignIn it takes kapi's tokens: POST /page/session begins a session for a token, DELETE ends it,
// and [Server.SignInLink] makes links that sign in once. One half of a session is a cookie; the page
// keeps the other half and sends it with every request.
//
// # Errors
//
// Every error is a JSON object: {"code", "message"} and further facts if the client is at fault;
// {"message", "report"} if it is not, where report is the id of the incident in the log; and
// {"message", "retry_after", "global"} above a rate limit. docs/rest.md has the table of codes.
//
// # Promises
//
//   - Without ADMIN or RUN_ACTIONS a client learns nothing about actions, not even whether one exists. With
//     only RUN_ACTIONS, all that it learns about others' actions is what a refused start says of the action
//     that holds the key.
//   - Every response has the rate limit's headers, including those of probes and errors. Invalid requests are
//     charged, too, and the memory for limits is bounded.
//   - With Options.Hosts, a request for any other host is refused before anything else. So a web page whose
//     name resolves to this machine (DNS rebinding) learns nothing and uses up no limit.
//   - A valid token is never refused because of what strangers do, be it at the same address or by a page
//     in the same browser. What a flood of wrong tokens costs is up to Authenticate: an
//     auth.Authenticator reads the store a few times a second for all of them.
//   - A POST that a browser sends for another site is refused before it is charged, unless it has a token in
//     a header that browsers don't send by themselves.
//   - A panic is answered with 500 and affects no other request.
//   - Tokens, headers and queries are never logged.
//   - The page loads nothing from elsewhere. The browser stores no token, neither where scripts can read it
//     nor in a cookie, so what a browser sends to other ports of the host gives no access.
//   - A handler starts no goroutine that outlives a request.
package server
