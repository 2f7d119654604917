// Package browser has the tests of the web page in a real browser: Debian's chromium, without a
// window, on a real kapi serve and real commands under kapi run.
//
// Their screenshots are artefacts of the tests: `go test -artifacts` keeps them, as make test does.
package browser
