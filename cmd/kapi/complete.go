package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi"
)

// completeCmd prints what a shell offers after a command line of kapi start. The completion scripts call it.
type completeCmd struct {
	What  string   `arg:"" enum:"operations,arguments" help:"Names of operations, or of the arguments of the operation that WORDS name."`
	Words []string `arg:"" optional:"" help:"The words of the command line so far, after kapi."`
}

// completeWithin is for how long a store or server may be waited for: the user waits, too.
const completeWithin = time.Second

func (c *completeCmd) Run(a *app) error {
	name, err := a.goTo(rejoined(c.Words))
	if err != nil || a.server == "" && !a.storeExists() {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
	defer cancel()
	return a.with(ctx, func(p place) error {
		offers, err := p.Offers(ctx)
		if err != nil {
			return err
		}
		for _, word := range c.completions(offers, name) {
			if err := writeln(a.stdout, "%s", word); err != nil {
				return err
			}
		}
		return nil
	})
}

// harmless matches the words that every shell takes as they are. A name of an argument is text from a store, which
// others may have written: bash would run a $(COMMAND) in it.
var harmless = regexp.MustCompile(`^[\pL\pN_.-]+=?$`)

// completions returns the harmless ones of the words to offer. name is the operation that the command line has, "" if it
// has none yet.
func (c *completeCmd) completions(offers []kapi.Offer, name string) (words []string) {
	defer func() {
		words = slices.DeleteFunc(words, func(word string) bool { return !harmless.MatchString(word) })
	}()
	for _, o := range offers {
		switch {
		case c.What == "operations" && name == "":
			words = append(words, o.Name)
		case c.What == "arguments" && o.Name == name && o.Schema != nil:
			for _, argument := range parseSchema(o.Schema).names() {
				words = append(words, argument+"=")
			}
		}
	}
	return words
}

// goTo makes a work on the store or server that the words of a command line name, and returns the operation in them.
func (a *app) goTo(words []string) (operation string, err error) {
	var c cli
	parser, err := newParser(&c)
	if err != nil {
		return "", err
	}
	if _, err := parser.Parse([]string{"ls"}); err != nil { // reads the variables
		return "", err
	}
	trace, err := kong.Trace(parser, words)
	if err != nil {
		return "", err
	}
	for _, path := range trace.Path {
		if path.Flag == nil {
			continue
		}
		value, _ := trace.FlagValue(path.Flag).(string)
		for name, into := range map[string]*string{
			"store": &c.Store, "store-schema": &c.StoreSchema, "store-listen": &c.StoreListen, "server": &c.Server, "token": &c.Token_,
		} {
			if path.Flag.Name == name {
				*into = value
			}
		}
	}
	c.StoreTimeout = min(c.StoreTimeout, completeWithin)
	return operationIn(trace), a.take(&c, onTheLine(trace))
}

// storeExists reports whether there is a store: completion must not make one.
func (a *app) storeExists() bool {
	if isPostgres(a.store) {
		return true
	}
	path, err := storePath(a.store)
	if err == nil {
		_, err = os.Stat(path)
	}
	return err == nil
}

// rejoined undoes what bash does to a command line: it makes words of their own of = and :.
func rejoined(words []string) (all []string) {
	joins := func(word string) bool { return slices.Contains([]string{"=", ":"}, word) }
	for i, word := range words {
		if i > 0 && (joins(word) || joins(words[i-1])) {
			all[len(all)-1] += word
			continue
		}
		all = append(all, word)
	}
	return all
}
