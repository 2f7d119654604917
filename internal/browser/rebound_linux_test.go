package browser

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// A page whose host name resolves to 127.0.0.1 once it has loaded has the same origin as the server, so
// the browser protects nothing. Still it can read nothing, sign nobody in and receive nothing, whatever
// headers it makes up; nor can it use up its reader's rate limit.
func TestReboundPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.remote("reshard", "")
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, desktop)
	b.bypassPolicy() // the page's own server would set none
	b.visit("http://" + rebound + ":" + port + "/")
	outcome := evaluate[string](b, fmt.Sprintf(`(async () => {
		const said = [];
		const headers = { "X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "Content-Type": "application/json" };
		for (const path of ["/", "/healthz", "/v4/gateway", "/v4/kapi/actions", "/page/enter?code=x"]) {
			said.push((await fetch(path, { headers })).status);
		}
		for (let i = 0; i < 30; i++) {
			said.push((await fetch("/page/session", { method: "POST", headers, body: JSON.stringify({ token: %q }) })).status);
		}
		said.push(await new Promise((resolve) => {
			const socket = new WebSocket("ws://" + location.host + "/gateway?v=4");
			socket.onopen = () => resolve("open");
			socket.onclose = () => resolve("no gateway");
		}));
		return said.join(" ");
	})()`, s.token))
	if want := strings.Repeat("421 ", 35) + "no gateway"; outcome != want {
		t.Errorf("got %s, want %s", outcome, want)
	}
	b.quiet()
	own := open(t, desktop)
	own.signIn(s)
	own.await("the reader is not locked out", row("reshard"))
	own.quiet()
}
