package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/kettubot/kapi/auth"
)

func Example() {
	ctx := context.Background()
	tokens := newMemory() // in a program: a store

	secret, token, err := auth.New("ops", auth.TypeUser, auth.Admin, 90*24*time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := tokens.AddToken(ctx, token); err != nil {
		fmt.Println(err)
		return
	}

	authenticator := auth.NewAuthenticator(tokens)
	r, _ := http.NewRequest("GET", "http://localhost/v4/kapi/actions", nil)
	_, err = authenticator.Authenticate(r)
	fmt.Println("without a token:", err)

	r.Header.Set("Authorization", "Bearer "+secret)
	who, err := authenticator.Authenticate(r)
	fmt.Println("with it:", who.Name, who.Permissions, err)

	if err := authenticator.Revoke(ctx, token.ID); err != nil {
		fmt.Println(err)
		return
	}
	_, err = authenticator.Authenticate(r)
	fmt.Println("revoked:", err)
	// Output:
	// without a token: no token
	// with it: ops admin <nil>
	// revoked: token not valid
}

func ExampleParsePermissions() {
	p, err := auth.ParsePermissions("owner")
	fmt.Println(p, p.Has(auth.Admin), err)
	_, err = auth.ParsePermissions("root")
	fmt.Println(err)
	// Output:
	// owner true <nil>
	// unknown permission "root" (there are: owner, kettu, admin, metrics, run)
}
