package main

import (
	"fmt"
	"strings"

	"github.com/kettubot/kapi"
)

// describeHeld says who holds the key, and how to free it, or to go on, if the holder has failed.
func (a *app) describeHeld(e *kapi.HeldError) lines {
	h := e.Holder
	var b strings.Builder
	how := "held"
	switch {
	case e.Waiting():
		how = "waited for" // by an action that is ahead of this one
	case e.Waited > 0:
		how = fmt.Sprintf("still held after %v", e.Waited)
	}
	if e.Operation != "" {
		still := map[bool]string{true: fmt.Sprintf(" after %v still", e.Waited), false: ""}[e.Waited > 0]
		fmt.Fprintf(&b, "operation %q is%s at its limit of %d: the first is action %s%s", e.Operation, still, e.Limit, plain(called(h)), howLong(h))
	} else {
		fmt.Fprintf(&b, "key %q is %s by action %s%s", e.Key, how, plain(called(h)), howLong(h))
	}
	if h.Runner != nil {
		fmt.Fprintf(&b, " on %s", plain(h.Runner.Host))
		if h.Runner.PID != 0 { // unknown if the runner reports over REST
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
		b.WriteString("\nthat action waits for one that this command is part of, so waiting would never end")
	case e.Circular:
		b.WriteString("\nthis command is part of that action, so waiting for it would never end")
	}
	if h.NotProvenDead {
		b.WriteString("\nit is not proven dead: make sure that its work has ended before you free the key")
	}
	if h.Status == kapi.StatusFailed && e.Operation == "" {
		fmt.Fprintf(&b, "\nto free the key: %s dismiss %s%s", a.self(), a.storeArgument(), shellQuote(plain(h.ID)))
		if h.Operation != "" {
			fmt.Fprintf(&b, "\nor, to go on where it stopped: %s start %s%s --continue %s", a.self(), a.storeArgument(), shellQuote(plain(h.Operation)), shellQuote(plain(h.ID)))
		} else {
			b.WriteString("\nor start commands that are safe to repeat with --release-on-failure")
		}
	}
	return lines(b.String())
}

// howLong says what an action's status is, and since when. A server may withhold the times of an action
// that another token started.
func howLong(h kapi.Action) string {
	since := max(h.StartedAt, h.CreatedAt)
	switch {
	case h.Status == kapi.StatusFailed && h.UpdatedAt == 0:
		return ", which failed"
	case h.Status == kapi.StatusFailed:
		return ", which failed at " + localTime(h.UpdatedAt)
	case since == 0 && h.Status == kapi.StatusPending:
		return "" // only its id and title are known
	case since == 0:
		return ", which is " + h.Status.String()
	}
	return fmt.Sprintf(", %s since %s", h.Status, localTime(since))
}
