// Package bench measures what kapi promises about speed and size. It is a module of its
// own, so that nothing it needs reaches those who embed kapi. README.md says how to run
// each measurement and how to read it.
package bench
