package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// transact applies the changes of a line in one transaction.
func (s *script) transact(text, want string, refused bool) error {
	loaded := store.Loaded{Page: store.Page{Head: store.Head{Epoch: "e", Seq: s.seq}}, Answers: s.answers}
	pl := NewPlan(s.world, loaded, s.claimed, s.now, Limits{
		Lease:  15 * time.Second,
		Answer: func(r *store.Record) ([]byte, error) { return []byte(r.ID), nil },
	})
	var last Outcome
	for part := range strings.SplitSeq(text, " & ") {
		words, err := split(part)
		if err != nil {
			return err
		}
		if words[0] == "adopt" {
			if err := s.adopt(pl, words[1:]); err != nil {
				return err
			}
			last = Outcome{Changed: true}
			continue
		}
		c, err := s.change(words)
		if err != nil {
			return err
		}
		last = pl.Add(c)
	}
	w, records := pl.Writes()
	s.world.apply(records)
	s.seq, s.answers = w.Head, append(s.answers, w.Answers...)
	got := ""
	switch {
	case last.Err != nil:
		got = last.Err.Error()
	case last.LostTo != nil:
		got = last.LostTo.Error()
	case !last.Changed:
		got = "unchanged"
	case last.Kept != nil && len(w.Answers) == 0:
		got = "answered " + string(last.Kept.Body)
	}
	switch {
	case refused && (want == "" || !strings.Contains(got, want)):
		return fmt.Errorf("it says %q", got)
	case !refused && got != "":
		return fmt.Errorf("it says %q", got)
	}
	return nil
}

func (s *script) adopt(pl *Plan, words []string) error {
	if len(words) < 3 || words[1] != "wants" {
		return errors.New("a start needs an id and keys")
	}
	start, err := store.Recorded(&store.Record{Action: kapi.Action{ID: words[0], Title: "T", Keys: words[2:], Runner: &kapi.Runner{ID: "runner of " + words[0], PID: 7}}})
	if err != nil {
		return err
	}
	return pl.Adopt(start)
}

func (s *script) change(words []string) (*Change, error) {
	kind := words[0]
	if kind == "nudge" {
		return &Change{Kind: KindNudge, Wants: words[1:]}, nil
	}
	if len(words) < 2 {
		return nil, fmt.Errorf("%q is no line", kind)
	}
	id, rest := words[1], words[2:]
	said := strings.Join(rest, " ")
	verdict := func(v Verdict) (*Change, error) { return &Change{Kind: KindVerdict, ID: id, Verdict: v}, nil }
	switch kind {
	case "start":
		return s.start(id, rest)
	case "report":
		return s.report(id, rest)
	case "silent":
		return verdict(Verdict{Silence: said})
	case "blind":
		return verdict(Verdict{Silence: said, blind: true})
	case "dead":
		return verdict(Verdict{Failure: said, ended: true})
	case "unproven":
		return verdict(Verdict{Failure: said})
	case "ended":
		return verdict(Verdict{Proven: said})
	case "heard":
		return &Change{Kind: KindRestore, ID: id, Fence: s.fence(id)}, nil
	case "dismiss":
		return &Change{Kind: KindDismiss, ID: id}, nil
	case "cancel":
		return &Change{Kind: KindCancel, ID: id, By: said}, nil
	case "give-up":
		return &Change{Kind: KindGiveUp, ID: id, By: said}, nil
	case "reclaim":
		r, _, err := s.action(words[1:])
		return &Change{Kind: KindReclaim, Action: &r}, err
	}
	return nil, fmt.Errorf("%q is no change", kind)
}

func (s *script) fence(id string) uint64 {
	r, _ := s.world.Get(id)
	return r.Fence
}

func (s *script) start(id string, words []string) (*Change, error) {
	r := &store.Record{Action: kapi.Action{ID: id, Title: "T", Status: kapi.StatusRunning, Runner: &kapi.Runner{ID: "runner of " + id, PID: 7}}}
	c := &Change{Kind: KindStart, Action: r}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch word {
		case "wants":
			r.Keys, words = list(words)
		case "wait":
			c.Wait = true
		case "dismiss-failed":
			c.DismissFailed = true
		case "unjudged":
			c.Unjudged = true
		case "release":
			r.ReleaseOnFailure = true
		case "within":
			c.Within, words = list(words)
		case "asked":
			parts := strings.Split(words[0], "/")
			words = words[1:]
			if len(parts) != 3 {
				return nil, errors.New("asked needs BY/KEY/HASH")
			}
			c.Asked = &store.Answer{Request: store.Request{By: parts[0], Key: parts[1]}, Hash: []byte(parts[2])}
		default:
			return nil, fmt.Errorf("%q is no word of a start", word)
		}
	}
	return c, nil
}

func (s *script) report(id string, words []string) (*Change, error) {
	rep := Report{Fence: s.fence(id)}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		var err error
		switch name {
		case "progress":
			var p float64
			p, err = strconv.ParseFloat(value, 64)
			rep.Progress = &p
		case "state":
			rep.State = &value
		case "exit":
			var code int
			code, err = strconv.Atoi(value)
			rep.ExitCode = &code
		case "reset":
			rep.ResetProgress = true
		case "goes-on":
			rep.GoesOn = true
		case "fence":
			r, _ := s.world.Get(id)
			switch value {
			case "stale":
				rep.Fence = r.Fence - 1
			case "ticket":
				rep.Fence = r.Ticket
			default:
				rep.Fence, err = strconv.ParseUint(value, 10, 64)
			}
		default:
			rep.Status, err = statusOf(name)
		}
		if err != nil {
			return nil, err
		}
	}
	return &Change{Kind: KindReport, ID: id, Report: rep}, nil
}

// judge compares the verdict on what is known of the runner of an action.
func (s *script) judge(words []string, want string) error {
	if len(words) == 0 {
		return errors.New("whom?")
	}
	r, ok := s.world.Get(words[0])
	if !ok {
		return errors.New("there is no such action")
	}
	ev := Evidence{Host: "host", PID: 7, HeardAt: 0, Lease: 15 * time.Second, GiveUp: 2 * time.Minute}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		var err error
		switch name {
		case "alive":
			ev.Life = LifeAlive
		case "stopped":
			ev.Life, ev.Stopped = LifeAlive, true
		case "gone":
			ev.Life = LifeGone
		case "unknown":
			ev.Life = LifeUnknown
		case "restarted":
			ev.Life, ev.Restarted = LifeGone, true
		case "left":
			ev.Remains.Sure = append(ev.Remains.Sure, Process{PID: 12, Name: value})
		case "maybe":
			ev.Remains.Maybe = append(ev.Remains.Maybe, Process{PID: 12, Name: value})
		case "hidden":
			ev.Remains.Hidden = true
		case "silent":
			ev.Silent, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("%q is no word of what is known", name)
		}
		if err != nil {
			return err
		}
	}
	v := Judge(&r, ev)
	got := "nothing"
	switch {
	case v.Proven != "":
		got = "ended: " + v.Proven
	case v.Failure != "" && v.ended:
		got = "dead: " + v.Failure
	case v.Failure != "":
		got = "unproven: " + v.Failure
	case v.Silence != "":
		got = "silent: " + v.Silence
	}
	if want == "" || !slices.Contains([]string{got, strings.SplitN(got, ":", 2)[0]}, want) {
		return fmt.Errorf("%s", got)
	}
	return nil
}
