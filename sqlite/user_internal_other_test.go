//go:build !linux

package sqlite

func becomeUser(string) error { return nil }
