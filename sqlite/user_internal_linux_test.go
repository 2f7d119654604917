package sqlite

import (
	"errors"
	"fmt"
	"syscall"
)

// becomeUser gives up root's rights for those of a user: its id, its group, and another group. With "" it does
// nothing.
func becomeUser(ids string) error {
	if ids == "" {
		return nil
	}
	var uid, gid, group int
	if _, err := fmt.Sscan(ids, &uid, &gid, &group); err != nil {
		return err
	}
	return errors.Join(syscall.Setgroups([]int{group}), syscall.Setgid(gid), syscall.Setuid(uid))
}
