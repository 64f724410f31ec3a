package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxBody bounds what a request may carry. Ours are a few words long.
const maxBody = 4 << 10

// dispatch sends a request to its method's handler; writes pass the guard first.
func (s *Server) dispatch(e endpoint) http.Handler {
	origin := http.NewCrossOriginProtection()
	methods := slices.Sorted(maps.Keys(e))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet // net/http leaves the body out by itself
		}
		h, ok := e[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			fail(w, http.StatusMethodNotAllowed, CodeBadRequest, r.URL.Path+" answers "+strings.Join(methods, " and ")+" only")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if method == http.MethodGet {
			h(w, r)
			return
		}
		if err := origin.Check(r); err != nil {
			fail(w, http.StatusForbidden, CodeForbidden, "writes are not taken from another site's web page")
			return
		}
		if f := s.guard(w, r); f != nil {
			fail(w, f.status, f.code, f.text)
			return
		}
		h(w, r)
	})
}

// refusal is why a request is not even looked at.
type refusal struct {
	status     int
	code, text string
}

// guard decides whether a write may come in: with the token from anywhere, without
// it from this host.
func (s *Server) guard(w http.ResponseWriter, r *http.Request) *refusal {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case scheme != "" && (!strings.EqualFold(scheme, "bearer") || s.opt.Token == "" || !same(strings.TrimSpace(token), s.opt.Token)):
		// Also from this host: who presents a token wants to know that it is wrong.
		w.Header().Set("WWW-Authenticate", `Bearer realm="triwatch"`)
		return &refusal{http.StatusUnauthorized, CodeNoToken, "the token is not the one that this watcher was started with"}
	case scheme != "":
		return nil
	case fromHere(r):
		return nil
	case s.opt.Token != "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="triwatch"`)
		return &refusal{http.StatusUnauthorized, CodeNoToken, "writes from another host need the watcher's token (--token or TRIWATCH_TOKEN)"}
	}
	return &refusal{http.StatusForbidden, CodeForbidden, "writes are taken from this host only, by its loopback address, because the watcher has no token"}
}

// same compares without telling by its duration where two texts differ.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// fromHere reports whether a process of this host sent the request on purpose: over
// loopback, not through a proxy, and to a name that no foreign DNS server can
// point at loopback.
func fromHere(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !client.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}
