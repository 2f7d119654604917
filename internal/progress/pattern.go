package progress

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
)

// A Pattern reads progress from lines with a regular expression. It is for one goroutine.
type Pattern struct {
	expression *regexp.Regexp
	total      float64
	// Group numbers; 0 if the expression has no such group.
	percent, done, of, state int
	counts                   bool
	matches                  float64
}

// A Reading is what one line says.
type Reading struct {
	// Progress is 0 to 1, nil if the line has none.
	Progress *float64
	// State is nil if the line has none.
	State *string
}

// ParsePattern parses an expression in Go's syntax (RE2). Its named groups are percent, or done and
// total; and optionally state. If total isn't 0, done is counted against it: a single unnamed group
// then stands for done, and without such a group each match counts as one.
func ParsePattern(expression string, total float64) (*Pattern, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	if total < 0 || math.IsInf(total, 0) || math.IsNaN(total) {
		return nil, errors.New("the total must be a number above 0")
	}
	p := &Pattern{expression: re, total: total}
	for i, name := range re.SubexpNames() {
		switch name {
		case "percent":
			p.percent = i
		case "done":
			p.done = i
		case "total":
			p.of = i
		case "state":
			p.state = i
		case "":
		default:
			return nil, fmt.Errorf("unknown group %q: use percent, done, total or state", name)
		}
	}
	unnamed := unnamedGroups(re)
	switch {
	case p.percent > 0:
	case p.of > 0 && p.done == 0:
		return nil, errors.New("it has a group named total, but no group named done")
	case p.done > 0 && p.of == 0 && total == 0:
		return nil, errors.New("it has a group named done without the total: add a group named total, or give the total")
	case p.done > 0:
	case total > 0 && len(unnamed) == 1:
		p.done = unnamed[0]
	case total > 0 && len(unnamed) == 0:
		p.counts = true
	case total > 0:
		return nil, errors.New("it has several groups: name the one that counts done")
	case p.state == 0:
		return nil, errors.New("it has no group named percent, nor done and total, and there is no total to count matches against")
	}
	return p, nil
}

func unnamedGroups(re *regexp.Regexp) (groups []int) {
	for i, name := range re.SubexpNames() {
		if i > 0 && name == "" {
			groups = append(groups, i)
		}
	}
	return slices.Clip(groups)
}

// Coverage returns which lines the pattern must be given: all of them, as any may match, and each only
// once if matches are counted. A nil pattern means a Guess.
func (p *Pattern) Coverage() Coverage {
	switch {
	case p == nil:
		return SomeLines
	case p.counts:
		return AllLinesOnce
	}
	return AllLines
}

// Read reads a line; ok is false if it doesn't match.
func (p *Pattern) Read(line []byte) (r Reading, ok bool) {
	match := p.expression.FindSubmatch(line)
	if match == nil {
		return r, false
	}
	if p.state > 0 && match[p.state] != nil {
		state := Text(match[p.state], maxLine)
		r.State = &state
	}
	if p.counts {
		p.matches++
	}
	if value, ok := p.value(match); ok {
		value = min(max(value, 0), 1)
		r.Progress = &value
	}
	return r, true
}

func (p *Pattern) value(match [][]byte) (float64, bool) {
	switch {
	case p.counts:
		return p.matches / p.total, true
	case p.percent > 0:
		percent, ok := percentOf(match[p.percent])
		return hundredth(min(max(percent, 0), 100)), ok
	case p.of > 0:
		return shareOf(match[p.done], match[p.of])
	case p.done > 0:
		return shareOfTotal(match[p.done], p.total)
	}
	return 0, false
}
