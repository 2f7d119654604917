// Package bench measures what kapi promises about speed and size. It is a separate module, so that its
// dependencies don't reach those who embed kapi. README.md says how to run each measurement and how to
// read it.
package bench
