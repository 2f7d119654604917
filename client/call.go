package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/kettubot/kapi/internal/wellformed"
)

// ask sends a request and returns the answer. With an error it returns the zero T.
func ask[T any](ctx context.Context, c *Client, method, path string, header http.Header, body any) (T, error) {
	var answer, none T
	if err := c.call(ctx, method, path, header, body, &answer); err != nil {
		return none, err
	}
	return answer, nil
}

// call sends a request and reads the answer into answer, unless that is nil.
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
		return unavailable("server %s: %w", c.base, unwrapURL(err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.Request.Method != method: // net/http follows some redirects of other methods with GET
		to := resp.Request.URL
		return fmt.Errorf("server %s: it redirects to %s://%s, use that", c.base, to.Scheme, to.Host)
	case err != nil:
		return unavailable("server %s: the answer broke off: %w", c.base, err)
	case len(data) > maxAnswer:
		return fmt.Errorf("server %s: the answer has more than %d bytes", c.base, maxAnswer)
	case resp.StatusCode >= 300:
		return c.refusal(resp, data)
	case answer == nil:
		return nil
	}
	if flaw := wellformed.JSON(data); flaw != "" { // altered ids and keys could be those of another action
		return unavailable("server %s: the answer %s", c.base, flaw)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("server %s: this is not kapi: %w", c.base, err)
	}
	return nil
}
