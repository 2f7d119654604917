package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
)

const (
	// greetWithin bounds the steps of a new connection.
	greetWithin = 15 * time.Second
	// maxMessage is more than the longest possible action takes, in bytes.
	maxMessage = 1 << 20
)

// A connection is a connection to the gateway on which the client has identified or resumed.
type connection struct {
	*websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
	beats  sync.WaitGroup
	once   sync.Once

	// unanswered counts heartbeats without an answer. busy says that answers are not being read now.
	unanswered atomic.Int32
	busy       atomic.Bool
}

// connect opens a connection, identifies or resumes on it, and starts its heartbeats.
func (w *Watch) connect(ctx context.Context) (_ *connection, err error) {
	gateway, err := ask[wire.Gateway](ctx, w.client, http.MethodGet, "/gateway", nil, nil)
	if err != nil {
		return nil, err
	}
	greet, cancel := context.WithTimeout(ctx, greetWithin)
	defer cancel()
	dialer := *w.client.http
	dialer.Timeout = 0                              // it would limit the whole connection
	if strings.HasPrefix(w.client.base, "https:") { // the server doesn't know of TLS at a proxy it doesn't trust
		gateway.URL = wss(gateway.URL)
	}
	conn, _, err := websocket.Dial(greet, gateway.URL+"?v=4&encoding=json", &websocket.DialOptions{HTTPClient: &dialer})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unavailable("gateway %s: %w", gateway.URL, err)
	}
	conn.SetReadLimit(maxMessage)
	c := &connection{Conn: conn}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(greet, c.end)
	defer func() {
		if !stop() && err == nil {
			err = unavailable("gateway %s: it did not greet in time", gateway.URL)
		}
		if err != nil {
			c.end()
		}
	}()
	var hello wire.Hello
	m, err := c.read()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(m.D, &hello); err != nil || m.Op != wire.OpHello || hello.Interval <= 0 {
		return nil, fmt.Errorf("gateway %s: it doesn't say hello", gateway.URL)
	}
	if w.session != "" {
		err = c.send(wire.OpResume, wire.NewResume(w.client.token, w.session, w.seq))
	} else if err = c.send(wire.OpIdentify, wire.NewIdentify(w.client.token, wire.IntentInternal)); err == nil {
		err = w.ready(c)
	}
	if err != nil {
		return nil, err
	}
	c.beats.Go(func() { c.beat(time.Duration(hello.Interval) * time.Millisecond) })
	return c, nil
}

func (w *Watch) ready(c *connection) error {
	m, err := c.read()
	if err != nil {
		return err
	}
	var ready wire.Ready
	if err := json.Unmarshal(m.D, &ready); err != nil || m.T != wire.TypeReady || ready.SessionID == "" {
		return errors.New("the gateway doesn't say READY")
	}
	w.session, w.seq = ready.SessionID, m.S
	return nil
}

func (c *connection) send(op int, d any) error {
	return lost(c.Write(c.ctx, websocket.MessageText, wire.Encode(op, d)))
}

func (c *connection) read() (m wire.Frame, err error) {
	_, data, err := c.Read(context.Background())
	if err != nil {
		return m, lost(err)
	}
	c.unanswered.Store(0)
	if flaw := wellformed.JSON(data); flaw != "" {
		return m, fmt.Errorf("a frame of the gateway %s", flaw)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("the gateway sends no JSON: %w", err)
	}
	return m, nil
}

// wss makes sure that the token, which is sent to an https server, is sent to its gateway over TLS, too. URLs
// with http are handled as well, because websocket.Dial accepts them.
func wss(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	switch strings.ToLower(scheme) {
	case "ws", "http":
		if ok {
			return "wss://" + rest
		}
	}
	return url
}

// beat sends heartbeats until the connection ends. If one was not answered when the next is due, beat
// closes the connection, which may have been lost silently.
func (c *connection) beat(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if !c.busy.Load() && c.unanswered.Add(1) > 1 {
				_ = c.CloseNow()
				return
			}
			if c.send(wire.OpHeartbeat, wire.Heartbeat(0)) != nil {
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *connection) end() {
	c.once.Do(func() {
		c.cancel()
		_ = c.CloseNow()
	})
	c.beats.Wait()
}

// lost returns the error for the end of a connection.
func lost(err error) error {
	if err == nil {
		return nil
	}
	switch wire.Code(websocket.CloseStatus(err)) {
	case wire.CodeToken:
		return auth.ErrInvalidToken
	case wire.CodeForbidden:
		return wire.NotAllowed(auth.Admin)
	case wire.CodeSeq, wire.CodeTimeout:
		return kapi.ErrGap
	case wire.CodeNotIdentified, wire.CodeVersion, wire.CodeIntents:
		return fmt.Errorf("the gateway refuses this client: %w", err)
	}
	return unavailable("gateway: %w", err)
}
