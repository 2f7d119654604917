// Package progress finds out how a command is doing from what the command already says:
//
//   - [Scanner] takes a stream of output apart into the lines that a reader would see, and
//     finds the terminal's progress escape (OSC 9;4) in it;
//   - [Pattern] reads progress from lines as a user's regular expression says ([ParsePattern]);
//   - [Guess] reads it from a percentage on lines of one shape, and is hard to convince;
//   - [ParseNotice] reads a datagram of systemd's notify protocol;
//   - [Text] makes what a command said fit for the terminals of those who read it;
//   - [Tracker] makes one report of all of it: which source counts, and when there are issues.
//
// Everything but the Tracker is a pure function of what it is given: no clock, no file, no
// goroutine. New ways in which commands tell their progress belong here.
package progress
