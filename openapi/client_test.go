package openapi

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/oapi-codegen/oapi-codegen/v2/pkg/codegen"
	"github.com/oapi-codegen/oapi-codegen/v2/pkg/util"

	// The generated client imports this package.
	_ "github.com/oapi-codegen/nullable"
	_ "github.com/oapi-codegen/runtime"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

const document = "../docs/openapi.yaml"

// TestClient has the generated client drive a server, with the path of the first server in the file,
// which is the default of such programs. testdata/drive has the calls.
func TestClient(t *testing.T) {
	doc, err := util.LoadSwagger(document)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(doc.Servers[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	address, tokens := serve(t)
	// go vet needs a folder for each package.
	drive := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=off", "-overlay", overlay(t, generate(t)), "./testdata/drive")
	drive.Env = append(os.Environ(), "DRIVE_URL="+address+base.Path, "DRIVE_ADMIN="+tokens["admin"], "DRIVE_PLAIN="+tokens["plain"])
	if out, err := drive.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestClientOf32Bits checks that no time is of type int, which can't hold one on a 32-bit machine.
func TestClientOf32Bits(t *testing.T) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "api.go", generate(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, of ast.Expr) {
		ast.Inspect(of, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && (name.Name == "int" || name.Name == "uint" || name.Name == "float32") {
				t.Errorf("%s: %s is of type %s", files.Position(n.Pos()), what, name.Name)
			}
			return true
		})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if structure, ok := n.Type.(*ast.StructType); ok {
				for _, field := range structure.Fields.List {
					check(n.Name.Name, field.Type)
				}
			} else {
				check(n.Name.Name, n.Type)
			}
		case *ast.FuncDecl:
			return false
		}
		return true
	})
}

// generate returns the source of the client.
func generate(t *testing.T) string {
	t.Helper()
	doc, err := util.LoadSwagger(document)
	if err != nil {
		t.Fatal(err)
	}
	source, err := codegen.Generate(doc, codegen.Configuration{
		PackageName:   "api",
		Generate:      codegen.GenerateOptions{Models: true, Client: true},
		OutputOptions: codegen.OutputOptions{NullableType: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// overlay returns an overlay file that makes source the package testdata/drive/api for the go command.
func overlay(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	place, err := filepath.Abs("testdata/drive/api/api.go")
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{place: filepath.Join(dir, "api.go")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"api.go": []byte(source), "overlay.json": replace} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "overlay.json")
}

// serve starts a server, and returns its address and two tokens: an admin's, and one without
// permissions.
func serve(t *testing.T) (address string, tokens map[string]string) {
	t.Helper()
	store, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	p, err := peer.Open(t.Context(), store, peer.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	tokens = map[string]string{}
	for name, permissions := range map[string]auth.Permissions{"admin": auth.Admin, "plain": 0} {
		secret, token, err := auth.New(name, auth.TypeUser, permissions, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.AddToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		tokens[name] = secret
	}
	metrics := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintln(w, "kapi_actions 0")
	}
	authenticator := auth.NewAuthenticator(store)
	s := httptest.NewServer(server.New(p, server.Options{
		Authenticate: authenticator.Authenticate,
		Metrics:      http.HandlerFunc(metrics),
		Page:         server.Page{SignIn: authenticator},
		Logger:       log,
	}))
	t.Cleanup(s.Close)
	return s.URL, tokens
}
