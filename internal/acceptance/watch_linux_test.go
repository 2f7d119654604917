package acceptance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// join opens the installation's store in this process.
func (k *installation) join() *peer.Peer {
	k.t.Helper()
	store, err := sqlite.Open(strings.TrimPrefix(k.store, "sqlite:"))
	if err != nil {
		k.t.Fatal(err)
	}
	peer, err := peer.Open(k.t.Context(), store, peer.Options{Logger: quiet()})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = peer.Close() })
	return peer
}

func matches(expression string) func(string) bool {
	return regexp.MustCompile(`(?m)` + expression).MatchString
}

// On a terminal kapi watch draws ongoing actions in place, below those that have ended, and removes
// them at the end.
func TestWatchOnTerminal(t *testing.T) {
	t.Parallel()
	k := install(t, buildKapi(t))
	peer := k.join()
	term := k.onTerminal(110, 10, "watch")
	err := peer.Do(t.Context(), kapi.Spec{Title: "reshard"}, func(_ context.Context, h kapi.Handle) error {
		term.await("a row", matches(`^reshard +running +\[.*===.*\] +\d+s$`))
		h.SetProgress(0.42)
		h.SetState("slot 7")
		term.await("a bar", matches(`^reshard +running +\[=+>-+\]  42% +\d+s +slot 7$`))
		if err := h.Impacted("a node is slow"); err != nil {
			return err
		}
		term.await("what is wrong", matches(`^reshard +impacted .* 42% +\d+s +a node is slow$`))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	term.await("the ending", matches(`^.* completed 42% reshard: a node is slow\n\z`))

	oops := errors.New("oops")
	if err := peer.Do(t.Context(), kapi.Spec{Title: "bad"}, func(context.Context, kapi.Handle) error { return oops }); !errors.Is(err, oops) {
		t.Fatal(err)
	}
	var work []func()
	stay := make(chan struct{})
	for i := range 12 {
		ended := make(chan error, 1)
		go func() {
			ended <- peer.Do(context.Background(), kapi.Spec{Title: fmt.Sprint("work ", i)}, func(context.Context, kapi.Handle) error {
				<-stay
				return nil
			})
		}()
		work = append(work, func() {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	term.await("as many as fit", func(screen string) bool {
		lines := strings.Split(screen, "\n")
		return len(lines) == 1+9+1 && strings.HasPrefix(lines[1], "bad") && lines[9] == "and 5 more"
	})
	if code := term.end(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	close(stay)
	for _, wait := range work {
		wait()
	}
	if !matches(`\A.* completed 42% reshard: a node is slow\nkapi: stopped \(interrupt\)\n\z`)(term.screen()) {
		t.Errorf("the screen at the end:\n%s", term.screen())
	}
	if term.overrun {
		t.Error("a line was too wide")
	}
	if !strings.Contains(term.raw.String(), "\x1b[33mimpacted\x1b[0m") {
		t.Error("there are no colours")
	}
}

// What changes all the time is not redrawn all the time.
func TestWatchDrawsSeldom(t *testing.T) {
	t.Parallel()
	k := install(t, buildKapi(t))
	k.env = append(k.env, "NO_COLOR=1")
	peer := k.join()
	term := k.onTerminal(80, 24, "watch")
	began := time.Now()
	err := peer.Do(t.Context(), kapi.Spec{Title: "busy"}, func(_ context.Context, h kapi.Handle) error {
		for i := range 500 {
			h.SetState(fmt.Sprint("step ", i))
			if i%10 == 0 {
				if err := errors.Join(h.Impacted("slow"), h.Recovered()); err != nil {
					return err
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
		term.await("the last step", matches(`^busy +running .* step 499$`))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	term.await("the ending", matches(`completed busy: step 499\n\z`))
	term.end()
	if most := int(time.Since(began)/(100*time.Millisecond)) + 4; term.erased > most {
		t.Errorf("drawn %d times, want at most %d", term.erased, most)
	}
	if strings.Contains(term.raw.String(), "\x1b[3") {
		t.Error("there are colours in spite of NO_COLOR")
	}
}

// Watching one action, on a terminal that can't move the cursor, or in JSON.
func TestWatchOneOnTerminal(t *testing.T) {
	t.Parallel()
	k := install(t, buildKapi(t))
	peer := k.join()
	var plain, inJSON, one *terminal
	oops := errors.New("oops")
	err := peer.Do(t.Context(), kapi.Spec{Title: "one"}, func(_ context.Context, h kapi.Handle) error {
		one = k.onTerminal(80, 24, "watch", h.ID())
		inJSON = k.onTerminal(80, 24, "watch", "--json", h.ID())
		k.env = append(k.env, "TERM=dumb") // the last one counts
		plain = k.onTerminal(80, 24, "watch", h.ID())
		one.await("a row", matches(`^one +running`))
		inJSON.await("JSON", matches(`^\{"id":"`+h.ID()+`"`))
		plain.await("a line", matches(`^.* `+h.ID()+` running one\n\z`))
		return oops
	})
	if !errors.Is(err, oops) {
		t.Fatal(err)
	}
	for _, term := range []*terminal{plain, inJSON, one} {
		if code := term.wait(); code != 1 {
			t.Errorf("exit code %d", code)
		}
	}
	if !matches(`\A.* failed one: oops\n\z`)(one.screen()) {
		t.Errorf("the screen at the end:\n%s", one.screen())
	}
	if plain.erased+inJSON.erased > 0 || !matches(`failed one: oops\n\z`)(plain.screen()) {
		t.Errorf("on a dumb terminal:\n%s", plain.screen())
	}
}
