package server_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

// document is docs/openapi.yaml.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(openapi3.NewLoader().Context); err != nil {
		return nil, err
	}
	return doc, closeAction(doc)
})

// closeAction makes a field of an action that is not documented a fault. In the file itself it is none:
// clients must not refuse what later versions add, and Reported adds to an Action.
func closeAction(doc *openapi3.T) error {
	none := openapi3.BoolSchema{Has: new(bool)}
	action, reported := doc.Components.Schemas["Action"].Value, doc.Components.Schemas["Reported"].Value
	if len(reported.AllOf) == 0 || reported.AllOf[0].Value != action {
		return errors.New("Reported is no Action with more")
	}
	open := *action
	reported.AllOf[0] = &openapi3.SchemaRef{Value: &open}
	action.UnevaluatedProperties, reported.UnevaluatedProperties = none, none
	return nil
}

// undocumented says what in an answer is not as docs/openapi.yaml has it, nil if nothing.
func undocumented(r *http.Request, w *httptest.ResponseRecorder) error {
	doc, err := document()
	if err != nil {
		return err
	}
	op := documentedAt(doc, r)
	if op == nil { // no such route or method
		foreign := w.Code == http.StatusForbidden && r.Method != http.MethodGet && r.Method != http.MethodHead
		if !foreign && w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusTooManyRequests && w.Code != http.StatusMisdirectedRequest && w.Code < 500 {
			return fmt.Errorf("%s %s is no route, and answers %d", r.Method, r.URL.Path, w.Code)
		}
		if r.Method == http.MethodHead {
			return nil
		}
		for _, name := range []string{"Error", "Fault", "Limited"} {
			if fits(doc.Components.Schemas[name], w.Body.Bytes()) == nil {
				return nil
			}
		}
		return fmt.Errorf("%s %s is no route, and answers %s", r.Method, r.URL.Path, w.Body)
	}
	response := op.Responses.Value(fmt.Sprint(w.Code))
	if response == nil {
		return fmt.Errorf("%s %s: %d is not documented (%s)", r.Method, r.URL.Path, w.Code, w.Body)
	}
	if err := headersFit(response.Value, w.Header()); err != nil {
		return fmt.Errorf("%s %s: %d: %w", r.Method, r.URL.Path, w.Code, err)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	return bodyFits(response.Value, w)
}

// documentedAt finds what a request asks for; the handler may be mounted anywhere.
func documentedAt(doc *openapi3.T, r *http.Request) *openapi3.Operation {
	path := r.URL.Path
	for _, start := range []string{"/page/", "/kapi/actions", "/kapi/operations", "/gateway", "/healthz", "/readyz", "/metrics"} {
		if i := strings.Index(path, start); i >= 0 {
			path = path[i:]
			break
		}
	}
	parts := strings.Split(path, "/")
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for template, item := range doc.Paths.Map() {
		if slices.EqualFunc(parts, strings.Split(template, "/"), func(a, b string) bool { return a == b || strings.HasPrefix(b, "{") && a != "" }) {
			return item.GetOperation(method)
		}
	}
	return nil
}

func bodyFits(response *openapi3.Response, w *httptest.ResponseRecorder) error {
	kind, _, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
	media := response.Content[kind]
	switch {
	case len(response.Content) == 0 && w.Body.Len() == 0:
		return nil
	case media == nil:
		return fmt.Errorf("a body of type %q is not documented: %s", kind, w.Body)
	case kind != "application/json":
		return nil
	}
	body := w.Body.Bytes()
	if w.Header().Get("Content-Encoding") == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return err
		}
		if body, err = io.ReadAll(r); err != nil {
			return err
		}
	}
	return fits(media.Schema, body)
}

func fits(schema *openapi3.SchemaRef, body []byte) error {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	if err := schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	return nil
}

// ours are the headers that kapi sets and clients use.
func ours(name string) bool {
	return strings.HasPrefix(name, "X-Ratelimit-") || slices.Contains([]string{"Etag", "Retry-After", "Vary", "Www-Authenticate"}, name)
}

func headersFit(response *openapi3.Response, got http.Header) error {
	documented := http.Header{}
	for name, header := range response.Headers {
		documented.Set(name, "")
		value := got.Get(name)
		switch {
		case value == "" && header.Value.Required:
			return fmt.Errorf("no %s", name)
		case value == "":
		default:
			if err := header.Value.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for name := range got {
		if _, ok := documented[name]; ours(name) && !ok {
			return fmt.Errorf("%s is not documented", name)
		}
	}
	return nil
}

// Every documented path and method is a route, and every route is documented: each path
// answers "no such method" exactly to what is not in the file.
func TestOpenAPIRoutes(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/plain") })
	f := newFixture(t, server.Options{RateLimitAddress: -1, Metrics: metrics, Page: server.Page{SignIn: auth.NewAuthenticator(newTokens(t))}})
	fill := strings.NewReplacer("{id}", "nothing", "{name}", "nothing", "page/{hash}/{file}", pageFiles(t, f)[0])
	for template, item := range doc.Paths.Map() {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			w := f.as("admin", method, fill.Replace(template))
			missing := w.Code == http.StatusMethodNotAllowed || strings.Contains(w.Body.String(), `"code":0,`)
			if documented := item.GetOperation(method) != nil; documented == missing {
				t.Errorf("%s %s is documented: %v, and is answered %d %s", method, template, documented, w.Code, w.Body)
			}
		}
	}
}

// What the file does not have is noticed.
func TestOpenAPINotices(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
	}{
		"a field":                     {"GET", "/v4/kapi/actions", `[{"id":"x","title":"t","created_at":1,"status":1,"description":"","seq":1,"keys":[],"updated_at":1,"new":1}]`, 200},
		"a field of what is reported": {"PATCH", "/v4/kapi/actions/x", `{"id":"x","title":"t","created_at":1,"status":1,"description":"","seq":1,"keys":[],"updated_at":1,"cancel":true,"new":1}`, 200},
		"a type":                      {"GET", "/v4/gateway", `{"url":1}`, 200},
		"a status":                    {"GET", "/v4/kapi/actions", `[]`, 206},
		"a route":                     {"GET", "/v4/kapi/other", `[]`, 200},
	} {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"x"`)
		w.WriteHeader(tt.status)
		w.Body.WriteString(tt.body)
		if undocumented(httptest.NewRequest(tt.method, tt.path, nil), w) == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
}

// Every number says how wide it is: generators take one that doesn't for the width of the machine.
func TestOpenAPINumbers(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	err = doc.WalkSchemas(func(where string, schema *openapi3.SchemaRef) error {
		s := schema.Value
		switch {
		case s.Type.Includes("integer") && s.Format != "int32" && s.Format != "int64":
			t.Errorf("%s is an integer of format %q", where, s.Format)
		case s.Type.Includes("number") && s.Format != "double":
			t.Errorf("%s is a number of format %q", where, s.Format)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The pattern of a key takes each character that kapi does, and no other, but for U+2028 and U+2029: source
// code that a generator writes can't hold these two.
func TestOpenAPIKey(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(doc.Components.Schemas["Key"].Value.Pattern)
	for r := rune(0); r <= unicode.MaxRune; r++ {
		key := "a" + string(r) + "b"
		if !utf8.ValidRune(r) || r == '\u2028' || r == '\u2029' {
			continue
		}
		_, err := kapi.Spec{Title: "t", Keys: []string{key}}.Validate()
		if taken := err == nil; pattern.MatchString(key) != taken {
			t.Fatalf("%q: the pattern takes it: %v; kapi: %v", key, !taken, taken)
		}
	}
}
