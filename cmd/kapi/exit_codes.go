package main

import (
	"strconv"
	"strings"
)

// An exitMeaning is one row of the table of exit codes.
type exitMeaning struct{ code, when string }

// exitCodes returns the table of exit codes. Help and manual are made from it; docs/commands.md has a copy.
func exitCodes() []exitMeaning {
	return []exitMeaning{
		{"the command's own", "the command ran (run), or the action ended with this code (watch ID, start --follow)"},
		{"0", "success"},
		{strconv.Itoa(exitOther), "any other error, such as an unknown id, or an operation whose preflight refuses; or the command was cancelled and then ended with 0"},
		{strconv.Itoa(exitUsage), "wrong usage"},
		{strconv.Itoa(exitUnavailable), "store or server can't be reached, or no live peer offers the operation: nothing was started"},
		{strconv.Itoa(exitFault), "kapi itself has failed; the stack is on stderr"},
		{strconv.Itoa(exitHeld), "the key is held, or the operation is at its limit; stderr names the holder"},
		{strconv.Itoa(exitForbidden), "the server refuses the token: it is missing, invalid, expired, or lacks the permission"},
		{strconv.Itoa(exitTimeout), "the command reached its --timeout"},
		{"126, 127", "the command can't be executed (126) or doesn't exist (127)"},
		{"128+N", "killed by signal N; 130 also if Ctrl-C ends kapi watch or kapi start --follow, or kapi run before the command starts"},
	}
}

// exitHelp returns the table as a paragraph of help.
func exitHelp() string {
	var rows []string
	for _, e := range exitCodes() {
		rows = append(rows, e.code+": "+e.when)
	}
	return "Exit codes:\n\n    " + strings.Join(rows, "\n    ")
}
