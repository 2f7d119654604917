package openapi

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/speakeasy-api/openapi/linter"
	"github.com/speakeasy-api/openapi/openapi"
	openapilinter "github.com/speakeasy-api/openapi/openapi/linter"
	"github.com/speakeasy-api/openapi/openapi/linter/rules"
)

// TestLint checks the file by the rules that redocly's linter recommends, with linters written in Go.
// `make lint-openapi` runs redocly's own, which needs npm.
func TestLint(t *testing.T) {
	for _, fault := range lint(t, text(t)) {
		t.Error(fault)
	}
}

// TestLintNotices checks that each of these faults is found when it is put into the file.
func TestLintNotices(t *testing.T) {
	good := text(t)
	for rule, fault := range map[string]struct{ old, new string }{
		"semantic-path-params":                     {"/dismiss:\n    parameters:\n      - $ref: '#/components/parameters/ID'\n", "/dismiss:\n"},
		"semantic-operation-operation-id":          {"      operationId: readyz\n", ""},
		"validation-operation-id-unique":           {"operationId: readyz", "operationId: healthz"},
		"semantic-typed-enum":                      {"enum: [0, 1, 2, 3, 4, 5]", "enum: [0, 1, 2, 3, 4, five]"},
		"semantic-unused-component":                {"  schemas:\n", "  schemas:\n    Spare: {type: string}\n"},
		"semantic-no-ambiguous-paths":              {"  /page/enter:\n", "  /page/{hash}/{name}: {}\n  /page/enter:\n"},
		"style-oas3-host-trailing-slash":           {"- url: http://127.0.0.1:4080", "- url: http://127.0.0.1:4080/"},
		"GET /page/enter has no 2XX response":      {"        \"200\":\n          description: The page, if the client follows the redirection.\n          content:\n            text/html:\n              schema: {type: string}\n", ""},
		"requires report, which it doesn't define": {"        report: {type: string, minLength: 1, description: \"The id of the incident: the server's log has it as `incident`.\"}\n", ""},
		"resolution-json-schema":                   {"#/components/schemas/Runner'", "#/components/schemas/Walker'"},
		"invalid example":                          {"progress: 0.5", "progress: 5"},
		"undefined security scheme":                {"  - bot: []", "  - boat: []"},
	} {
		bad := strings.Replace(good, fault.old, fault.new, 1)
		if bad == good {
			t.Errorf("%s: the file does not contain %q", rule, fault.old)
		}
		if found := lint(t, bad); !slices.ContainsFunc(found, func(err error) bool { return strings.Contains(err.Error(), rule) }) {
			t.Errorf("%s was not found, only %v", rule, found)
		}
	}
}

func text(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func lint(t *testing.T, text string) (faults []error) {
	t.Helper()
	if err := valid(text); err != nil {
		faults = append(faults, err)
	}
	doc, invalid, err := openapi.Unmarshal(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	l, err := openapilinter.NewLinter(linter.NewConfig(), openapilinter.WithoutDefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	recommended(l.Registry())
	out, err := l.Lint(t.Context(), linter.NewDocumentInfo(doc, document), invalid, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(faults, out.Results...)
}

// valid checks the structure, references and examples, and rules for which there is no linter in Go.
func valid(text string) error {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		return err
	}
	faults := []error{doc.Validate(openapi3.NewLoader().Context)}
	for path, item := range doc.Paths.Map() { // operation-2xx-response
		for method, op := range item.Operations() {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(op.Responses.Map())), func(code string) bool { return code[0] == '2' }) {
				faults = append(faults, fmt.Errorf("%s %s has no 2XX response", method, path))
			}
		}
	}
	err = doc.WalkSchemas(func(where string, schema *openapi3.SchemaRef) error { // no-required-schema-properties-undefined
		for _, name := range schema.Value.Required {
			if schema.Value.Properties[name] == nil {
				faults = append(faults, fmt.Errorf("%s requires %s, which it doesn't define", where, name))
			}
		}
		return nil
	})
	return errors.Join(append(faults, err)...)
}

// recommended registers the rules that redocly recommends; the comments are redocly's names for them.
func recommended(r *linter.Registry[*openapi.OpenAPI]) {
	r.Register(&rules.PathParamsRule{})             // path-parameters-defined
	r.Register(&rules.PathDeclarationsRule{})       // path-declaration-must-exist
	r.Register(&rules.PathQueryRule{})              // path-not-include-query
	r.Register(&rules.PathTrailingSlashRule{})      // no-path-trailing-slash
	r.Register(&rules.NoAmbiguousPathsRule{})       // no-ambiguous-paths, no-identical-paths
	r.Register(&rules.TypedEnumRule{})              // no-enum-type-mismatch
	r.Register(&rules.DuplicatedEnumRule{})         // no-duplicated-enum-values
	r.Register(&rules.OperationIdRule{})            // operation-operationId, -unique
	r.Register(&rules.OperationIDValidInURLRule{})  // operation-operationId-url-safe
	r.Register(&rules.OperationErrorResponseRule{}) // operation-4xx-response
	r.Register(&rules.InfoLicenseRule{})            // info-license
	r.Register(&rules.OAS3APIServersRule{})         // no-empty-servers
	r.Register(&rules.OAS3HostNotExampleRule{})     // no-server-example.com
	r.Register(&rules.OAS3HostTrailingSlashRule{})  // no-server-trailing-slash
	r.Register(&rules.NoRefSiblingsRule{})          // spec-ref-siblings
	r.Register(&rules.OAS3NoNullableRule{})         // nullable-type-sibling
	r.Register(&rules.UnusedComponentRule{})        // no-unused-components
	r.Register(&rules.OASSchemaCheckRule{})         // no-schema-type-mismatch
	r.Register(&rules.NoScriptTagsInMarkdownRule{}) // no-unsafe-markdown
}
