package store

import (
	"encoding/json"
	"fmt"

	"github.com/kettubot/kapi"
)

// A RecordedStart is a start as a store keeps it until it is adopted.
type RecordedStart struct {
	// ID is the action's id.
	ID string
	// Keys are the keys that the action holds already.
	Keys []string
	// Data is the rest, for this package alone to read.
	Data []byte
}

// recordedData is what RecordedStart.Data encodes.
type recordedData struct {
	Title            string       `json:"title"`
	Description      string       `json:"description"`
	ReleaseOnFailure bool         `json:"release_on_failure,omitempty"`
	LeaveRunning     bool         `json:"leave_running,omitempty"`
	Runner           *kapi.Runner `json:"runner,omitempty"`
	Defined          *definedForm `json:"defined,omitempty"`
}

// Recorded returns the start to record for r, which no peer has seen yet.
func Recorded(r *Record) (RecordedStart, error) {
	d := recordedData{
		Title: r.Title, Description: r.Description,
		ReleaseOnFailure: r.ReleaseOnFailure, LeaveRunning: r.LeaveRunning, Runner: r.Runner,
	}
	if r.Defined != nil {
		form := definedFormOf(r)
		d.Defined = &form
	}
	data, err := json.Marshal(d)
	if err != nil {
		return RecordedStart{}, fmt.Errorf("encode a start: %w", err)
	}
	return RecordedStart{ID: r.ID, Keys: r.Keys, Data: data}, nil
}

// Record returns the action that was started, as a refusal names it: pending, without a seq.
func (s RecordedStart) Record() (Record, error) {
	var d recordedData
	if err := json.Unmarshal(s.Data, &d); err != nil {
		return Record{}, fmt.Errorf("can't read start %s, recorded by a transaction: %w", s.ID, err)
	}
	r := Record{
		Action: kapi.Action{
			ID: s.ID, Title: d.Title, Description: d.Description,
			Status: kapi.StatusPending, Keys: s.Keys, Runner: d.Runner,
		},
		ReleaseOnFailure: d.ReleaseOnFailure, LeaveRunning: d.LeaveRunning,
	}
	d.Defined.fill(&r)
	return r, nil
}
