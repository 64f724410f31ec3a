package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

func optionsFor(_ *testing.T, src *apitest.Source, wait time.Duration) httpapi.Options {
	return httpapi.Options{Source: src, Metrics: prometheus.NewRegistry(), Logger: zap.NewNop(), WriteTimeout: wait}
}

const handover = "/v1/masters/orders/handover"

func TestWishesReachTheSource(t *testing.T) {
	src := apitest.New()
	s := newServer(t, src, "")
	w := do(s, http.MethodPost, handover, `{"to": "redis-2"}`, nil)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.JSONEq(t, `{"name": "orders", "result": "ok", "detail": "10.244.0.18:6379 is master", "epoch": "14", "epochNumber": 14}`, w.Body.String())
	require.Equal(t, http.StatusOK, do(s, http.MethodPost, "/v1/masters/orders/failover", "", nil).Code)
	require.Equal(t, []sentinel.Request{{Master: "orders", Kind: sentinel.RequestHandover, To: "redis-2"}, {Master: "orders", Kind: sentinel.RequestFailover}}, src.Asked())
	require.Equal(t, http.StatusOK, do(s, http.MethodDelete, "/v1/peers/"+apitest.Watcher3, "", nil).Code)
	require.Equal(t, []string{apitest.Watcher3}, src.Removed())
}

func TestOutcomesHaveTheirStatus(t *testing.T) {
	for _, c := range []struct {
		answer sentinel.Answer
		err    error
		status int
		code   string
	}{
		{sentinel.Answer{Result: sentinel.OutcomeRefused, Code: "NOMASTER"}, nil, 404, "NOMASTER"},
		{sentinel.Answer{Result: sentinel.OutcomeRefused, Code: "INPROG"}, nil, 409, "INPROG"},
		{sentinel.Answer{Result: sentinel.OutcomeRefused, Code: "NOGOODSLAVE"}, nil, 409, "NOGOODSLAVE"},
		{sentinel.Answer{Result: sentinel.OutcomeRefused, Code: "NOQUORUM"}, nil, 503, "NOQUORUM"},
		{sentinel.Answer{Result: sentinel.OutcomeRefused}, nil, 409, "REFUSED"},
		{sentinel.Answer{Result: sentinel.OutcomeNotLeader, Code: "NOQUORUM"}, nil, 503, "NOQUORUM"},
		{sentinel.Answer{Result: sentinel.OutcomeNotLeader}, nil, 503, "NOTLEADER"},
		{sentinel.Answer{Result: sentinel.OutcomeFailed}, nil, 500, "FAILED"},
		{sentinel.Answer{Result: sentinel.OutcomeUnknown}, nil, 504, "UNKNOWN"},
		{sentinel.Answer{}, errors.New("watcher is stopping"), 500, "FAILED"},
	} {
		t.Run(fmt.Sprint(c.answer.Result, c.answer.Code, c.err), func(t *testing.T) {
			src := apitest.New()
			src.Answer, src.RequestErr = c.answer, c.err
			src.Answer.Detail = "the reason"
			w := do(newServer(t, src, ""), http.MethodPost, handover, "", nil)
			var f httpapi.Failure
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &f))
			require.Equal(t, c.code, f.Code)
			require.Equal(t, c.status, w.Code)
			if c.err == nil {
				require.Contains(t, f.Error, "the reason")
			}
		})
	}
}

func TestARequestThatTakesTooLongIsUnknownNotFailed(t *testing.T) {
	src := apitest.New()
	src.Hang = true
	w := do(newServer(t, src, ""), http.MethodPost, handover, "", nil)
	require.Equal(t, http.StatusGatewayTimeout, w.Code)
	require.JSONEq(t, `{"error": "no outcome yet, it may still happen: see triwatch status orders", "code": "UNKNOWN"}`, w.Body.String())
}

func TestRemovingAPeerSaysWhyNot(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{httpapi.ErrUnknownPeer, 404, "NOPEER"}, {httpapi.ErrNotLeader, 409, "NOTLEADER"}, {httpapi.ErrNoQuorum, 503, "NOQUORUM"},
		{errors.New("disk full"), 500, "FAILED"},
	} {
		src := apitest.New()
		src.RemoveErr = fmt.Errorf("remove peer: %w", c.err)
		w := do(newServer(t, src, ""), http.MethodDelete, "/v1/peers/x", "", nil)
		require.Equal(t, c.status, w.Code)
		require.Contains(t, w.Body.String(), `"code": "`+c.code+`"`)
		require.Contains(t, w.Body.String(), c.err.Error())
	}
}

// Each case is a write that must or must not get through the guard.
func TestGuardOfWrites(t *testing.T) {
	header := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Set(pairs[i], pairs[i+1])
			}
		}
	}
	from := func(addr string, more func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			r.RemoteAddr = addr
			if more != nil {
				more(r)
			}
		}
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	bearer := header("Authorization", "Bearer s3cret")
	const far = "10.0.0.9:1234"
	for name, c := range map[string]struct {
		token  string
		change func(*http.Request)
		want   int
	}{
		"from this host":                       {"", nil, 200},
		"from this host, IPv6":                 {"", from("[::1]:5", host("[::1]:46379")), 200},
		"from this host, mapped":               {"", from("[::ffff:127.0.0.1]:5", nil), 200},
		"from this host, by name":              {"", host("LocalHost:46379"), 200},
		"from this host although a token":      {"s3cret", nil, 200},
		"from this host with the token":        {"s3cret", bearer, 200},
		"from this host with a wrong token":    {"other", bearer, 401},
		"from this host with a needless token": {"", bearer, 401},
		"by a name that may be rebound":        {"", host("evil.example:46379"), 403},
		"by a name that may be rebound, token": {"s3cret", host("evil.example"), 401},
		"to an address that is not loopback":   {"", host("10.0.0.1:46379"), 403},
		"through a proxy on this host":         {"", header("X-Forwarded-For", "10.0.0.9"), 403},
		"through a proxy, with token":          {"s3cret", header("X-Forwarded-For", "10.0.0.9", "Authorization", "Bearer s3cret"), 200},
		"from afar without any token":          {"", from(far, nil), 403},
		"from afar without the token":          {"s3cret", from(far, nil), 401},
		"from afar with the token":             {"s3cret", from(far, bearer), 200},
		"from afar with another scheme":        {"s3cret", from(far, header("Authorization", "Basic s3cret")), 401},
		"from afar with a longer token":        {"s3cret", from(far, header("Authorization", "Bearer s3cret2")), 401},
		"from afar with an empty token":        {"", from(far, header("Authorization", "Bearer ")), 401},
		"from a web page":                      {"", header("Origin", "https://evil.example"), 403},
		"from a web page with the token":       {"s3cret", header("Origin", "https://evil.example", "Authorization", "Bearer s3cret"), 403},
		"from a page of another site":          {"", header("Sec-Fetch-Site", "cross-site"), 403},
		"from our own origin":                  {"", header("Origin", "http://127.0.0.1:46379"), 200},
		"from an unknown client":               {"", from("@", nil), 403},
	} {
		t.Run(name, func(t *testing.T) {
			src := apitest.New()
			s := newServer(t, src, c.token)
			w := do(s, http.MethodPost, handover, `{}`, c.change)
			require.Equal(t, c.want, w.Code, w.Body)
			reached := 0
			if c.want == http.StatusOK {
				reached = 1
			}
			require.Len(t, src.Asked(), reached)
			require.Equal(t, c.want == http.StatusUnauthorized, w.Header().Get("WWW-Authenticate") != "")
			require.Equal(t, c.want, do(s, http.MethodDelete, "/v1/peers/x", "", c.change).Code)
			require.Equal(t, http.StatusOK, do(s, http.MethodGet, "/v1/masters", "", c.change).Code, "reads are free")
		})
	}
}

func TestBodiesAreChecked(t *testing.T) {
	form := func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }
	for name, c := range map[string]struct {
		body   string
		change func(*http.Request)
		want   int
	}{
		"empty":         {"", nil, 200},
		"null":          {"null", nil, 200},
		"charset":       {"{}", func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") }, 200},
		"a form":        {`{"to": "redis-2"}`, form, 415},
		"no type":       {`{}`, func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"a typing slip": {`{"too": "redis-2"}`, nil, 400},
		"wrong type":    {`{"to": 2}`, nil, 400},
		"an array":      {`[]`, nil, 400},
		"cut off":       {`{"to": "re`, nil, 400},
		"two objects":   {`{} {"to": "x"}`, nil, 400},
		"too long":      {`{"to": "` + strings.Repeat("x", 5000) + `"}`, nil, 413},
	} {
		t.Run(name, func(t *testing.T) {
			src := apitest.New()
			w := do(newServer(t, src, ""), http.MethodPost, handover, c.body, c.change)
			require.Equal(t, c.want, w.Code, w.Body)
			if c.want != http.StatusOK {
				require.Empty(t, src.Asked())
				require.Contains(t, w.Body.String(), `"code": "BADREQUEST"`)
			}
		})
	}
}

func TestAServerNeedsItsParts(t *testing.T) {
	_, err := httpapi.New(httpapi.Options{})
	require.ErrorContains(t, err, "are required")
}
