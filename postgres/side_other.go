//go:build !linux

package postgres

import (
	"errors"
	"os"
	"time"
)

func openSide(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func inPlace(*os.File) bool { return false }

func sinceBoot() time.Duration { return 0 }
