// Package drive uses the client that oapi-codegen generates from docs/openapi.yaml on the server at DRIVE_URL.
// The package api exists only while TestClient runs.
package drive

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/oapi-codegen/nullable"

	"github.com/kettubot/kapi/openapi/testdata/drive/api"
)

// as returns a client with the token in an environment variable.
func as(t *testing.T, variable string) *api.ClientWithResponses {
	t.Helper()
	sign := func(_ context.Context, r *http.Request) error {
		if token := os.Getenv(variable); token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return nil
	}
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c, err := api.NewClientWithResponses(os.Getenv("DRIVE_URL"), api.WithRequestEditorFn(sign), api.WithHTTPClient(stay))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type answer interface {
	Status() string
	StatusCode() int
	GetBody() []byte
}

// must returns the response, and fails the test unless it has this status.
func must[A answer](t *testing.T, status int) func(A, error) A {
	t.Helper()
	return func(a A, err error) A {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode() != status {
			t.Fatalf("%s, want %d: %s", a.Status(), status, a.GetBody())
		}
		return a
	}
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// start starts an action that holds key, and completes it when t ends, if it is still ongoing.
func start(t *testing.T, c *api.ClientWithResponses, title string, key api.Key) *api.Started {
	t.Helper()
	body := api.Start{Title: title, Keys: &[]api.Key{key}}
	started := must[*api.StartActionResponse](t, 201)(c.StartActionWithResponse(t.Context(), nil, body)).JSON201
	t.Cleanup(func() {
		completed := api.ReportStatus(api.Completed)
		_, err := c.ReportActionWithResponse(context.WithoutCancel(t.Context()), started.Action.Id, api.Report{Fence: started.Fence, Status: &completed})
		if err != nil {
			t.Error(err)
		}
	})
	return started
}

func TestStart(t *testing.T) {
	c := as(t, "DRIVE_ADMIN")
	started := start(t, c, "Resharding", "reshard")
	action := started.Action
	expect(t, "status", action.Status, api.Running)
	expect(t, "title", action.Title, "Resharding")
	expect(t, "keys", fmt.Sprint(action.Keys), "[reshard]")
	expect(t, "created_at needs more than 32 bits", action.CreatedAt > 1<<32, true)
	expect(t, "there is a fence", started.Fence > 0, true)
	expect(t, "lease_ms", started.LeaseMs, 15000)

	refusal := must[*api.StartActionResponse](t, 409)(c.StartActionWithResponse(t.Context(), nil, api.Start{Title: "Again", Keys: &[]api.Key{"reshard"}})).JSON409
	expect(t, "code", refusal.Code, 20001)
	expect(t, "key", *refusal.Key, "reshard")
	holder, err := refusal.Action.AsAction()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "holder", holder.Id, action.Id)
	expect(t, "when it was created", holder.CreatedAt, action.CreatedAt)

	bad := must[*api.StartActionResponse](t, 400)(c.StartActionWithResponse(t.Context(), nil, api.Start{Title: "Bad", Keys: &[]api.Key{"re shard"}})).JSON400
	expect(t, "code", bad.Code, 50004)
	expect(t, "field", *bad.Field, "keys")
	expect(t, "reason", *bad.Reason, `"re shard" must not have spaces or control characters`)
	form := must[*api.StartActionResponse](t, 415)(c.StartActionWithBodyWithResponse(t.Context(), nil, "text/plain", strings.NewReader("x"))).JSON415
	expect(t, "code", form.Code, 50005)
}

func TestDismissFailed(t *testing.T) {
	c := as(t, "DRIVE_ADMIN")
	old := start(t, c, "Old", "half-done")
	failed := api.ReportStatus(api.Failed)
	must[*api.ReportActionResponse](t, 200)(c.ReportActionWithResponse(t.Context(), old.Action.Id, api.Report{Fence: old.Fence, Status: &failed}))
	yes := true
	body := api.Start{Title: "New", Keys: &[]api.Key{"half-done"}, DismissFailed: &yes}
	started := must[*api.StartActionResponse](t, 201)(c.StartActionWithResponse(t.Context(), nil, body)).JSON201
	expect(t, "how many were dismissed", len(*started.Dismissed), 1)
	expect(t, "which", (*started.Dismissed)[0].Id, old.Action.Id)
	completed := api.ReportStatus(api.Completed)
	must[*api.ReportActionResponse](t, 200)(c.ReportActionWithResponse(t.Context(), started.Action.Id, api.Report{Fence: started.Fence, Status: &completed}))
}

func TestIdempotencyKey(t *testing.T) {
	c, key := as(t, "DRIVE_ADMIN"), "once"
	params := &api.StartActionParams{IdempotencyKey: &key}
	first := must[*api.StartActionResponse](t, 201)(c.StartActionWithResponse(t.Context(), params, api.Start{Title: "Once"})).JSON201
	second := must[*api.StartActionResponse](t, 201)(c.StartActionWithResponse(t.Context(), params, api.Start{Title: "Once"})).JSON201
	expect(t, "id", second.Action.Id, first.Action.Id)
	other := must[*api.StartActionResponse](t, 409)(c.StartActionWithResponse(t.Context(), params, api.Start{Title: "Twice"})).JSON409
	expect(t, "code", other.Code, 20006)
}

func TestListAndGet(t *testing.T) {
	c := as(t, "DRIVE_ADMIN")
	started := start(t, c, "Listed", "list")
	list := must[*api.ListActionsResponse](t, 200)(c.ListActionsWithResponse(t.Context(), nil))
	var listed *api.Action
	for i, action := range *list.JSON200 {
		if action.Id == started.Action.Id {
			listed = &(*list.JSON200)[i]
		}
	}
	if listed == nil {
		t.Fatalf("the action is not on the list: %s", list.Body)
	}
	expect(t, "seq", listed.Seq, started.Action.Seq)
	must[*api.ListActionsResponse](t, 304)(c.ListActionsWithResponse(t.Context(), &api.ListActionsParams{IfNoneMatch: &list.Headers200.ETag}))

	got := must[*api.GetActionResponse](t, 200)(c.GetActionWithResponse(t.Context(), started.Action.Id)).JSON200
	expect(t, "title", got.Title, "Listed")
	expect(t, "the runner was heard", got.Runner.HeardAt >= started.Action.Runner.HeardAt, true)
	expect(t, "pid", got.Runner.Pid, 0)
	unknown := must[*api.GetActionResponse](t, 404)(c.GetActionWithResponse(t.Context(), "nothing")).JSON404
	expect(t, "code", unknown.Code, 10015)
}

func TestReport(t *testing.T) {
	c := as(t, "DRIVE_ADMIN")
	started := start(t, c, "Reported", "report")
	report := func(status int, body api.Report) *api.ReportActionResponse {
		t.Helper()
		return must[*api.ReportActionResponse](t, status)(c.ReportActionWithResponse(t.Context(), started.Action.Id, body))
	}
	state := "slot 5461"
	said := report(200, api.Report{Fence: started.Fence, Progress: nullable.NewNullableWithValue(0.1), State: &state}).JSON200
	expect(t, "progress", *said.Progress, 0.1)
	expect(t, "state", *said.State, state)
	expect(t, "cancel", said.Cancel, nil)
	unknown := report(200, api.Report{Fence: started.Fence, Progress: nullable.NewNullNullable[float64]()}).JSON200
	expect(t, "progress", unknown.Progress, nil)
	expect(t, "code", report(409, api.Report{Fence: started.Fence - 1}).JSON409.Code, 20002)
}

func TestCancelAndDismiss(t *testing.T) {
	c := as(t, "DRIVE_ADMIN")
	started := start(t, c, "Cancelled", "cancel")
	id := started.Action.Id
	running := must[*api.DismissActionResponse](t, 409)(c.DismissActionWithResponse(t.Context(), id, api.DismissActionJSONRequestBody{})).JSON409
	expect(t, "code", running.Code, 20000)
	asked := must[*api.CancelActionResponse](t, 202)(c.CancelActionWithResponse(t.Context(), id, api.CancelActionJSONRequestBody{})).JSON202
	expect(t, "cancel_requested_at is present", asked.CancelRequestedAt != nil, true)
	answer := must[*api.ReportActionResponse](t, 200)(c.ReportActionWithResponse(t.Context(), id, api.Report{Fence: started.Fence})).JSON200
	expect(t, "cancel", bool(*answer.Cancel), true)
	expect(t, "id", answer.Id, id) // the response to a report has all fields of the action

	failed := api.ReportStatus(api.Failed)
	must[*api.ReportActionResponse](t, 200)(c.ReportActionWithResponse(t.Context(), id, api.Report{Fence: started.Fence, Status: &failed}))
	over := must[*api.CancelActionResponse](t, 409)(c.CancelActionWithResponse(t.Context(), id, api.CancelActionJSONRequestBody{})).JSON409
	expect(t, "code", over.Code, 20004)
	expect(t, "reason", *over.Reason, "it has failed already and can only be dismissed")
	again := must[*api.ReportActionResponse](t, 409)(c.ReportActionWithResponse(t.Context(), id, api.Report{Fence: started.Fence})).JSON409
	expect(t, "code", again.Code, 20003)
	expect(t, "from", *again.From, api.Failed)
	expect(t, "to", *again.To, api.Failed)
	must[*api.DismissActionResponse](t, 204)(c.DismissActionWithResponse(t.Context(), id, api.DismissActionJSONRequestBody{}))
	gone := must[*api.DismissActionResponse](t, 404)(c.DismissActionWithResponse(t.Context(), id, api.DismissActionJSONRequestBody{})).JSON404
	expect(t, "code", gone.Code, 10015)
	lost := must[*api.CancelActionResponse](t, 404)(c.CancelActionWithResponse(t.Context(), id, api.CancelActionJSONRequestBody{})).JSON404
	expect(t, "code", lost.Code, 10015)
}

func TestTokens(t *testing.T) {
	none := must[*api.ListActionsResponse](t, 401)(as(t, "").ListActionsWithResponse(t.Context(), nil))
	expect(t, "code", none.JSON401.Code, 40006)
	expect(t, "WWW-Authenticate", string(none.Headers401.WWWAuthenticate), "Bearer")
	plain := must[*api.ListActionsResponse](t, 403)(as(t, "DRIVE_PLAIN").ListActionsWithResponse(t.Context(), nil))
	expect(t, "code", plain.JSON403.Code, 50002)
	expect(t, "needs", *plain.JSON403.Needs, 1<<30)
}

// One address must be enough for all routes, as generators ignore an operation's own servers.
func TestBesideTheActions(t *testing.T) {
	c := as(t, "")
	expect(t, "healthz", string(must[*api.HealthzResponse](t, 200)(c.HealthzWithResponse(t.Context())).Body), "ok\n")
	expect(t, "readyz", string(must[*api.ReadyzResponse](t, 200)(c.ReadyzWithResponse(t.Context())).Body), "ok\n")
	gateway := must[*api.GetGatewayResponse](t, 200)(c.GetGatewayWithResponse(t.Context())).JSON200
	expect(t, "gateway", gateway.Url, strings.Replace(os.Getenv("DRIVE_URL"), "http", "ws", 1)+"/gateway")
	must[*api.PageResponse](t, 200)(c.PageWithResponse(t.Context(), nil))
	must[*api.EnterResponse](t, 303)(c.EnterWithResponse(t.Context(), &api.EnterParams{Code: "x"}))
	must[*api.MetricsResponse](t, 401)(c.MetricsWithResponse(t.Context()))
	must[*api.MetricsResponse](t, 200)(as(t, "DRIVE_ADMIN").MetricsWithResponse(t.Context()))
}
