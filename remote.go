package kapi

// What passes between a runner and a server that keeps its action.

// A Remote is an action as its runner elsewhere must know it.
type Remote struct {
	Action Action `json:"action"`
	// Fence goes with every report. It is a new one when the keys that were waited for have come.
	Fence uint64 `json:"fence"`
	// LeaseMS is how many milliseconds may pass between reports before the action is shown as impacted.
	LeaseMS   int64    `json:"lease_ms"`
	Dismissed []Action `json:"dismissed,omitempty"` // by the start (Spec.DismissFailed), as they were before
}

// A Report is what the runner of an action says of it.
type Report struct {
	// Fence is the start's.
	Fence uint64
	// Status is a move to 1, 2, 3 or 5; nil is none.
	Status *Status
	// ResetProgress makes the progress unknown again.
	ResetProgress bool
	// Progress is 0 to 1; a lower one than before is ignored. Nil says nothing.
	Progress *float64
	// State is cut to 500 code points; "" clears it. Nil says nothing.
	State *string
	// ExitCode is the wrapped command's, 0 to 4294967295; it goes with status 3 or 5 only.
	ExitCode *int
}
