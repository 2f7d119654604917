package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/scheme"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
)

// Options of New. The zero value suits most programs.
type Options struct {
	// HTTP sends the requests, and opens the gateway's connections. Nil is a client with a timeout of
	// 15 s for a request. A redirect that would send the token to another host, or from https to http,
	// is refused whatever its CheckRedirect says.
	HTTP *http.Client
	// EndTimeout is how long Do tries to report the end of its operation. 0 and negative are no limit.
	EndTimeout time.Duration
	// Retrying, if set, is called when Do begins to repeat a start that failed, with the reason and with
	// how long Do keeps trying. It is called at most once for each Do, and must not block.
	Retrying func(err error, within time.Duration)
	// Reporting, if set, is called with the reason when the server no longer accepts reports on an action
	// that Do runs, and with nil when it accepts them again. It must not block.
	Reporting func(id string, err error)
}

// A Client talks to one server. Its methods may be called concurrently.
type Client struct {
	base  string // the server's address, with /v4
	token string
	http  *http.Client

	endTimeout time.Duration
	retrying   func(err error, within time.Duration)
	reporting  func(id string, err error)
	closing    context.Context // ended by Close
	close      context.CancelFunc
}

const (
	requestTimeout = 15 * time.Second
	pingAfter      = 5 * time.Second
	// maxAnswer is the longest answer that is accepted, in bytes.
	maxAnswer = 64 << 20
)

// New returns a client of the server at address, a URL like https://kapi.example or
// http://127.0.0.1:4080/prefix. A final /v4 may be left out. token is bare, or begins with Bearer or Bot;
// white space and a byte order mark around it are ignored. New doesn't contact the server. Its error is a
// *kapi.InvalidError.
func New(address, token string, o Options) (*Client, error) {
	base, err := baseOf(address)
	if err != nil {
		return nil, err
	}
	if o.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		// Without this, a dead HTTP/2 connection is given up only after many minutes.
		transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter}
		o.HTTP = &http.Client{Transport: transport, Timeout: requestTimeout}
	}
	if o.Retrying == nil {
		o.Retrying = func(error, time.Duration) {}
	}
	if o.Reporting == nil {
		o.Reporting = func(string, error) {}
	}
	token, err = credentials(token)
	if err != nil {
		return nil, err
	}
	c := &Client{
		base: base, token: token, http: careful(o.HTTP),
		endTimeout: o.EndTimeout, retrying: o.Retrying, reporting: o.Reporting,
	}
	c.closing, c.close = context.WithCancel(context.Background())
	return c, nil
}

// baseOf returns the URL of the routes. The error doesn't quote the address, which may contain a password.
func baseOf(address string) (string, error) {
	wrong := func(reason string) (string, error) {
		return "", &kapi.InvalidError{Field: "server", Reason: reason}
	}
	if !strings.Contains(address, "://") {
		return wrong("must begin with http:// or https://, as in http://127.0.0.1:4080 or https://HOST")
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return wrong("is not a URL like https://HOST or http://HOST:PORT")
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("must begin with http:// or https://; the server says where its gateway is")
	case u.Host == "":
		return wrong("has no host: it must be a URL like https://HOST")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsRune(address, '@'):
		return wrong("must have no user, and nothing after its path")
	}
	const version = "/v4"
	return strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), version) + version, nil
}

// credentials makes an Authorization header from a token. It removes the padding that files and variables
// add: line ends (including those of Windows), spaces, a byte order mark. Characters that no token has
// are refused, with an error that doesn't quote the token.
func credentials(token string) (header string, err error) {
	kind, secret := scheme.Cut(strings.Join(strings.FieldsFunc(token, wellformed.IsPadding), " ") + " ")
	words := strings.Fields(secret)
	switch {
	case kind == "":
		kind = scheme.Bearer
	case len(words) == 0:
		return "", &kapi.InvalidError{Field: "token", Reason: "is missing after " + kind}
	}
	switch {
	case len(words) == 0:
		return "", nil
	case len(words) > 1:
		return "", &kapi.InvalidError{Field: "token", Reason: "has a space or a line end in it"}
	case strings.ContainsFunc(words[0], func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", &kapi.InvalidError{Field: "token", Reason: "has a character in it that is not printable ASCII"}
	case strings.ContainsAny(words[0][:1], `"'`):
		return "", &kapi.InvalidError{Field: "token", Reason: "begins with a quotation mark"}
	}
	return kind + " " + words[0], nil
}

// Close closes idle connections. A running Do stops reporting: its operation continues, but the server
// learns nothing more of it.
func (c *Client) Close() error {
	c.close()
	c.http.CloseIdleConnections()
	return nil
}

// List returns all ongoing actions, oldest first.
func (c *Client) List(ctx context.Context) ([]kapi.Action, error) {
	return ask[[]kapi.Action](ctx, c, http.MethodGet, "/kapi/actions", nil, nil)
}

// Get returns an ongoing action. The error is kapi.ErrUnknown if there is none with that id.
func (c *Client) Get(ctx context.Context, id string) (kapi.Action, error) {
	return ask[kapi.Action](ctx, c, http.MethodGet, actionPath(id), nil, nil)
}

func actionPath(id string) string { return "/kapi/actions/" + url.PathEscape(id) }

// Dismiss ends a failed action and frees its keys. It returns the ended action, but with the Seq and
// UpdatedAt from before, because the server's answer has no body. The error may be kapi.ErrUnknown or
// kapi.ErrNotFailed. The last parameter is ignored, since the server knows who sent the request.
func (c *Client) Dismiss(ctx context.Context, id, _ string) (kapi.Action, error) {
	a, err := c.Get(ctx, id)
	if err != nil {
		return kapi.Action{}, err
	}
	if err := c.call(ctx, http.MethodPost, actionPath(id)+"/dismiss", nil, nil, nil); err != nil {
		return kapi.Action{}, err
	}
	a.Status, a.Keys = kapi.StatusAborted, nil
	return a, nil
}

// Cancel asks the runner of an action to stop. The error may be kapi.ErrUnknown or a
// *kapi.NotCancellableError. The last parameter is ignored, since the server knows who sent the request.
func (c *Client) Cancel(ctx context.Context, id, _ string) (kapi.Action, error) {
	return ask[kapi.Action](ctx, c, http.MethodPost, actionPath(id)+"/cancel", nil, nil)
}

// GiveUp fails an impacted action at once, as not proven dead. Its errors are those of Cancel.
func (c *Client) GiveUp(ctx context.Context, id, _ string) (kapi.Action, error) {
	return ask[kapi.Action](ctx, c, http.MethodPost, actionPath(id)+"/cancel", nil, wire.Cancel{GiveUp: true})
}
