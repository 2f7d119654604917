//go:build !linux

package proc

import (
	"os"
	"sync"
	"time"
)

var self = sync.OnceValue(func() Identity {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Identity{Host: host, PID: os.Getpid()}
})

func (Identity) life() Life { return Unknown }

func (Identity) stopped() bool { return false }

func survivors(string) ([]Process, error) { return nil, nil }

// processStart carries the monotonic clock's reading.
var processStart = time.Now()

func sinceBoot() time.Duration { return time.Since(processStart) }

func terminate(string, Process) error { return nil }
