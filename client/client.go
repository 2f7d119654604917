package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// ErrForbidden: the token is valid, but may not do this.
var ErrForbidden = errors.New("not allowed: actions are for admins only")

// Options of New. The zero value is right for most programs.
type Options struct {
	// HTTP sends the requests. Nil is a client of its own that gives up on a request after
	// 15 s; it is used for the gateway's connections too.
	HTTP *http.Client
}

// A Client talks to one server. Its methods may be called concurrently.
type Client struct {
	base  string // with /v4
	token string
	http  *http.Client
}

const (
	requestTimeout = 15 * time.Second
	// maxAnswer bounds what a server may answer, in bytes.
	maxAnswer = 64 << 20
)

// New returns a client of the server at address, a URL like https://kapi.example or
// http://127.0.0.1:4080/prefix. token is bare, or begins with Bearer or Bot. It asks the
// server nothing yet.
func New(address, token string, o Options) (*Client, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, &kapi.InvalidError{Field: "server", Reason: "is not a URL"} // which may hold a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, &kapi.InvalidError{Field: "server", Reason: "must be a URL like https://HOST"}
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, &kapi.InvalidError{Field: "server", Reason: "must have nothing behind its path, and no user"}
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: requestTimeout}
	}
	if scheme, _, ok := strings.Cut(token, " "); token != "" && (!ok || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "Bot")) {
		token = "Bearer " + token
	}
	return &Client{base: strings.TrimSuffix(u.String(), "/") + "/v4", token: token, http: o.HTTP}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// List returns all ongoing actions, oldest first.
func (c *Client) List(ctx context.Context) (all []kapi.Action, err error) {
	return all, c.call(ctx, http.MethodGet, "/kapi/actions", nil, nil, &all)
}

// Get returns an ongoing action. The error is kapi.ErrUnknown if there is none with that id.
func (c *Client) Get(ctx context.Context, id string) (a kapi.Action, err error) {
	return a, c.call(ctx, http.MethodGet, actionPath(id), nil, nil, &a)
}

func actionPath(id string) string { return "/kapi/actions/" + url.PathEscape(id) }

// A Start says what to start.
type Start struct {
	Title            string   `json:"title"`
	Description      string   `json:"description,omitempty"`
	Keys             []string `json:"keys,omitempty"`
	ReleaseOnFailure bool     `json:"release_on_failure,omitempty"`
	// IdempotencyKey, if it is set, makes that a start which is repeated starts once.
	IdempotencyKey string `json:"-"`
}

// Start starts an action whose work this program does. The error may be a *kapi.HeldError.
func (c *Client) Start(ctx context.Context, s Start) (r kapi.Remote, err error) {
	header := http.Header{}
	if s.IdempotencyKey != "" {
		header.Set("Idempotency-Key", s.IdempotencyKey)
	}
	return r, c.call(ctx, http.MethodPost, "/kapi/actions", header, s, &r)
}

// Report says how an action is doing that this program started, and renews its lease. cancel
// says that it was asked to stop.
func (c *Client) Report(ctx context.Context, id string, r kapi.Report) (a kapi.Action, cancel bool, err error) {
	body := map[string]any{"fence": r.Fence}
	if r.Status != nil {
		body["status"] = int(*r.Status)
	}
	if r.State != nil {
		body["state"] = *r.State
	}
	switch {
	case r.Progress != nil:
		body["progress"] = *r.Progress
	case r.ResetProgress:
		body["progress"] = nil
	}
	var answer json.RawMessage
	if err := c.call(ctx, http.MethodPatch, actionPath(id), nil, body, &answer); err != nil {
		return a, false, err
	}
	var told struct{ Cancel bool }
	if err := errors.Join(json.Unmarshal(answer, &a), json.Unmarshal(answer, &told)); err != nil {
		return a, false, fmt.Errorf("%w: the answer is no action: %w", kapi.ErrUnavailable, err)
	}
	return a, told.Cancel, nil
}

// Dismiss ends a failed action and frees its keys. It returns the action as it was before.
// The error is kapi.ErrUnknown or kapi.ErrNotFailed. by is not used: the server knows who asks.
func (c *Client) Dismiss(ctx context.Context, id, _ string) (kapi.Action, error) {
	a, err := c.Get(ctx, id)
	if err != nil {
		return a, err
	}
	return a, c.call(ctx, http.MethodPost, actionPath(id)+"/dismiss", nil, nil, nil)
}

// Cancel asks the runner of an action to stop. The error is kapi.ErrUnknown or a
// *kapi.NotCancellableError. by is not used: the server knows who asks.
func (c *Client) Cancel(ctx context.Context, id, _ string) (a kapi.Action, err error) {
	return a, c.call(ctx, http.MethodPost, actionPath(id)+"/cancel", nil, nil, &a)
}

// call sends a request and reads the answer into answer, if there is to be one.
func (c *Client) call(ctx context.Context, method, path string, header http.Header, body, answer any) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("server %s: %w: %w", c.base, kapi.ErrUnavailable, unwrapURL(err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("server %s: %w: the answer broke off: %w", c.base, kapi.ErrUnavailable, err)
	case len(data) > maxAnswer:
		return fmt.Errorf("server %s: the answer has more than %d bytes", c.base, maxAnswer)
	case resp.StatusCode >= 300:
		return c.refusal(resp, data)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("server %s: this is no kapi: %w", c.base, err)
	}
	return nil
}

// unwrapURL takes off what net/http puts around an error: the address is told already.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// refusal turns an answer into the error that a peer would give.
func (c *Client) refusal(resp *http.Response, data []byte) error {
	var body struct {
		Code    int
		Message string
		Report  string
		Action  *kapi.Action
	}
	_ = json.Unmarshal(data, &body) // an answer that isn't kapi's says nothing
	switch body.Code {
	case 40006:
		return auth.ErrNoToken
	case 40002:
		return auth.ErrInvalidToken
	case 40007:
		return auth.ErrExpiredToken
	case 50002:
		return ErrForbidden
	case 10015:
		return kapi.ErrUnknown
	case 20000:
		return kapi.ErrNotFailed
	case 20001:
		if body.Action != nil {
			return held(body.Message, *body.Action)
		}
	case 20002:
		return kapi.ErrStaleFence
	case 20004:
		return &kapi.NotCancellableError{Reason: strings.TrimPrefix(body.Message, "Can't be cancelled: ")}
	case 20006:
		return kapi.ErrOtherRequest
	}
	switch {
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		err := fmt.Errorf("server %s: %w: it answered %s", c.base, kapi.ErrUnavailable, resp.Status)
		if body.Report != "" {
			err = fmt.Errorf("%w (report %s)", err, body.Report)
		}
		return err
	case body.Message != "":
		return errors.New(body.Message)
	}
	return fmt.Errorf("server %s: it answered %s: this is no kapi", c.base, resp.Status)
}

// held remakes the refusal of a start. The key stands in its message.
func held(message string, holder kapi.Action) error {
	e := &kapi.HeldError{Holder: holder}
	if rest, ok := strings.CutPrefix(message, `key "`); ok {
		e.Key, _, _ = strings.Cut(rest, `"`)
	}
	return e
}
