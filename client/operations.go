package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
)

// Offers returns all operations that live peers of the store offer, or did in the last 30 days, in alphabetical order.
func (c *Client) Offers(ctx context.Context) ([]kapi.Offer, error) {
	return ask[[]kapi.Offer](ctx, c, http.MethodGet, "/kapi/operations", nil, nil)
}

// StartOperation starts an operation by its name; a peer that offers it does the work. arguments is a JSON object;
// nil is "{}". o.By is ignored, since the server knows who sent the request. o.Wait is rounded up to seconds.
//
// The error may be an *UnknownOperationError, a *NotOfferedError (nothing was started), an *ArgumentsError, a
// *HeldError, a *PreflightError, an *InvalidError, a *CancelledError if somebody cancels it before it begins, or
// kapi.ErrOtherRequest, ErrUnknown or ErrNotFailed (for o.Continue). If it wraps kapi.ErrUnavailable and is no
// *NotOfferedError, the operation may have been started and the answer lost. With an idempotency key the start can be
// repeated safely.
func (c *Client) StartOperation(ctx context.Context, name string, arguments json.RawMessage, o kapi.StartOptions) (kapi.Started, error) {
	header := http.Header{}
	if o.IdempotencyKey != "" {
		header.Set("Idempotency-Key", o.IdempotencyKey)
	}
	for field, text := range map[string]string{"operation": name, "continue": o.Continue, "idempotency key": o.IdempotencyKey} {
		if flaw := wellformed.Text(text); flaw != "" {
			return kapi.Started{}, &kapi.InvalidError{Field: field, Reason: flaw}
		}
	}
	query := url.Values{}
	if o.Preview {
		query.Set(wire.ParamPreview, "true")
	}
	switch {
	case o.Wait < 0:
		query.Set(wire.ParamWait, "true")
	case o.Wait > 0:
		query.Set(wire.ParamWait, strconv.FormatInt(int64(math.Ceil(o.Wait.Seconds())), 10))
	}
	if o.Continue != "" {
		query.Set(wire.ParamContinue, o.Continue)
	}
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") { // no route has them
		return kapi.Started{}, c.unknownOperation(ctx, name)
	}
	path := "/kapi/operations/" + url.PathEscape(name)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var body any
	switch given := bytes.TrimSpace(arguments); {
	case len(given) == 0, string(given) == "null":
	default:
		if flaw := flawOf(given); flaw != "" {
			return kapi.Started{}, &kapi.ArgumentsError{Operation: name, Fields: []kapi.FieldError{{Reason: flaw}}}
		}
		body = json.RawMessage(given)
	}
	return ask[kapi.Started](ctx, c, http.MethodPost, path, header, body)
}

// unknownOperation returns the error for a name that no operation has.
func (c *Client) unknownOperation(ctx context.Context, name string) error {
	offers, err := c.Offers(ctx)
	if err != nil {
		return err
	}
	unknown := &kapi.UnknownOperationError{Name: name}
	for _, o := range offers {
		unknown.Known = append(unknown.Known, o.Name)
	}
	return unknown
}

// flawOf says why arguments can't be those of any operation, as a peer does. Not all of them could be sent.
func flawOf(arguments json.RawMessage) string {
	if len(arguments) > wellformed.MaxArguments {
		return fmt.Sprintf("have %d bytes, at most %d are allowed", len(arguments), wellformed.MaxArguments)
	}
	if err := json.Compact(new(bytes.Buffer), arguments); err != nil {
		return fmt.Sprintf("must be JSON: %v", err)
	}
	if arguments[0] != '{' {
		return "must be a JSON object"
	}
	if flaw := wellformed.JSON(arguments); flaw != "" {
		return "have a text that " + flaw
	}
	return ""
}

// Pause asks an operation that was started by its name to pause. The error may be kapi.ErrUnknown or a
// *kapi.NotPausableError. The last parameter is ignored, since the server knows who sent the request.
func (c *Client) Pause(ctx context.Context, id, _ string) (kapi.Action, error) {
	return c.changePause(ctx, id, "/pause")
}

// Unpause ends a pause. Its errors are those of Pause.
func (c *Client) Unpause(ctx context.Context, id, _ string) (kapi.Action, error) {
	return c.changePause(ctx, id, "/resume")
}

func (c *Client) changePause(ctx context.Context, id, route string) (kapi.Action, error) {
	a, err := ask[kapi.Action](ctx, c, http.MethodPost, actionPath(id)+route, nil, nil)
	var no *kapi.NotCancellableError // the two errors have one code
	if errors.As(err, &no) {
		err = &kapi.NotPausableError{Reason: no.Reason}
	}
	return a, err
}
