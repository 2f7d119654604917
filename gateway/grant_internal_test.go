package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/wire"
)

// rawDial opens a connection whose frames the test writes itself.
func (b *bench) rawDial(query string) (net.Conn, *bufio.Reader) {
	b.t.Helper()
	host := strings.TrimSuffix(strings.TrimPrefix(b.url, "ws://"), "/gateway")
	c, err := net.Dial("tcp", host)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /gateway%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n", query, host)
	r := bufio.NewReader(c)
	if _, err := http.ReadResponse(r, nil); err != nil {
		b.t.Fatal(err)
	}
	return c, r
}

// rawFrame is a client's frame, masked with zeros. Its header may announce more than it has.
func rawFrame(op byte, announced int, payload string) []byte {
	frame := []byte{0x80 | op, 0x80 | 127}
	frame = binary.BigEndian.AppendUint64(frame, uint64(announced))
	return append(append(frame, 0, 0, 0, 0), payload...)
}

func (b *bench) noConnections(within time.Duration) {
	b.t.Helper()
	for end := time.Now().Add(within); b.gateway.counters.Connections() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%d connections are still there", b.gateway.counters.Connections())
		}
	}
}

// A client that leaves a frame unfinished must not keep its connection in the closing handshake.
func TestUnfinishedFrames(t *testing.T) {
	b := newBench(t, Options{IdentifyWithin: time.Second})
	big, r := b.rawDial("?v=4")
	go io.Copy(io.Discard, r)
	_, _ = big.Write(rawFrame(1, 200<<10, strings.Repeat(" ", maxFrame+1)))
	unversioned, r := b.rawDial("")
	go io.Copy(io.Discard, r)
	_, _ = unversioned.Write(rawFrame(1, 1<<40, ""))
	b.noConnections(20 * time.Second)
}

// The gateway answers pings itself: the library would cut a slow reader.
func TestPing(t *testing.T) {
	b := newBench(t, Options{})
	c, r := b.rawDial("?v=4")
	_, _ = c.Write([]byte{0x89, 0x82, 0, 0, 0, 0, 'h', 'i'})
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var got strings.Builder
	for !strings.Contains(got.String(), "\x8a\x02hi") {
		next, err := r.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteByte(next)
	}
	// Also within the closing handshake.
	go b.gateway.Close(t.Context())
	_, _ = c.Write([]byte{0x89, 0x80, 0, 0, 0, 0})
	b.noConnections(20 * time.Second)
}

// A panic when a token is checked again must not end the process.
func TestPanicWhenCheckedAgain(t *testing.T) {
	b := newBench(t, Options{})
	own := b.gateway.options.Authenticate
	var calls atomic.Int32
	b.gateway.options.Authenticate = func(r *http.Request) (auth.Identity, error) {
		if calls.Add(1) == 2 {
			panic("oops")
		}
		return own(r)
	}
	c := b.dial()
	c.identify(identifyAdmin)
	kapitest.Eventually(t, "it is checked again", func() bool { return calls.Load() >= 3 })
	b.do(nil)
	c.update()
}

// A check of a token that takes long, or hangs, must delay neither other checks nor Close.
func TestSlowChecks(t *testing.T) {
	b := newBench(t, Options{})
	own := b.gateway.options.Authenticate
	var slow atomic.Bool
	hang := make(chan struct{})
	defer close(hang)
	b.gateway.options.Authenticate = func(r *http.Request) (auth.Identity, error) {
		switch given := r.Header.Get("Authorization"); {
		case !slow.Load():
		case strings.HasPrefix(given, "Bearer slow"):
			<-r.Context().Done()
			return auth.Identity{}, r.Context().Err()
		case strings.HasPrefix(given, "Bearer hang"):
			<-hang // whatever its context says
		}
		return own(r)
	}
	for i := range 12 {
		token := fmt.Sprintf("slow.%d.x", i)
		if i == 0 {
			token = "hang.0.x"
		}
		b.tokens["Bearer "+token] = auth.Identity{ID: fmt.Sprint(100 + i), Permissions: auth.Admin}
		b.dial().identify(fmt.Sprintf(`{"op":4,"d":{"token":%q,"intents":64}}`, token))
	}
	c := b.dial()
	c.identify(identifyAdmin)
	slow.Store(true)
	time.Sleep(recheckEvery + recheckEvery/2) // a round of slow checks has begun
	b.revoke("Bearer a.d.min")
	began := time.Now()
	c.wantClose(wire.CodeToken)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a revoked token was cut after %v", took)
	}
}

// The context that Authenticate gets has a deadline, and ends with the client's connection.
func TestAuthenticateHangs(t *testing.T) {
	b := newBench(t, Options{IdentifyWithin: time.Second})
	b.gateway.options.Authenticate = func(r *http.Request) (auth.Identity, error) {
		<-r.Context().Done()
		return auth.Identity{}, context.Cause(r.Context())
	}
	c := b.dial()
	c.next(3, "")
	c.send(identifyAdmin)
	c.wantClose(wire.CodeTimeout)
	b.noConnections(8 * time.Second)
}
