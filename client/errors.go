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

// An unavailableError is what keeps a request from its answer. It is a kapi.ErrUnavailable,
// without its words: those are about a store.
type unavailableError struct{ error }

func (e *unavailableError) Is(target error) bool { return target == kapi.ErrUnavailable }
func (e *unavailableError) Unwrap() error        { return e.error }

func unavailable(format string, args ...any) error {
	return &unavailableError{fmt.Errorf(format, args...)}
}

// A limitedError is the refusal of a client that asks too often. It is a kapi.ErrUnavailable, as the
// request may be repeated, but a definite one: the server did nothing.
type limitedError struct {
	unavailableError
	after time.Duration // until it may be repeated
}

// limited takes the time to wait from kapi's body, or from the header that other servers send.
func (c *Client) limited(resp *http.Response, body *wire.Answer) error {
	after := body.RetryAfter
	if after <= 0 {
		after, _ = strconv.ParseFloat(resp.Header.Get("Retry-After"), 64) // a date is left to our own pauses
	}
	after = min(max(after, 0), 3600)
	return &limitedError{
		unavailableError{fmt.Errorf("server %s: it answered %s: too many requests, try again in %.0f s", c.base, resp.Status, max(math.Ceil(after), 1))},
		time.Duration(after * float64(time.Second)),
	}
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
	var body wire.Answer
	_ = json.Unmarshal(data, &body) // an answer that isn't kapi's says nothing
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
		return fmt.Errorf("server %s: it has no such route: is there more in its URL than its address, and the prefix that kapi is mounted under?", c.base)
	case body.Message != "":
		return errors.New(body.Message)
	case resp.StatusCode == http.StatusBadRequest && strings.HasPrefix(c.base, "http://"):
		return fmt.Errorf("server %s: it answered %s: this is no kapi, or it wants https://", c.base, resp.Status)
	}
	return fmt.Errorf("server %s: it answered %s: this is no kapi", c.base, resp.Status)
}
