//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// answering VAR STATUS: sets VAR to the URL of a server that isn't kapi's. It answers every request with the
// status, until the end of the script.
func cmdAnswering(ts *testscript.TestScript, neg bool, args []string) {
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<h1>%d %s</h1>", status, http.StatusText(status))
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}
