package wire

import (
	"errors"
	"net/http"

	"github.com/kettubot/kapi"
)

// The parameters of a start of an operation.
const (
	ParamPreview  = "preview"
	ParamContinue = "continue"
	ParamWait     = "wait"
)

// StartParameters returns all of them.
func StartParameters() []string { return []string{ParamPreview, ParamContinue, ParamWait} }

// An OperationStarted answers POST /kapi/operations/{name}. Its status is 201.
type OperationStarted struct {
	Action kapi.Action `json:"action"`
}

// A Previewed answers such a request with ParamPreview. Its status is 200.
type Previewed struct {
	Preview kapi.Preview `json:"preview"`
}

// NotContinued is the refusal of a start that continues an action which has not failed.
var NotContinued = plain(http.StatusConflict, codeNotFailed, "Only failed actions can be continued")

// refusedOperation is Refused for the errors that only operations have.
func refusedOperation(err error) *Refusal {
	var unknown *kapi.UnknownOperationError
	if errors.As(err, &unknown) {
		message := "U" + unknown.Error()[1:] // "unknown operation ..."
		return &Refusal{http.StatusNotFound, codeNoOperation, message, Facts{Operation: unknown.Name, Operations: unknown.Known}}
	}
	var arguments *kapi.ArgumentsError
	if errors.As(err, &arguments) {
		return &Refusal{
			BadBody.Status, BadBody.Code, BadBody.Message + ": " + arguments.Error(),
			Facts{Operation: arguments.Operation, Fields: arguments.Fields},
		}
	}
	var preflight *kapi.PreflightError
	if errors.As(err, &preflight) {
		return &Refusal{
			http.StatusUnprocessableEntity, codePreflight, "Refused by its preflight: " + preflight.Reason,
			Facts{Operation: preflight.Operation, Reason: preflight.Reason},
		}
	}
	var cancelled *kapi.CancelledError
	if errors.As(err, &cancelled) {
		return &Refusal{Unknown.Status, Unknown.Code, Unknown.Message + ": it was " + cancelled.Error() + " before it began", Facts{CancelledBy: &cancelled.By}}
	}
	var pause *kapi.NotPausableError
	if errors.As(err, &pause) {
		return &Refusal{http.StatusConflict, codeNotCancelled, notPaused + pause.Reason, Facts{Reason: pause.Reason}}
	}
	return nil
}
