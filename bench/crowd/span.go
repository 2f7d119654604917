package crowd

import "time"

const (
	// Span is the time that a reporting command's progress from 0 to 1 stands for.
	Span = 20 * time.Minute
	// Apart is the time between two ends, when reporting commands are told to end.
	Apart = 20 * time.Millisecond
)
