package kapi

// This file has what a runner and the server that keeps its action exchange.

// A Remote is what a runner knows of its action on a server.
type Remote struct {
	Action Action `json:"action"`
	// Fence goes with every report. It changes when the action gets the keys that it waited for.
	Fence uint64 `json:"fence"`
	// LeaseMS is how many milliseconds may pass between reports before the action is shown as impacted.
	LeaseMS   int64    `json:"lease_ms"`
	Dismissed []Action `json:"dismissed,omitempty"` // by the start (Spec.DismissFailed), as they were before
}

// A Report is what a runner reports on its action.
type Report struct {
	// Fence is that of the runner's latest Remote.
	Fence uint64
	// Status is the status to move to, 1, 2, 3 or 5; nil is no move.
	Status *Status
	// ResetProgress makes the progress unknown again.
	ResetProgress bool
	// Progress is 0 to 1; a lower value than before is ignored. Nil leaves it as it is.
	Progress *float64
	// State is cut to 500 code points; "" clears it. Nil leaves it as it is.
	State *string
	// ExitCode is the wrapped command's, 0 to 4294967295. It is allowed with status 3 or 5 only.
	ExitCode *int
}
