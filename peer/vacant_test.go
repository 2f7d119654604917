package peer_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// An action has no runner, because its last one is silent, and fails. Once that runner is found dead, or says that its
// run has ended, the turn of the action is free.
func TestProvenAfterVacancy(t *testing.T) {
	for name, end := range map[string]func(*member){
		"its process is gone":   (*member).kill,
		"the runner comes back": func(m *member) { m.link.mend() },
	} {
		t.Run(name, func(t *testing.T) {
			playCast(t, func(t *testing.T, c *cast) {
				d, ran := calls(func(d *kapi.Definition) {
					d.Limit, d.Keys = 1, func(json.RawMessage) ([]string, error) { return nil, nil }
				})
				a, looks := c.join(peer.Options{}, d), c.join(peer.Options{})
				action := a.begin(t)
				<-ran
				a.link.cut()
				await(t, looks.Peer, action.ID, func(a kapi.Action) bool { return a.Runner == nil })
				if _, err := looks.Cancel(t.Context(), action.ID, "ann"); err != nil {
					t.Error(err)
				}
				failed := await(t, looks.Peer, action.ID, is(kapi.StatusFailed))
				if !failed.NotProvenDead || failed.Runner == nil || failed.Runner.ID != a.Self().ID {
					t.Errorf("it failed, not proven dead: %v, runner %+v", failed.NotProvenDead, failed.Runner)
				}
				end(a)
				time.Sleep(time.Minute)
				b := c.join(peer.Options{}, d)
				proven, err := b.Get(t.Context(), action.ID)
				if err != nil || proven.NotProvenDead || !strings.HasPrefix(proven.State, "its work is known to have ended: ") {
					t.Errorf("a minute later: not proven dead %v, %q, %v", proven.NotProvenDead, proven.State, err)
				}
				b.begin(t) // there is a turn
				(<-ran).end <- nil
			})
		})
	}
}
