// Package progress finds out how a command is doing from what the command already says:
//
//   - [Scanner] splits output into the lines that a reader would see, and finds the
//     terminal's progress escape (OSC 9;4) in it;
//   - [Pattern] reads progress from lines with a user's regular expression ([ParsePattern]);
//   - [Guess] reads it from a percentage on lines of one shape, given enough evidence;
//   - [ParseNotice] reads a datagram of systemd's notify protocol;
//   - [Text] makes a command's text safe to show on people's terminals;
//   - [Tracker] combines all of this into one report: it decides which source counts, and
//     when the action is impacted.
//
// Everything except the Tracker is a pure function of its input, with no clock, file or
// goroutine. Support for further ways to show progress belongs here.
package progress
