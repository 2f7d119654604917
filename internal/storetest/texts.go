package storetest

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/kettubot/kapi"
)

// testIDsThatAreNone: a malformed id, which a database would not even accept as text, is unknown like
// any other, and doesn't make other changes fail that are committed at the same time.
func testIDsThatAreNone(t *testing.T, b Backend) {
	p := b.peers(t, 1)[0]
	var all sync.WaitGroup
	for _, id := range []string{"\xff", "caf\xe9", "a\x00", "\xed\xa0\x80", strings.Repeat("x", 1<<16), ""} {
		all.Go(func() {
			if _, err := p.Dismiss(within(t), id, "somebody"); !errors.Is(err, kapi.ErrUnknown) {
				t.Errorf("Dismiss of %.10q: %v, want ErrUnknown", id, err)
			}
			if _, err := p.Cancel(within(t), id, "somebody"); !errors.Is(err, kapi.ErrUnknown) {
				t.Errorf("Cancel of %.10q: %v, want ErrUnknown", id, err)
			}
			if _, err := p.Report(within(t), id, kapi.Report{Fence: 1}); !errors.Is(err, kapi.ErrUnknown) {
				t.Errorf("Report on %.10q: %v, want ErrUnknown", id, err)
			}
			if _, err := p.Get(within(t), id); !errors.Is(err, kapi.ErrUnknown) {
				t.Errorf("Get of %.10q: %v, want ErrUnknown", id, err)
			}
		})
	}
	all.Wait()
	start(t, p, kapi.Spec{Title: "another", Keys: []string{"caf\u00e9"}}).end(t, nil)
}
