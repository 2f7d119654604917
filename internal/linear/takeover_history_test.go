package linear

// The calls of histories with operations. Title is StartOptions.By of the start, because it is known before the id.
const (
	begin   kind = "begin"   // StartOperation
	claim   kind = "claim"   // Run is called: its peer had claimed the action, or started it, before that
	restore kind = "restore" // OperationHandle.Restore
	save    kind = "save"    // OperationHandle.Checkpoint
	proceed kind = "proceed" // OperationHandle.Proceed
	renew   kind = "renew"   // the peer renews its lease in the store
	// These are not calls of a peer:
	gone    kind = "gone"    // the runner is dead, has left, or is silent for so long that others may take over
	unbegun kind = "unbegun" // an action fails because its starter doesn't know whether it started
)

// A runCall is what calls about the run of an operation have besides the others.
type runCall struct {
	// Offers is set for a start at a peer that offers the operation, and so runs it itself.
	Offers bool `json:"offers,omitempty"`
	// ID is that of the action. Origin is OperationHandle.Origin.
	ID     string `json:"id,omitempty"`
	Origin string `json:"origin,omitempty"`
	// Runner is the id of the peer's runner.
	Runner  string `json:"runner,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	// Place is what a save stores.
	Place *place `json:"place,omitempty"`
}

// A place is the checkpoint of an operation. Two saves never store the same one.
type place struct {
	// N counts the steps that are done.
	N int `json:"n"`
	// Fence is that of the runner that has done the last one.
	Fence uint64 `json:"fence"`
}

// found returns the place that a Restore gave, or that is stored; the zero place if there is none.
func found(p *place) place {
	if p == nil {
		return place{}
	}
	return *p
}
