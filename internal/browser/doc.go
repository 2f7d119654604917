// Package browser tests the web page in a real browser: Debian's chromium, headless, with a real kapi
// serve and real commands under kapi run.
//
// Screenshots are test artifacts: `go test -artifacts` keeps them, and so does make test.
package browser
