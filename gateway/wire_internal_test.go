package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// Messages of every length arrive whole, with the library's own messages between them.
func TestFramesOfAllLengths(t *testing.T) {
	lengths := []int{0, 1, 125, 126, 127, 4096, 65535, 65536, 200_000}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own := &takeover{ResponseWriter: w}
		conn, err := websocket.Accept(own, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		ctx := conn.CloseRead(context.Background())
		for _, n := range lengths {
			if _, err := own.conn.Write(framed(bytes.Repeat([]byte("x"), n))); err != nil {
				t.Error(err)
			}
			if err := conn.Ping(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	conn, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for _, n := range lengths {
		kind, data, err := conn.Read(t.Context())
		if err != nil || kind != websocket.MessageText || len(data) != n {
			t.Fatalf("%v of %d bytes, want %d: %v", kind, len(data), n, err)
		}
	}
	_, _, _ = conn.Read(t.Context()) // answers the last ping
}

// A client may identify without waiting for the answer to its handshake.
func TestIdentifyAtOnce(t *testing.T) {
	b := newBench(t, Options{})
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(b.url, "ws://"), "/gateway"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := identifyAdmin + strings.Repeat(" ", 3000)
	message := append([]byte{0x81, 0xFE, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...)
	_, err = fmt.Fprintf(conn, "GET /gateway?v=4 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n%s", message)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	for _, want := range []string{`"op":3`, `"READY"`} {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			t.Fatal(err)
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(r, head[:]); err != nil {
				t.Fatal(err)
			}
			size = int(head[0])<<8 | int(head[1])
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(r, data); err != nil || !bytes.Contains(data, []byte(want)) {
			t.Fatalf("got %q, %v; want %s", data, err, want)
		}
	}
}

// A panic in the embedder's Authenticate ends one connection, and not the process.
func TestPanicInAuthenticate(t *testing.T) {
	b := newBench(t, Options{})
	own := b.gateway.options.Authenticate
	panics := New(b.peer, Options{Logger: b.gateway.log, Authenticate: func(r *http.Request) (auth.Identity, error) {
		if strings.Contains(r.Header.Get("Authorization"), "panic") {
			panic("oops")
		}
		return own(r)
	}})
	server := httptest.NewServer(panics)
	defer server.Close()
	dial := func(token string) *websocket.Conn {
		conn, _, err := websocket.Dial(t.Context(), server.URL+"?v=4", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"op":4,"d":{"token":%q,"intents":64,"properties":{}}}`, token)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	good, bad := dial("a.d.min"), dial("a.panic.b")
	defer good.CloseNow()
	if _, data, err := good.Read(t.Context()); err != nil || !bytes.Contains(data, []byte(`"READY"`)) {
		t.Fatalf("%s, %v", data, err)
	}
	if _, _, err := bad.Read(t.Context()); websocket.CloseStatus(err) != statusOf(wire.CodeUnknown) {
		t.Errorf("ended with %v", err)
	}
	if err := b.peer.Do(t.Context(), kapi.Spec{Title: "t"}, func(context.Context, kapi.Handle) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, data, err := good.Read(t.Context()); err != nil || !bytes.Contains(data, []byte(`"KAPI_ACTION_UPDATE"`)) {
		t.Errorf("the other connection: %s, %v", data, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- panics.Close(t.Context()) }()
	var err error
	for err == nil { // the end is answered by whoever reads
		_, _, err = good.Read(t.Context())
	}
	if got := websocket.CloseStatus(err); got != statusOf(wire.CodeRestart) {
		t.Errorf("the other connection ended with %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
