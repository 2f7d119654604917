package peer

import (
	"encoding/json"
	"errors"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wellformed"
)

// A start that was recorded for another peer is refused by the one that claims it. The reason is kept in the record, so
// that the starter returns the error that it would have returned itself.

// refusalOf returns what is to be kept of err. Its text is the state of the refused action.
func refusalOf(err error) *store.Refusal {
	var wrong *kapi.ArgumentsError
	var refused *kapi.PreflightError
	switch {
	case errors.As(err, &wrong):
		kept := &store.Refusal{}
		for _, f := range wrong.Fields {
			kept.Fields, kept.Reasons = append(kept.Fields, f.Field), append(kept.Reasons, f.Reason)
		}
		return kept
	case errors.As(err, &refused):
		return &store.Refusal{Preflight: refused.Reason}
	}
	return &store.Refusal{Invalid: err.Error()}
}

// refusalError returns the error that a refusal of a start of the named operation stands for.
func refusalError(operation string, r *store.Refusal) error {
	switch {
	case r.Key != "" || r.Operation != "":
		held := &kapi.HeldError{Key: fit(r.Key, wellformed.MaxKey), Operation: r.Operation, Limit: r.Limit}
		var holder kapi.Action
		if json.Unmarshal(r.Holder, &holder) == nil && store.IsID(holder.ID) {
			holder.Title = fit(holder.Title, wellformed.MaxTitle)
			holder.Description = fit(holder.Description, wellformed.MaxDescription)
			holder.State = fit(holder.State, wellformed.MaxState)
			held.Holder = holder
		}
		return held
	case r.Preflight != "":
		return &kapi.PreflightError{Operation: operation, Reason: fit(r.Preflight, wellformed.MaxState)}
	case len(r.Fields) > 0:
		wrong := &kapi.ArgumentsError{Operation: operation}
		for i := range min(len(r.Fields), len(r.Reasons), maxWrongFields) {
			wrong.Fields = append(wrong.Fields, kapi.FieldError{
				Field: fit(r.Fields[i], wellformed.MaxState), Reason: fit(r.Reasons[i], wellformed.MaxState),
			})
		}
		return wrong
	}
	return &kapi.InvalidError{Reason: fit(r.Invalid, wellformed.MaxState)}
}
