package deploy_test

import (
	"go/ast"
	"go/constant"
	"go/types"
	"strings"
)

// call sees subresources, and clients given to functions as something narrower.
func (d *derivation) call(n *ast.CallExpr) {
	info := d.pkg.TypesInfo
	if tv := info.Types[n.Fun]; tv.IsType() && len(n.Args) == 1 {
		d.narrowed(n.Args[0], tv.Type)
		return
	}
	sig, ok := info.TypeOf(n.Fun).(*types.Signature)
	if !ok {
		return
	}
	last := sig.Params().Len() - 1
	for i, arg := range n.Args {
		switch {
		case sig.Variadic() && i >= last:
			t := sig.Params().At(last).Type()
			if s, ok := t.(*types.Slice); ok && !n.Ellipsis.IsValid() {
				t = s.Elem()
			}
			d.narrowed(arg, t)
		case i <= last:
			d.narrowed(arg, sig.Params().At(i).Type())
		}
	}
	if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sig.Variadic() && len(n.Args) > last {
		d.subresources(n, sel, last)
	}
}

// subresources sees those that Patch is given: it is a right to them alone.
func (d *derivation) subresources(n *ast.CallExpr, sel *ast.SelectorExpr, first int) {
	s, ok := d.pkg.TypesInfo.Selections[sel]
	if !ok {
		return
	}
	client := clientOf(s)
	if _, _, ok := resourceOf(client); !ok {
		return
	}
	var subs []string
	for _, arg := range n.Args[first:] {
		v := d.pkg.TypesInfo.Types[arg].Value
		if v == nil || v.Kind() != constant.String {
			d.unknown(arg.Pos(), "the subresource is no constant")
			return
		}
		subs = append(subs, constant.StringVal(v))
	}
	d.done[sel] = true
	d.method(sel.Sel.Pos(), client, s.Obj().Name(), subs)
}

// literal sees clients put into fields and elements.
func (d *derivation) literal(n *ast.CompositeLit) {
	t := d.pkg.TypesInfo.TypeOf(n)
	if t == nil {
		return
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	for i, e := range n.Elts {
		pair, keyed := e.(*ast.KeyValueExpr)
		if keyed {
			e = pair.Value
		}
		switch u := t.Underlying().(type) {
		case *types.Struct:
			switch {
			case keyed:
				d.narrowed(e, d.pkg.TypesInfo.TypeOf(pair.Key))
			case i < u.NumFields():
				d.narrowed(e, u.Field(i).Type())
			}
		case interface{ Elem() types.Type }: // slice, array, map
			d.narrowed(e, u.Elem())
		}
	}
}

// returns sees clients that a function returns as something narrower.
func (d *derivation) returns(body *ast.BlockStmt, t types.Type) {
	sig, ok := t.(*types.Signature)
	if !ok || body == nil {
		return
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // it has results of its own
		case *ast.ReturnStmt:
			for i, e := range n.Results {
				if len(n.Results) == sig.Results().Len() {
					d.narrowed(e, sig.Results().At(i).Type())
				}
			}
		}
		return true
	})
}

// narrowed takes up a typed client that becomes an interface of the code's own: all
// methods of that one may be called from then on, and where is not visible.
func (d *derivation) narrowed(e ast.Expr, target types.Type) {
	client := d.pkg.TypesInfo.TypeOf(e)
	if client == nil || target == nil {
		return
	}
	if _, _, ok := resourceOf(client); !ok || types.Identical(client, target) {
		return
	}
	into, ok := target.Underlying().(*types.Interface)
	if !ok {
		return
	}
	if n := named(target); n != nil && n.Obj().Pkg() != nil && strings.HasPrefix(n.Obj().Pkg().Path(), typedPath) {
		return
	}
	if into.NumMethods() == 0 {
		d.unknown(e.Pos(), "a typed client goes where it can't be followed")
		return
	}
	for m := range into.Methods() {
		d.method(e.Pos(), client, m.Name(), nil)
	}
}
