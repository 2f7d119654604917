package main

import (
	"fmt"
	"strings"

	"github.com/kettubot/kapi"
)

// describeHeld says who holds the key, and for a failed holder the ways out.
func (a *app) describeHeld(e *kapi.HeldError) lines {
	h := e.Holder
	var b strings.Builder
	how := "held"
	switch {
	case e.Waiting():
		how = "waited for" // longer than by us
	case e.Waited > 0:
		how = fmt.Sprintf("still held after %v", e.Waited)
	}
	fmt.Fprintf(&b, "key %q is %s by action %s%s", e.Key, how, plain(called(h)), howLong(h))
	if h.Runner != nil {
		fmt.Fprintf(&b, " on %s", plain(h.Runner.Host))
		if h.Runner.PID != 0 { // of a runner that reports over REST nobody knows it
			fmt.Fprintf(&b, ", pid %d", h.Runner.PID)
		}
		fmt.Fprintf(&b, ", last heard at %s", localTime(h.Runner.HeardAt))
	}
	if p := progressText(h.Progress); p != "" {
		fmt.Fprintf(&b, ", %s done", p)
	}
	if h.State != "" {
		fmt.Fprintf(&b, ": %s", stateText(h.State))
	}
	switch {
	case e.Circular && e.Waiting():
		b.WriteString("\nthat one waits for an action which this command is itself part of, so waiting would never end")
	case e.Circular:
		b.WriteString("\nthis command is itself part of that action, so waiting for it would never end")
	}
	if h.NotProvenDead {
		b.WriteString("\nit is not proven dead: look whether its work is still going on before you free the key")
	}
	if h.Status == kapi.StatusFailed {
		fmt.Fprintf(&b, "\nto free the key: %s dismiss %s%s", a.self(), a.storeArgument(), shellQuote(plain(h.ID)))
		b.WriteString("\nor, for commands that are safe to repeat, start them with --release-on-failure")
	}
	return lines(b.String())
}

// howLong says what an action is, and since when; who may know no more of another's is not told that.
func howLong(h kapi.Action) string {
	since := max(h.StartedAt, h.CreatedAt)
	switch {
	case h.Status == kapi.StatusFailed && h.UpdatedAt == 0:
		return ", which failed"
	case h.Status == kapi.StatusFailed:
		return ", which failed at " + localTime(h.UpdatedAt)
	case since == 0 && h.Status == kapi.StatusPending:
		return "" // no more is known of it than its id and title
	case since == 0:
		return ", which is " + h.Status.String()
	}
	return fmt.Sprintf(", %s since %s", h.Status, localTime(since))
}
