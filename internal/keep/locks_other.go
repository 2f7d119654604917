//go:build !linux

package keep

import (
	"errors"
	"os"
)

func lock(*os.File, int64) (bool, error) { return false, errors.ErrUnsupported }

func unlock(*os.File, int64, int64) error { return errors.ErrUnsupported }

func held(*os.File, int64, int64) (int64, error) { return 0, errors.ErrUnsupported }
