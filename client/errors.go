package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wire"
)

// An unavailableError says why a request got no answer. It is a kapi.ErrUnavailable, but without
// its text, which is about a store.
type unavailableError struct{ error }

func (e *unavailableError) Is(target error) bool { return target == kapi.ErrUnavailable }
func (e *unavailableError) Unwrap() error        { return e.error }

func unavailable(format string, args ...any) error {
	return &unavailableError{fmt.Errorf(format, args...)}
}

// A limitedError says that a request was above the rate limit. It is a kapi.ErrUnavailable, as the request
// may be repeated, but it is certain that the server did nothing.
type limitedError struct {
	unavailableError
	after time.Duration // how long to wait before repeating it
}

// limited takes the time to wait from kapi's body, or from the header that proxies send.
func (c *Client) limited(resp *http.Response, body *wire.Answer) error {
	after := body.RetryAfter
	if after <= 0 {
		after, _ = strconv.ParseFloat(resp.Header.Get("Retry-After"), 64) // a date is ignored: the client's own pauses apply
	}
	after = min(max(after, 0), 3600)
	return &limitedError{
		unavailableError{fmt.Errorf("server %s: it answered %s: too many requests, try again in %.0f s", c.base, resp.Status, max(math.Ceil(after), 1))},
		time.Duration(after * float64(time.Second)),
	}
}

// unwrapURL removes what net/http wraps around an error, because the message has the address already.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// refusal turns an answer into the error that a peer would return.
func (c *Client) refusal(resp *http.Response, data []byte) error {
	var body wire.Answer
	_ = json.Unmarshal(data, &body) // stays empty if the answer isn't kapi's
	if err := body.Err(); err != nil {
		return err
	}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return c.limited(resp, &body)
	case resp.StatusCode >= 500 && body.Incident != "":
		return unavailable("server %s: it answered %s (incident %s)", c.base, resp.Status, body.Incident)
	case resp.StatusCode >= 500:
		return unavailable("server %s: it answered %s", c.base, resp.Status)
	case resp.StatusCode == http.StatusNotFound && body.Message != "":
		return fmt.Errorf("server %s: it has no such route: its URL must be only the address, and the prefix that kapi is mounted under", c.base)
	case body.Message != "":
		return errors.New(body.Message)
	case resp.StatusCode == http.StatusBadRequest && strings.HasPrefix(c.base, "http://"):
		return fmt.Errorf("server %s: it answered %s: this is not kapi, or it requires https://", c.base, resp.Status)
	}
	return fmt.Errorf("server %s: it answered %s: this is not kapi", c.base, resp.Status)
}
