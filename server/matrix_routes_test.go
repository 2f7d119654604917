package server_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestWhoMayDoWhat leaves no route out.
func TestWhoMayDoWhatHasEveryRoute(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	tried := map[*openapi3.Operation]bool{}
	fill := strings.NewReplacer("{/v4}", "/v4", "{another's}", "x", "{failed}", "x", "{impacted}", "x", "page/{file}", "page/hash/file")
	for _, r := range matrix() {
		method, target, _ := strings.Cut(fill.Replace(r.request), " ")
		if op := documentedAt(doc, httptest.NewRequest(method, target, nil)); op != nil {
			tried[op] = true
		}
	}
	for template, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !tried[op] {
				t.Errorf("%s %s is in no row of the matrix", method, template)
			}
		}
	}
}
