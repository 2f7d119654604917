//go:build !linux

package proc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

var errNotProvable = fmt.Errorf("%w: this system doesn't tell one process from another with the same pid", errors.ErrUnsupported)

var self = sync.OnceValues(func() (Identity, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Identity{Host: host, PID: os.Getpid()}, errNotProvable
})

func (Identity) life() Life { return Unknown }

func (Identity) stopped() bool { return false }

// processStart includes a reading of the monotonic clock, by which SinceBoot measures.
var processStart = time.Now()

func sinceBoot() time.Duration { return time.Since(processStart) }

func awake() time.Duration { return sinceBoot() }

// A Table is never made on this system, where nothing is known about other processes.
type Table struct{}

// ReadTable returns an error: see Self.
func ReadTable() (*Table, error) { return nil, errNotProvable }

// Remains is not called, as there is no Table.
func (*Table) Remains(Work) Remains { return Remains{Hidden: true} }

// RemainsAbroad is not called, as there is no Table.
func (*Table) RemainsAbroad(Work, string) Remains { return Remains{Hidden: true} }

// Describe returns an error: see Self.
func Describe(int, Mark, []Mark) (Work, error) { return Work{}, errNotProvable }

// Expect returns a record with only the mark, by which nothing can be recognised on this system.
func Expect(mark Mark) Work { return Work{Mark: mark} }

// A Kin finds nothing on this system.
type Kin struct{}

// NewKin returns a Kin.
func NewKin(Ref) *Kin { return &Kin{} }

// Look returns an error: see Self.
func (*Kin) Look() (groups, sessions []int, err error) { return nil, nil, errNotProvable }

// Signal returns an error: see Self.
func Signal(Ref, syscall.Signal) error { return errNotProvable }
