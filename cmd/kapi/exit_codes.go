package main

import (
	"strconv"
	"strings"
)

// An exitMeaning is one row of the table of exit codes.
type exitMeaning struct{ code, when string }

// exitCodes is what kapi exits with: the one table from which the help and the manual are made, and which
// docs/commands.md repeats.
func exitCodes() []exitMeaning {
	return []exitMeaning{
		{"the command's own", "it ran (run), or it ended so (watch ID)"},
		{"0", "success"},
		{strconv.Itoa(exitOther), "any other error, an unknown id included; the command was cancelled, and then ended with 0"},
		{strconv.Itoa(exitUsage), "wrong usage"},
		{strconv.Itoa(exitUnavailable), "store or server can't be reached: the command was not started"},
		{strconv.Itoa(exitFault), "a fault of kapi's own; stderr has the stack"},
		{strconv.Itoa(exitHeld), "the key is held; who holds it is on stderr"},
		{strconv.Itoa(exitForbidden), "the server refuses the token: none, not valid, expired, or not for this"},
		{strconv.Itoa(exitTimeout), "its --timeout ran out"},
		{"126, 127", "the command can't be executed, doesn't exist"},
		{"128+N", "killed by signal N; 130 if Ctrl-C ended it before the command ran"},
	}
}

// exitHelp is the table as a paragraph of help.
func exitHelp() string {
	var rows []string
	for _, e := range exitCodes() {
		rows = append(rows, e.code+": "+e.when)
	}
	return "Exit codes:\n\n    " + strings.Join(rows, "\n    ")
}
