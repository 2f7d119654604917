package peer

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/kettubot/kapi"
)

// StartOperation starts an operation by its name. arguments is a JSON object; nil is "{}".
//
// A peer that offers the operation (Options.Operations) runs it itself, and returns once the start is on disk and the
// operation's Preflight, if it has one, has passed. Any other peer records the start for one that does, and returns
// once it is taken on; after StoreTimeout it returns the action as pending, without an error. An action that waits for
// its turn (StartOptions.Wait) is pending, too.
//
// The error is an *UnknownOperationError, a *NotOfferedError (nothing was recorded), an *ArgumentsError, a *HeldError,
// a *PreflightError, an *InvalidError, ErrOtherRequest, ErrUnknown or ErrNotFailed (for StartOptions.Continue),
// ErrClosed, or wraps ErrUnavailable. ctx limits only the start, like that of Start. If it ends after a start was
// recorded for another peer, the start stays recorded.
func (p *Peer) StartOperation(ctx context.Context, name string, arguments json.RawMessage, o kapi.StartOptions) (kapi.Started, error) {
	return kapi.Started{}, errors.ErrUnsupported
}

// Offers returns all operations that live peers of the store offer, or did in the last 30 days, in alphabetical order.
// The error wraps ErrUnavailable, or is ErrClosed.
func (p *Peer) Offers(ctx context.Context) ([]kapi.Offer, error) {
	return nil, errors.ErrUnsupported
}

// Pause asks an operation that was started by its name to pause. It does so at its next Proceed, and is impacted then.
// by names the caller. Asking again changes nothing. It returns the action as of then. The error is ErrUnknown, a
// *NotPausableError, ErrClosed, or wraps ErrUnavailable.
func (p *Peer) Pause(ctx context.Context, id, by string) (kapi.Action, error) {
	return kapi.Action{}, errors.ErrUnsupported
}

// Unpause ends a pause. by names the caller, for the log. The errors are those of Pause. It changes nothing if nobody
// has asked for a pause.
func (p *Peer) Unpause(ctx context.Context, id, by string) (kapi.Action, error) {
	return kapi.Action{}, errors.ErrUnsupported
}
