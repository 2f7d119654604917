package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kettubot/kapi"
)

// A phrase is the part of a line after its verb. Code that understands a word takes it out, so the words
// left at the end are unknown.
type phrase struct {
	s     *script
	words map[string]string // by name; the value of a plain word is ""
	order []string
}

// verbose words are followed by their value without an equals sign.
var verbose = []string{"holds", "wants", "waits", "within", "asks", "by", "for", "claims"}

// parse reads a line, which is a verb and a phrase.
func (s *script) parse(text string) (verb string, p *phrase) {
	words := s.split(text)
	p = &phrase{s: s, words: map[string]string{}}
	for i := 1; i < len(words); i++ {
		name, value, valued := strings.Cut(words[i], "=")
		if !valued && slices.Contains(verbose, name) {
			if i++; i == len(words) {
				s.bad("%s of what?", name)
			}
			value = words[i]
		}
		if _, twice := p.words[name]; twice {
			s.bad("%s is there twice", name)
		}
		p.words[name] = value
		p.order = append(p.order, name)
	}
	return words[0], p
}

// split returns the words of a text. Spaces in quotes don't separate words.
func (s *script) split(text string) (words []string) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := strings.IndexAny(text+" ", " \"")
		word := text[:end]
		if text = text[end:]; strings.HasPrefix(text, `"`) {
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				s.bad("a quote that does not end")
			}
			unquoted, _ := strconv.Unquote(quoted)
			word, text = word+unquoted, text[len(quoted):]
		}
		words = append(words, word)
	}
	return words
}

func (p *phrase) has(name string) bool {
	value, ok := p.words[name]
	if ok && value == "" {
		delete(p.words, name)
	}
	return ok && value == ""
}

func (p *phrase) text(name string) (string, bool) {
	value, ok := p.words[name]
	delete(p.words, name)
	return value, ok
}

func (p *phrase) list(name string) []string {
	if value, ok := p.text(name); ok {
		return strings.Split(value, ",")
	}
	return nil
}

func (p *phrase) duration(name string) (d time.Duration) {
	if value, ok := p.text(name); ok {
		d = must[time.Duration](p.s, value)(time.ParseDuration(value))
	}
	return d
}

func (p *phrase) number(name string) (n int, ok bool) {
	value, ok := p.text(name)
	if ok {
		n = must[int](p.s, value)(strconv.Atoi(value))
	}
	return n, ok
}

// first takes the first word, which is not a fact but a name or a time.
func (p *phrase) first(what string) string {
	if len(p.order) == 0 || !p.has(p.order[0]) {
		p.s.bad("no %s", what)
	}
	return p.order[0]
}

var statuses = []string{"pending", "running", "impacted", "failed", "aborted", "completed"}

func (p *phrase) status() (status kapi.Status, ok bool) {
	i := slices.IndexFunc(statuses, p.has)
	return kapi.Status(max(i, 0)), i >= 0
}

func must[T any](s *script, value string) func(T, error) T {
	return func(parsed T, err error) T {
		if err != nil {
			s.bad("%s: %v", value, err)
		}
		return parsed
	}
}

// String returns the phrase as in a script: the status, then the rest in alphabetical order.
func (p *phrase) String() string {
	var status string
	var rest []string
	for _, name := range slices.Sorted(maps.Keys(p.words)) {
		switch value := p.words[name]; {
		case slices.Contains(statuses, name):
			status = name
		case slices.Contains(verbose, name):
			rest = append(rest, name+" "+value)
		case value == "" && name != "state": // a plain word
			rest = append(rest, name)
		case value == "" || strings.ContainsAny(value, " \"\\\x00"):
			rest = append(rest, fmt.Sprintf("%s=%q", name, value))
		default:
			rest = append(rest, name+"="+value)
		}
	}
	return strings.TrimSpace(status + " " + strings.Join(rest, " "))
}
