package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// A store that keeps actions keeps tokens, too.
func Example() {
	ctx := context.Background()
	store, err := sqlite.OpenMemory() // in a program: sqlite.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	k, err := peer.Open(ctx, store, peer.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close()
	secret, token, err := auth.New("ops", auth.TypeUser, auth.Admin, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.AddToken(ctx, token); err != nil {
		fmt.Println(err)
		return
	}

	authenticator := auth.NewAuthenticator(store)
	web := httptest.NewServer(server.New(k, server.Options{Authenticate: authenticator.Authenticate}))
	defer web.Close()

	for _, header := range []string{"", "Bearer " + secret} {
		r, _ := http.NewRequest("GET", web.URL+"/v4/kapi/actions", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		response, err := web.Client().Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		fmt.Println(response.StatusCode, string(body))
	}
	// Output:
	// 401 {"code":40006,"message":"No token"}
	// 200 []
}

// A service with users of its own says who they are. It is mounted under a prefix.
func ExampleNew() {
	store, err := sqlite.OpenMemory()
	if err != nil {
		fmt.Println(err)
		return
	}
	k, err := peer.Open(context.Background(), store, peer.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close()

	admin := func(r *http.Request) (auth.Identity, error) {
		if r.Header.Get("X-User") != "alice" {
			return auth.Identity{}, auth.ErrNoToken
		}
		return auth.Identity{ID: "7", Name: "alice", Permissions: auth.Admin}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("/internal/", http.StripPrefix("/internal", server.New(k, server.Options{Authenticate: admin})))

	r := httptest.NewRequest("GET", "/internal/v4/kapi/actions", nil)
	r.Header.Set("X-User", "alice")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 200 []
}
