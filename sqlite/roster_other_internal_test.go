//go:build !linux

package sqlite

import (
	"bufio"
	"errors"
)

func roleRun(string, *bufio.Scanner) error { return errors.ErrUnsupported }
