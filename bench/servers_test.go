package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

// stamp precedes the time at which an update was published, in nanoseconds.
const stamp = "at="

// publishers plays a server that sends updates to all its connections. It reads commands from stdin:
// "publish COUNT PAUSE" and "resident".
func publishers(address string, publish func(stamp string) error) error {
	fmt.Println("ready")
	fmt.Println(address)
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		switch words := strings.Fields(commands.Text()); words[0] {
		case "resident":
			kib, err := residentKiB()
			if err != nil {
				return err
			}
			fmt.Println(kib)
		case "publish":
			count, err := strconv.Atoi(words[1])
			if err != nil {
				return err
			}
			pause, err := time.ParseDuration(words[2])
			if err != nil {
				return err
			}
			fmt.Println("begins")
			for begin, i := time.Now(), 0; i < count; i++ {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * pause)))
				if err := publish(fmt.Sprint(stamp, time.Now().UnixNano())); err != nil {
					return err
				}
			}
		}
	}
	return commands.Err()
}

func residentKiB() (kib int, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	_, err = fmt.Sscan(rest, &kib)
	return kib, err
}

// anybody accepts the token that the readers have.
func anybody(r *http.Request) (auth.Identity, error) {
	if r.Header.Get("Authorization") != "Bearer "+benchToken {
		return auth.Identity{}, auth.ErrInvalidToken
	}
	return auth.Identity{ID: "1", Name: "bench", Permissions: auth.Admin}, nil
}

const benchToken = "a.b.c"

func listen(h http.Handler) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = http.Serve(listener, h) }()
	return listener.Addr().String(), nil
}

// serveGateway serves kapi's own gateway, including the commits.
func serveGateway(peer joined) error {
	address, err := listen(server.New(peer.Peer, server.Options{Authenticate: anybody, RateLimit: -1, RateLimitAddress: -1}))
	if err != nil {
		return err
	}
	spec := kapi.Spec{Title: "Resharding the cluster", Description: "Moves slots to the node that was added", Keys: []string{"reshard"}}
	return peer.Do(context.Background(), spec, func(_ context.Context, h kapi.Handle) error {
		return publishers(address, h.Impacted)
	})
}

// A bareFrame is what the bare servers send: as many bytes as kapi sends.
func bareFrame(seq int, stamp string) []byte {
	now := time.Now().UnixMilli()
	data, err := json.Marshal(map[string]any{"op": 0, "t": "KAPI_ACTION_UPDATE", "s": seq, "d": kapi.Action{
		ID: "irywzkpbzp5rijhxqfebtctiup", Title: "Resharding the cluster", Description: "Moves slots to the node that was added",
		Keys: []string{"reshard"}, Status: kapi.StatusImpacted, State: stamp, Seq: uint64(seq), CreatedAt: now, StartedAt: now, UpdatedAt: now,
		Runner: &kapi.Runner{ID: "irywzkpbzp5rijhxqfebtctiup", Host: hostname(), PID: os.Getpid(), HeardAt: now},
	}})
	if err != nil {
		panic(err)
	}
	return data
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}

var bareReady = []byte(`{"op":0,"t":"READY","s":0,"d":{}}`)

// bareWebSocket sends to all connections of the same library in a loop, and does nothing else.
func bareWebSocket() error {
	var mu sync.Mutex
	var all []*websocket.Conn
	address, err := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
		if err != nil {
			return
		}
		if _, _, err := conn.Read(context.Background()); err != nil {
			return
		}
		if err := conn.Write(context.Background(), websocket.MessageText, bareReady); err != nil {
			return
		}
		mu.Lock()
		all = append(all, conn)
		mu.Unlock()
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				return
			}
		}
	}))
	if err != nil {
		return err
	}
	seq := 0
	return publishers(address, func(stamp string) error {
		seq++
		frame := bareFrame(seq, stamp)
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range all {
			if err := conn.Write(context.Background(), websocket.MessageText, frame); err != nil {
				return err
			}
		}
		return nil
	})
}

// bareTCP has a goroutine per connection, which writes what it is given.
func bareTCP() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var all []chan []byte
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				if _, err := conn.Read(make([]byte, 512)); err != nil {
					return
				}
				if _, err := conn.Write(framed(bareReady)); err != nil {
					return
				}
				updates := make(chan []byte, 16)
				mu.Lock()
				all = append(all, updates)
				mu.Unlock()
				for frame := range updates {
					if _, err := conn.Write(frame); err != nil {
						return
					}
				}
			}()
		}
	}()
	seq := 0
	return publishers(listener.Addr().String(), func(stamp string) error {
		seq++
		frame := framed(bareFrame(seq, stamp))
		mu.Lock()
		defer mu.Unlock()
		for _, updates := range all {
			updates <- frame
		}
		return nil
	})
}

// framed returns a text message framed as a WebSocket server sends it.
func framed(text []byte) []byte {
	frame := []byte{0x81}
	if len(text) < 126 {
		frame = append(frame, byte(len(text)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(len(text)))
	}
	return append(frame, text...)
}

// serveLists serves kapi's list of 1,000 actions at one address, and the same headers and bytes from
// memory at another, after the same check of the token.
func serveLists(peer joined) error {
	for i := range 1000 {
		if err := startOne(peer.Peer, i); err != nil {
			return err
		}
	}
	secret, token, err := auth.New("bench", auth.TypeBot, auth.Admin, 0)
	if err != nil {
		return err
	}
	if err := peer.store.AddToken(context.Background(), token); err != nil {
		return err
	}
	check := auth.NewAuthenticator(peer.store).Authenticate
	kapiServer := server.New(peer.Peer, server.Options{Authenticate: check, RateLimit: -1, RateLimitAddress: -1})
	time.Sleep(2 * time.Second) // until progress and state have been published
	get := func(header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/v4/kapi/actions", nil)
		r.Header = header
		w := httptest.NewRecorder()
		kapiServer.ServeHTTP(w, r)
		return w
	}
	header := http.Header{"Authorization": {"Bot " + secret}}
	full := get(header)
	etag := full.Header().Get("ETag")
	header.Set("If-None-Match", etag)
	unchanged := get(header)
	if full.Code != http.StatusOK || unchanged.Code != http.StatusNotModified {
		return fmt.Errorf("got status %d and %d", full.Code, unchanged.Code)
	}
	own, err := listen(kapiServer)
	if err != nil {
		return err
	}
	body := full.Body.Bytes()
	bare, err := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := check(r); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer := full
		if r.Header.Get("If-None-Match") == etag {
			answer = unchanged
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		if answer == full {
			_, _ = w.Write(body)
		}
	}))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	fmt.Println(own, bare, secret, etag, len(body))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
