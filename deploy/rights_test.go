package deploy_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

// right is one verb on one resource, as a Role names them.
type right struct{ group, resource, verb string }

func (r right) String() string {
	if r.group == "" {
		return r.verb + " " + r.resource
	}
	return r.verb + " " + r.resource + "." + r.group
}

// use is a line of code that needs a right.
type use struct {
	right
	pkg string
	at  string
}

// Where the generated clients and informers of client-go are.
const (
	typedPath    = "k8s.io/client-go/kubernetes/typed/"
	informerPath = "k8s.io/client-go/informers/"
)

// groups are the API groups by the folder of their client.
var groups = map[string]string{
	"core": "", "apps": "apps", "batch": "batch", "policy": "policy", "autoscaling": "autoscaling",
	"coordination": "coordination.k8s.io", "discovery": "discovery.k8s.io", "events": "events.k8s.io",
	"networking": "networking.k8s.io", "rbac": "rbac.authorization.k8s.io", "authorization": "authorization.k8s.io",
	"authentication": "authentication.k8s.io", "storage": "storage.k8s.io",
}

// verbs are what a client's methods ask for; after a slash comes the subresource.
var verbs = map[string]string{
	"Get": "get", "List": "list", "Watch": "watch", "Create": "create", "Update": "update", "Patch": "patch", "Apply": "patch",
	"Delete": "delete", "DeleteCollection": "deletecollection", "UpdateStatus": "update/status", "ApplyStatus": "patch/status",
	"GetScale": "get/scale", "UpdateScale": "update/scale", "ApplyScale": "patch/scale",
	"Evict": "create/eviction", "EvictV1": "create/eviction", "EvictV1beta1": "create/eviction", "GetLogs": "get/log",
	"CreateToken": "create/token", "UpdateResize": "update/resize", "UpdateEphemeralContainers": "update/ephemeralcontainers",
	"CreateWithEventNamespace": "create", "CreateWithEventNamespaceWithContext": "create",
	"UpdateWithEventNamespace": "update", "UpdateWithEventNamespaceWithContext": "update",
	"PatchWithEventNamespace": "patch", "PatchWithEventNamespaceWithContext": "patch",
	"Search": "list", "SearchWithContext": "list", "GetFieldSelector": "",
}

// opaque are packages whose calls can't be followed.
var opaque = []string{"k8s.io/client-go/dynamic", "k8s.io/client-go/metadata", "k8s.io/client-go/tools/leaderelection", "sigs.k8s.io/controller-runtime"}

// derive returns what the packages ask of the API, and every place of which it can't
// tell what it asks.
func derive(dir string, patterns ...string) ([]use, []error) {
	loaded, err := packages.Load(&packages.Config{
		Dir:  dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
	}, patterns...)
	if err != nil {
		return nil, []error{fmt.Errorf("load %s: %w", patterns, err)}
	}
	d := &derivation{done: map[*ast.SelectorExpr]bool{}}
	for _, p := range loaded {
		for _, e := range p.Errors {
			d.problems = append(d.problems, fmt.Errorf("load %s: %w", p.PkgPath, e))
		}
		for path := range p.Imports {
			for _, o := range opaque {
				if path == o || strings.HasPrefix(path, o+"/") {
					d.problems = append(d.problems, fmt.Errorf("%s imports %s: what it asks of the API can't be derived", p.PkgPath, path))
				}
			}
		}
		d.pkg = p
		for _, f := range p.Syntax {
			ast.Inspect(f, d.visit)
		}
	}
	return d.uses, d.problems
}

type derivation struct {
	pkg      *packages.Package
	uses     []use
	problems []error
	// done are selectors that were taken up with the call around them.
	done map[*ast.SelectorExpr]bool
}

func (d *derivation) where(pos token.Pos) string {
	p := d.pkg.Fset.Position(pos)
	return fmt.Sprintf("%s/%s:%d", d.pkg.PkgPath, filepath.Base(p.Filename), p.Line)
}

func (d *derivation) need(pos token.Pos, group, resource string, wanted ...string) {
	for _, verb := range wanted {
		d.uses = append(d.uses, use{right{group, resource, verb}, d.pkg.PkgPath, d.where(pos)})
	}
}

func (d *derivation) unknown(pos token.Pos, format string, args ...any) {
	d.problems = append(d.problems, fmt.Errorf("%s: %s", d.where(pos), fmt.Sprintf(format, args...)))
}

func (d *derivation) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		d.selector(n)
	case *ast.CallExpr:
		d.call(n)
	case *ast.AssignStmt:
		if n.Tok == token.ASSIGN && len(n.Lhs) == len(n.Rhs) {
			for i := range n.Rhs {
				d.narrowed(n.Rhs[i], d.pkg.TypesInfo.TypeOf(n.Lhs[i]))
			}
		}
	case *ast.ValueSpec:
		for _, v := range n.Values {
			if n.Type != nil {
				d.narrowed(v, d.pkg.TypesInfo.TypeOf(n.Type))
			}
		}
	case *ast.CompositeLit:
		d.literal(n)
	case *ast.FuncDecl:
		d.returns(n.Body, d.pkg.TypesInfo.TypeOf(n.Name))
	case *ast.FuncLit:
		d.returns(n.Body, d.pkg.TypesInfo.TypeOf(n))
	}
	return true
}

// selector sees methods that are called and methods that are taken as values.
func (d *derivation) selector(n *ast.SelectorExpr) {
	info := d.pkg.TypesInfo
	if name, ok := info.Uses[n.Sel].(*types.TypeName); ok && name.Name() == "EventSinkImpl" {
		d.sink(n.Pos(), name)
		return
	}
	f, ok := info.Uses[n.Sel].(*types.Func)
	if !ok || f.Pkg() == nil {
		return
	}
	switch path := f.Pkg().Path(); {
	case strings.HasPrefix(path, typedPath) && f.Name() == "RESTClient":
		d.unknown(n.Pos(), "RESTClient asks for what can't be derived; use the typed client")
	case strings.HasPrefix(path, typedPath):
		if s, ok := info.Selections[n]; ok && !d.done[n] {
			d.method(n.Sel.Pos(), clientOf(s), f.Name(), nil)
		}
	case strings.HasPrefix(path, informerPath):
		d.informer(n, f)
	}
}

// sink is what a recorder writes Events through: it creates them, and patches those
// that it counts up.
func (d *derivation) sink(pos token.Pos, name *types.TypeName) {
	group := ""
	if strings.HasSuffix(name.Pkg().Path(), "tools/events") {
		group = "events.k8s.io"
	}
	d.need(pos, group, "events", "create", "patch")
}

func (d *derivation) informer(n *ast.SelectorExpr, f *types.Func) {
	resource := ""
	if s, ok := d.pkg.TypesInfo.Selections[n]; ok {
		if f.Name() != "Informer" && f.Name() != "Lister" && f.Name() != "TypedInformer" {
			return
		}
		if name := named(s.Recv()); name != nil {
			resource = strings.TrimPrefix(strings.TrimSuffix(name.Obj().Name(), "Informer"), "Typed")
		}
	} else if strings.HasPrefix(f.Name(), "New") && strings.HasSuffix(f.Name(), "Informer") {
		resource = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(f.Name(), "New"), "Filtered"), "Typed"), "Informer")
	}
	group, ok := groups[strings.Split(strings.TrimPrefix(f.Pkg().Path(), informerPath), "/")[0]]
	if resource == "" || !ok {
		return // the factory on the way to the informer
	}
	d.need(n.Pos(), group, plural(resource), "list", "watch")
}

// plural is how the API names the few kinds that informers are used for.
func plural(kind string) string {
	kind = strings.ToLower(kind)
	switch {
	case kind == "endpoints":
		return kind
	case strings.HasSuffix(kind, "y"):
		return strings.TrimSuffix(kind, "y") + "ies"
	case strings.HasSuffix(kind, "s"):
		return kind + "es"
	}
	return kind + "s"
}

// resourceOf returns the resource of a typed client such as PodInterface; its plural is
// the name of the method that makes one.
func resourceOf(t types.Type) (group, resource string, ok bool) {
	name := named(t)
	if name == nil || name.Obj().Pkg() == nil || !strings.HasPrefix(name.Obj().Pkg().Path(), typedPath) {
		return "", "", false
	}
	group, known := groups[strings.Split(strings.TrimPrefix(name.Obj().Pkg().Path(), typedPath), "/")[0]]
	kind, is := strings.CutSuffix(name.Obj().Name(), "Interface")
	if !is || !known {
		return "", "", false
	}
	scope := name.Obj().Pkg().Scope()
	for _, other := range scope.Names() {
		getter, is := scope.Lookup(other).Type().Underlying().(*types.Interface)
		if !is || !strings.HasSuffix(other, "Getter") || getter.NumMethods() != 1 {
			continue
		}
		m := getter.Method(0)
		if results := m.Signature().Results(); results.Len() == 1 && types.Identical(results.At(0).Type(), name) {
			return group, strings.ToLower(m.Name()), true
		}
	}
	return group, kind, false
}

func named(t types.Type) *types.Named {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	n, _ := types.Unalias(t).(*types.Named)
	return n
}

// clientOf is the typed client that a method is selected from, also out of a struct
// around it.
func clientOf(s *types.Selection) types.Type {
	if _, _, ok := resourceOf(s.Recv()); ok {
		return s.Recv()
	}
	if f, ok := s.Obj().(*types.Func); ok && f.Signature().Recv() != nil {
		return f.Signature().Recv().Type()
	}
	return s.Recv()
}

// method takes up one method of a typed client, with the subresources that it is given.
func (d *derivation) method(pos token.Pos, client types.Type, method string, subresources []string) {
	group, resource, ok := resourceOf(client)
	if !ok {
		return // Pods() and its like, on the way to a client
	}
	verb, ok := verbs[method]
	if !ok {
		d.unknown(pos, "nobody has said which right %s of %s needs", method, resource)
		return
	}
	verb, sub, _ := strings.Cut(verb, "/")
	if sub != "" {
		subresources = []string{sub}
	}
	if len(subresources) > 0 {
		resource += "/" + strings.Join(subresources, "/")
	}
	if verb != "" {
		d.need(pos, group, resource, verb)
	}
}
