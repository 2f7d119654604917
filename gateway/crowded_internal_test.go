package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/conns"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/wire"
)

// Connections that never identify keep nobody out: above the limit, the oldest of them is closed.
func TestCrowdedByUnknown(t *testing.T) {
	b := newBench(t, Options{})
	b.gateway.most = 5
	admins := b.dial()
	admins.identify(identifyAdmin)
	var strangers []*client
	for range 20 {
		c := b.dial()
		c.next(3, "") // it has joined
		strangers = append(strangers, c)
	}
	late := b.dial()
	for _, c := range strangers[:16] {
		c.wantClose(wire.CodeLimit)
	}
	late.identify(identifyAdmin)
	for _, c := range []*client{admins, late, strangers[19]} {
		c.send(`{"op":1}`)
	}
	admins.next(1, "")
	late.next(1, "")
	strangers[19].next(1, "")
	kapitest.Eventually(t, "what is closed is counted", func() bool { return b.gateway.counters.endedBy()["4008 crowded"] == 16 })
}

// A connection that has to make room is closed with a code after which its client resumes. One that has
// identified doesn't count as a stranger's.
func TestCrowdedServer(t *testing.T) {
	b := newBench(t, Options{})
	set := conns.New(conns.Limits{MaxConnections: 100, MaxConnectionsAddress: 3})
	web := httptest.NewUnstartedServer(b.gateway)
	web.Listener = set.Listener(web.Listener)
	web.Config.ConnContext = set.ConnContext
	web.Start()
	defer web.Close()
	b.url = "ws" + strings.TrimPrefix(web.URL, "http")
	var admins, strangers []*client
	for range 5 {
		c := b.dial()
		c.identify(identifyAdmin)
		admins = append(admins, c)
	}
	for range 5 {
		c := b.dial()
		c.next(3, "") // it is the gateway's by now, which can say why it ends
		strangers = append(strangers, c)
	}
	for _, c := range strangers[:2] {
		c.wantClose(wire.CodeLimit)
	}
	for _, c := range admins {
		c.send(`{"op":1}`)
		c.next(1, "")
	}
	if got := set.Stats(); got.SignedIn != 5 || got.Strangers != 3 || got.Closed != 2 {
		t.Errorf("%+v", got)
	}
	for _, c := range append(admins, strangers...) {
		_ = c.conn.CloseNow()
	}
	kapitest.Eventually(t, "the connections are gone", func() bool { return set.Stats() == conns.Stats{Closed: 2} })
	http.DefaultClient.CloseIdleConnections()
}
