package sentinel_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed are all packages that the core may import itself.
var allowed = []string{"cmp", "encoding/json", "errors", "fmt", "maps", "math", "net/netip", "slices", "strconv", "strings", "time"}

// clock are the names of package time that would make the core depend on more than its
// inputs.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "LoadLocation", "Local"}

func TestCoreImportsNothingThatActs(t *testing.T) {
	for name, f := range coreFiles(t) {
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s: the core decides, it does not act", name, path)
			}
		}
	}
}

func TestCoreHasNoClockAndNoGoroutine(t *testing.T) {
	seen := 0
	for name, f := range coreFiles(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", name)
			case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
				t.Errorf("%s uses a channel", name)
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s has an init function", name)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" {
					seen++
					if slices.Contains(clock, n.Sel.Name) {
						t.Errorf("%s uses time.%s: time comes with the input", name, n.Sel.Name)
					}
				}
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("no use of package time seen at all: this test looks at nothing")
	}
}

// TestCoreDependsOnTheStandardLibraryOnly looks at everything below, not just at the
// imports of the package itself.
func TestCoreDependsOnTheStandardLibraryOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	if len(deps) != 1 {
		t.Errorf("outside of the standard library: %v", deps)
	}
	out, err = exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps = strings.Fields(string(out))
	for _, no := range []string{"net", "net/http", "os/exec", "os/signal", "log", "log/slog", "context", "math/rand", "math/rand/v2", "crypto/rand"} {
		if slices.Contains(deps, no) {
			t.Errorf("something that the core imports brings in %s", no)
		}
	}
}

func coreFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{join .GoFiles \" \"}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, name := range strings.Fields(string(out)) {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	if len(files) < 10 {
		t.Fatalf("only %d files found", len(files))
	}
	return files
}
