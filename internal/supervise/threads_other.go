//go:build !linux

package supervise

// Reserve does nothing on these systems.
func Reserve(string) (wait func() error) { return func() error { return nil } }
