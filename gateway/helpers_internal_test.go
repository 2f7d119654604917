package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is a gateway over a peer of its own, and the tokens that it knows.
type bench struct {
	t       testing.TB
	peer    *peer.Peer
	gateway *Gateway
	url     string

	mu     sync.Mutex
	tokens map[string]auth.Identity // by what stands in the Authorization header
	down   error
}

var admin = auth.Identity{ID: "1", Name: "ada", Type: auth.TypeUser, Permissions: auth.Admin}

func (b *bench) authenticate(r *http.Request) (auth.Identity, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil {
		return auth.Identity{}, b.down
	}
	given := r.Header.Get("Authorization")
	if c, err := r.Cookie(auth.Cookie); given == "" && err == nil {
		given = "Bearer " + c.Value
	}
	if given == "" {
		return auth.Identity{}, auth.ErrNoToken
	}
	if who, ok := b.tokens[given]; ok {
		return who, nil
	}
	return auth.Identity{}, auth.ErrInvalidToken
}

func (b *bench) revoke(given string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tokens, given)
}

func newBench(t testing.TB, o Options) *bench {
	t.Helper()
	store, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	return newBenchOn(t, store, o)
}

func newBenchOn(t testing.TB, store store.Store, o Options) *bench {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	k, err := peer.Open(t.Context(), store, peer.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, peer: k, tokens: map[string]auth.Identity{
		"Bearer a.d.min":  admin,
		"Bot b.o.t":       {ID: "2", Name: "bot", Type: auth.TypeBot, Permissions: auth.Kettu},
		"Bearer no.bo.dy": {ID: "3", Name: "eve", Type: auth.TypeUser},
	}}
	o.Authenticate, o.Logger = b.authenticate, log
	b.gateway = New(k, o)
	server := httptest.NewServer(b.gateway)
	b.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/gateway"
	t.Cleanup(func() {
		if err := b.gateway.Close(kapitest.Within(t)); err != nil {
			t.Error(err)
		}
		server.Close()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// A client is a connection as other programs make one.
type client struct {
	t    testing.TB
	conn *websocket.Conn
}

func (b *bench) dial() *client { return b.dialWith("?v=4&encoding=json", nil) }

func (b *bench) dialWith(query string, header http.Header) *client {
	b.t.Helper()
	conn, resp, err := websocket.Dial(kapitest.Within(b.t), b.url+query, &websocket.DialOptions{
		HTTPHeader: header, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if x := resp.Header.Get("Sec-WebSocket-Extensions"); x != "" {
		b.t.Errorf("extensions %q were taken", x)
	}
	conn.SetReadLimit(-1)
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{b.t, conn}
}

// A frame is what a client gets.
type frame struct {
	Op *int            `json:"op"`
	T  string          `json:"t"`
	S  *uint64         `json:"s"`
	A  bool            `json:"a"`
	D  json.RawMessage `json:"d"`
}

func (c *client) send(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), kapitest.Patience)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (frame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kapitest.Patience)
	defer cancel()
	kind, data, err := c.conn.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	var f frame
	if err := json.Unmarshal(data, &f); err != nil || kind != websocket.MessageText || f.Op == nil {
		c.t.Errorf("a frame of kind %v: %s (%v)", kind, data, err)
	}
	if op := *f.Op; op != 0 && op != 1 && op != 3 {
		c.t.Errorf("op %d was sent", op)
	}
	return f, nil
}

// next reads a frame and checks its op and type.
func (c *client) next(op int, name string) frame {
	c.t.Helper()
	f, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for op %d %s: %v", op, name, err)
	}
	if *f.Op != op || f.T != name {
		c.t.Fatalf("got op %d %s, want %d %s", *f.Op, f.T, op, name)
	}
	return f
}

func (c *client) wantClose(code wire.Code) {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			if got := websocket.CloseStatus(err); got != statusOf(code) {
				c.t.Errorf("closed with %v, want %d", err, code)
			}
			return
		}
	}
}

const (
	identifyAdmin = `{"op":4,"d":{"token":"a.d.min","intents":64,"properties":"x"}}`
)

type readyData struct {
	User      map[string]any `json:"user"`
	SessionID string         `json:"session_id"`
}

// identify goes through the greeting, and returns the seq and session id of READY.
func (c *client) identify(text string) (uint64, readyData) {
	c.t.Helper()
	c.next(3, "")
	c.send(text)
	f := c.next(0, "READY")
	var d readyData
	if err := json.Unmarshal(f.D, &d); err != nil || f.S == nil || d.User == nil || d.SessionID == "" {
		c.t.Fatalf("READY is %s (%v)", f.D, err)
	}
	return *f.S, d
}

// update reads a change.
func (c *client) update() kapi.Action {
	c.t.Helper()
	f := c.next(0, "KAPI_ACTION_UPDATE")
	var a kapi.Action
	if err := json.Unmarshal(f.D, &a); err != nil || f.S == nil || *f.S != a.Seq {
		c.t.Fatalf("the update is %s (%v)", f.D, err)
	}
	return a
}

// do runs an operation that says something, and ends as err says.
func (b *bench) do(err error) {
	b.t.Helper()
	_ = b.peer.Do(b.t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
		if err := h.Impacted("slow"); err != nil {
			b.t.Error(err)
		}
		return err
	})
}
