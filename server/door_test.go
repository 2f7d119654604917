package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// counting is a store of tokens that counts how often it is asked, and can be made to fail.
type counting struct {
	*sqlite.Store
	lookups  atomic.Int64
	readings atomic.Int64 // of all tokens
	fail     atomic.Bool
}

func (c *counting) err() error {
	if c.fail.Load() {
		return fmt.Errorf("%w: the disk is gone", kapi.ErrUnavailable)
	}
	return nil
}

func (c *counting) FindToken(ctx context.Context, id string) (auth.Token, error) {
	c.lookups.Add(1)
	if err := c.err(); err != nil {
		return auth.Token{}, err
	}
	return c.Store.FindToken(ctx, id)
}

func (c *counting) Tokens(ctx context.Context) ([]auth.Token, error) {
	c.readings.Add(1)
	return c.Store.Tokens(ctx)
}

func (c *counting) RemoveToken(ctx context.Context, id string) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Store.RemoveToken(ctx, id)
}

// newTokens returns a counting store of tokens over a real one.
func newTokens(t *testing.T) *counting {
	t.Helper()
	store, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &counting{Store: store}
}

func (c *counting) add(t *testing.T, typ auth.Type) (string, auth.Token) {
	t.Helper()
	return c.addWith(t, typ, auth.Admin, 0)
}

func (c *counting) addWith(t *testing.T, typ auth.Type, perms auth.Permissions, lifetime time.Duration) (string, auth.Token) {
	t.Helper()
	secret, token, err := auth.New("ops", typ, perms, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	return secret, token
}

func TestTokensOfTheStore(t *testing.T) {
	tokens := newTokens(t)
	f := newFixture(t, server.Options{Authenticate: auth.NewAuthenticator(tokens).Authenticate})
	user, token := tokens.add(t, auth.TypeUser)
	kettu, _ := tokens.add(t, auth.TypeKettu)
	id := f.failed("audit")
	for header, want := range map[string]int{
		"Authorization: Bearer " + user: 200,
		"Authorization: Bot " + kettu:   200,
		"Cookie: sess=" + kettu:         200,
		"Authorization: Bot " + user:    401,
		"Authorization: Basic " + user:  401,
	} {
		if w := f.send("GET", "/v4/kapi/actions/"+id, "", header); w.Code != want {
			t.Errorf("%.20s: %d %s", header, w.Code, w.Body)
		}
	}
	if w := f.send("POST", "/v4/kapi/actions/"+id+"/dismiss", "", "Authorization: Bearer "+user); w.Code != 204 {
		t.Errorf("dismiss: %d %s", w.Code, w.Body)
	}
	if line := f.log.line(t, "action dismissed"); line["by"] != "ops ("+token.ID+")" {
		t.Errorf("dismissed by %v", line["by"])
	}

	if err := tokens.RemoveToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Second); ; {
		w := f.send("GET", "/v4/kapi/actions", "", "Authorization: Bearer "+user)
		if w.Code == 401 {
			golden(t, "invalid.json", w)
			break
		}
		if time.Now().After(end) {
			t.Fatal("the revoked token is still good after a second")
		}
	}
	if strings.Contains(f.log.String(), user) || strings.Contains(f.log.String(), kettu) {
		t.Error("the log holds a token")
	}
}

// A flood of wrong tokens is refused and costs the store little. It locks out nobody at the same
// address, whether their token was seen before or not.
func TestFloodOfWrongTokens(t *testing.T) {
	tokens := newTokens(t)
	h := limited(server.Options{Authenticate: auth.NewAuthenticator(tokens).Authenticate, RateLimitAddress: 0.001})
	good, _ := tokens.add(t, auth.TypeUser)
	if w := send(h, nothing(good)); w.Code != 404 || w.Header().Get("X-RateLimit-Bucket") != "identity" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	began := time.Now()
	var group sync.WaitGroup
	var refused atomic.Int64
	for range 8 {
		group.Go(func() {
			for i := range 50 {
				wrong, _, err := auth.New("nobody", auth.TypeUser, auth.Admin, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if send(h, nothing(wrong)).Code == 429 {
					refused.Add(1)
				}
				if i%10 == 0 {
					late, _ := tokens.add(t, auth.TypeUser)
					for _, secret := range []string{good, late} {
						if w := send(h, nothing(secret)); w.Code != 404 || w.Header().Get("X-RateLimit-Bucket") != "identity" {
							t.Errorf("a valid token: %d %v", w.Code, w.Header())
						}
					}
				}
			}
		})
	}
	group.Wait()
	if got := refused.Load(); got != 399 {
		t.Errorf("of 400 wrong tokens %d were refused for their number", got)
	}
	took := time.Since(began)
	if got, most := tokens.readings.Load(), 2+int64(took/(20*time.Millisecond)); got == 0 || got > most {
		t.Errorf("in %v all tokens were read %d times, at most %d are allowed", took, got, most)
	}
	// A second's worth, and half a second each for those that are valid.
	if got, most := tokens.lookups.Load(), 50*(1+int64(took/time.Second))+41*(1+int64(took/(500*time.Millisecond))); got > most {
		t.Errorf("in %v there were %d look-ups, at most %d are allowed", took, got, most)
	}
}

// A valid token is charged for its own requests only, whatever strangers do at the same address.
func TestStrangersLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limited(server.Options{Authenticate: func(r *http.Request) (auth.Identity, error) {
			if r.Header.Get("X-Api-Key") == "embedder" { // nothing that kapi knows of
				return auth.Identity{ID: "key", Permissions: auth.Admin}, nil
			}
			return byName(r)
		}})
		for range 300 {
			for _, r := range []*http.Request{
				nothing(""), nothing("wrong"), request("GET", "/v4/kapi/actions", "", "Cookie: sess=wrong"),
				request("GET", "/", ""), request("GET", "/healthz", ""), request("GET", "/v4/gateway", ""),
				request("GET", "/page/enter?code=x", ""), request("POST", "/page/session", `{"token":"wrong"}`),
			} {
				send(h, r)
			}
		}
		if w := send(h, nothing("")); w.Code != 429 {
			t.Fatalf("strangers have no limit: %d", w.Code)
		}
		for _, r := range []*http.Request{
			nothing("admin"), nothing("owner"), request("GET", "/nothing", "", "Cookie: sess=kettu"),
			request("GET", "/nothing", "", "X-Api-Key: embedder"),
		} {
			if w := send(h, r); w.Code != 404 || w.Header().Get("X-RateLimit-Bucket") != "identity" {
				t.Errorf("a valid token: %d %v", w.Code, w.Header())
			}
		}
		for _, path := range []string{"/", "/healthz", "/v4/gateway"} { // what is asked before anybody says who they are
			if w := send(h, request("GET", path, "")); w.Code != 200 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	})
}

// A page of another origin uses up neither its visitor's limit nor that of their address.
func TestForeignPagesUseUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limited(server.Options{Page: server.Page{SignIn: auth.NewAuthenticator(nil)}})
		noCors := []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}
		samePort := []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Cookie: sess=admin"} // cookies know no port
		older := []string{"Origin: https://evil.example", "Cookie: sess=admin"}
		for range 500 {
			for _, headers := range [][]string{noCors, samePort, older} {
				send(h, request("GET", "/nothing", "", headers...))
				for _, method := range []string{"POST", "OPTIONS", "DELETE"} {
					for _, path := range []string{"/v4/kapi/actions", "/page/session", "/nothing"} {
						if w := send(h, request(method, path, "", headers...)); w.Code != 403 {
							t.Fatalf("%s %s with %v: %d", method, path, headers, w.Code)
						}
					}
				}
			}
		}
		own := []string{"Sec-Fetch-Site: same-origin", "Cookie: sess=admin"}
		expectLimit(t, send(h, request("GET", "/nothing", "", own...)), 200, 199, time.Now().Add(time.Second), "0.01", "identity")
		expectLimit(t, send(h, nothing("")), 20, 19, time.Now().Add(time.Second), "0.05", "address")
		if w := send(h, request("GET", "/nothing", "", noCors...)); w.Code != 429 || w.Header().Get("X-RateLimit-Bucket") != "foreign" {
			t.Errorf("a foreign page has no limit: %d %v", w.Code, w.Header())
		}
	})
}

func TestWhoWasRevokedIsAStranger(t *testing.T) {
	var revoked atomic.Bool
	h := limited(server.Options{RateLimitAddress: 1, Authenticate: func(r *http.Request) (auth.Identity, error) {
		if revoked.Load() {
			return auth.Identity{}, auth.ErrInvalidToken
		}
		return byName(r)
	}})
	bucket := func() string { return send(h, nothing("admin")).Header().Get("X-RateLimit-Bucket") }
	if got := bucket(); got != "identity" {
		t.Errorf("at first: %q", got)
	}
	revoked.Store(true)
	if got := bucket(); got != "address" {
		t.Errorf("revoked: %q", got)
	}
	if w := send(h, nothing("admin")); w.Code != 429 {
		t.Errorf("its second request as a stranger: %d", w.Code)
	}
}

// In an outage a valid token keeps its own limit.
func TestOutageKeepsTheLimitOfTheKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		h := limited(server.Options{Authenticate: func(r *http.Request) (auth.Identity, error) {
			if down.Load() {
				return auth.Identity{}, context.DeadlineExceeded
			}
			return byName(r)
		}})
		get := func() (int, string) {
			w := send(h, request("GET", "/kapi/actions/", "", "Authorization: Bearer plain"))
			return w.Code, w.Header().Get("X-RateLimit-Bucket")
		}
		get()
		down.Store(true)
		for range 100 {
			if code, bucket := get(); code != 404 || bucket != "identity" {
				t.Fatalf("%d, %s", code, bucket)
			}
		}
		if w := send(h, request("GET", "/kapi/actions", "", "Authorization: Bearer plain")); w.Code != 503 {
			t.Errorf("its request: %d", w.Code)
		}
		time.Sleep(2 * time.Minute) // known no longer
		if code, bucket := get(); code != 404 || bucket != "address" {
			t.Errorf("%d, %s", code, bucket)
		}
	})
}

// Requests with unproven credentials wait for each other, but not forever.
func TestStrangersAreAskedAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var now, most int
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			now += n
			most = max(most, now)
		}
		h := limited(server.Options{Authenticate: func(r *http.Request) (auth.Identity, error) {
			count(1)
			defer count(-1)
			<-r.Context().Done()
			return auth.Identity{}, r.Context().Err()
		}})
		var group sync.WaitGroup
		start := time.Now()
		codes := make([]int, 400)
		for i := range codes {
			group.Go(func() {
				codes[i] = send(h, request("GET", "/kapi/actions", "")).Code
			})
		}
		group.Wait()
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("it took %v", got)
		}
		answers := map[int]int{}
		for _, code := range codes {
			answers[code]++
		}
		if most != 256 || answers[503] != 20 || answers[429] != 380 {
			t.Errorf("%d at a time, answers %v", most, answers)
		}
	})
}
