package acceptance

import (
	"context"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
)

// A terminal without a size, or with one of the smallest, still shows something; and more once it is
// larger.
func TestWatchOnTerminalOfAnySize(t *testing.T) {
	t.Parallel()
	k := install(t, buildKapi(t))
	peer := k.join()
	over := make(chan struct{})
	defer close(over)
	_, err := peer.Start(t.Context(), kapi.Spec{Title: "visible"}, func(context.Context, kapi.Handle) error {
		<-over
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	whole := matches(`^visible +running +\[.*\] +\d+s$`)
	for _, c := range []struct {
		width, height int
		seen          func(string) bool
	}{
		{0, 0, whole},
		{0, 24, whole},
		{80, 0, whole},
		{80, 1, whole},
		{80, 2, whole},
		{10, 0, matches(`^visible .$`)},
		{3, 24, matches(`^v`)},
		{3, 1, matches(`^v`)},
		{1, 1, matches(`^.`)},
	} {
		term := k.onTerminal(c.width, c.height, "watch")
		term.await("a row", c.seen)
		if c.height == 1 && strings.Contains(term.screen(), "\n") {
			t.Errorf("%d x %d: the screen scrolled: %q", c.width, c.height, term.screen())
		}
		term.resize(80, 24)
		term.await("the whole row", whole)
		term.resize(80, 1)
		term.await("no line but that", func(screen string) bool { return whole(screen) && !strings.Contains(screen, "\n") })
		term.resize(0, 0)
		term.await("the whole row, and the cursor below", matches(`^visible +running +\[.*\] +\d+s\n\z`))
		if code := term.end(); code != 130 || !matches(`\Akapi: stopped \(interrupt\)\n\z`)(term.screen()) {
			t.Errorf("%d x %d: exited with %d; the screen at the end:\n%s", c.width, c.height, code, term.screen())
		}
	}

	k.env = append(k.env, "COLUMNS=40", "LINES=2")
	term := k.onTerminal(0, 0, "watch")
	term.await("a row of the size in the environment", matches(`^visible running +\d+s$`))
	term.end()
}
