// Package crowd measures what many `kapi run` on one machine cost, each in a process of its own, and
// prints a table of what is promised about that. The README.md of the folder above says how to run it.
package crowd
