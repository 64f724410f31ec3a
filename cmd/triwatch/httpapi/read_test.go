package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"github.com/triwatch/triwatch/sentinel"
)

func TestAnswersKeepTheirShape(t *testing.T) {
	src := apitest.New()
	src.List[1].Plan = &sentinel.Plan{Epoch: sentinel.MakeEpoch(1, 14), Kind: sentinel.KindHandover, Phase: sentinel.PhaseFencing,
		Old: src.List[1].Master, New: sentinel.Assignment{Instance: "gone", Addr: sentinel.Addr{Host: "::1", Port: 1}}, Why: "asked", Lost: 0,
		Begun: apitest.Noon(), Notes: []sentinel.Note{{AfterMS: 1.5, What: "chosen", Text: "x"}}}
	s := newServer(t, src, "")
	for name, path := range map[string]string{
		"masters.json": "/v1/masters", "master.json": "/v1/masters/orders", "history.json": "/v1/masters/orders/history",
		"history-12.json": "/v1/masters/orders/history?epoch=12", "check.json": "/v1/masters/orders/check", "peers.json": "/v1/peers",
		"version.json": "/v1/version",
	} {
		w := do(s, http.MethodGet, path, "", nil)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Equal(t, "application/json; charset=utf-8", w.Header().Get("Content-Type"))
		golden(t, name, w.Body.Bytes())
	}
}

func TestAnswersWithoutQuorumAreStale(t *testing.T) {
	src := apitest.New()
	src.Info, src.Own = apitest.Alone(), true
	var got httpapi.OneMaster
	require.NoError(t, json.Unmarshal(do(newServer(t, src, ""), http.MethodGet, "/v1/masters/orders", "", nil).Body.Bytes(), &got))
	require.True(t, got.Stale)
	require.False(t, got.HasQuorum)
	require.False(t, got.Master.Acting)
	require.Equal(t, "no quorum: this watcher is in touch with 1 of 3 watchers, itself included", got.StaleReason)
	require.Equal(t, "orders", got.Master.Name, "the answer itself is not taken away")
}

func TestAnswersOfOneWatcherAloneAreStale(t *testing.T) {
	src := apitest.New()
	src.Own = true
	var got httpapi.Masters
	require.NoError(t, json.Unmarshal(do(newServer(t, src, ""), http.MethodGet, "/v1/masters", "", nil).Body.Bytes(), &got))
	require.True(t, got.Stale)
	require.True(t, got.HasQuorum)
	require.Contains(t, got.StaleReason, "the leader did not answer")
}

func TestWhatIsNotThereIsSaidInJSON(t *testing.T) {
	s := newServer(t, apitest.New(), "")
	for _, c := range []struct {
		method, path string
		status       int
		code, text   string
	}{
		{"GET", "/v1/masters/nope", 404, "NOMASTER", "no master named nope is watched"},
		{"GET", "/v1/masters/nope/history", 404, "NOMASTER", "no master named nope is watched"},
		{"GET", "/v1/masters/nope/check", 404, "NOMASTER", "no such master named nope"},
		{"GET", "/v1/masters/orders/history?epoch=x", 400, "BADREQUEST", `"x" is no epoch: write its number as history shows it, such as 12 or 1.12`},
		{"GET", "/v2", 404, "NOTFOUND", "there is nothing at /v2"},
		{"POST", "/v1/masters", 405, "BADREQUEST", "/v1/masters answers GET only"},
		{"GET", "/v1/masters/orders/handover", 405, "BADREQUEST", "/v1/masters/orders/handover answers POST only"},
		{"PUT", "/v1/peers/x", 405, "BADREQUEST", "/v1/peers/x answers DELETE only"},
	} {
		w := do(s, c.method, c.path, "", nil)
		var f httpapi.Failure
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &f), c.path)
		require.Equal(t, httpapi.Failure{Error: c.text, Code: c.code}, f, c.path)
		require.Equal(t, c.status, w.Code, c.path)
		if c.status == http.StatusMethodNotAllowed {
			require.NotEmpty(t, w.Header().Get("Allow"))
		}
	}
}

func TestHistoryOfAnUnusedEpochIsEmpty(t *testing.T) {
	w := do(newServer(t, apitest.New(), ""), http.MethodGet, "/v1/masters/orders/history?epoch=99", "", nil)
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), `"records": []`)
}

func TestAWatcherThatDoesNotAnswerIsUnavailable(t *testing.T) {
	src := apitest.New()
	src.ViewsErr = errors.New("watcher is stopping")
	s := newServer(t, src, "")
	for _, path := range []string{"/v1/masters", "/v1/masters/orders", "/v1/masters/orders/history", "/healthz"} {
		w := do(s, http.MethodGet, path, "", nil)
		require.Equal(t, http.StatusServiceUnavailable, w.Code, path)
		require.Contains(t, w.Body.String(), "watcher is stopping", path)
	}
}

func TestEpochsAreReadAsTheyAreWritten(t *testing.T) {
	for _, e := range []sentinel.Epoch{0, 13, sentinel.MakeEpoch(2, 7), sentinel.MakeEpoch(1<<32-1, 1<<32-1)} {
		got, err := httpapi.ParseEpoch(e.String())
		require.NoError(t, err)
		require.Equal(t, e, got)
	}
	for _, bad := range []string{"", "x", "-1", "1.2.3", "4294967296", ".", "1.", ".1", "+1", " 1"} {
		_, err := httpapi.ParseEpoch(bad)
		require.Error(t, err, bad)
	}
}

func TestLivezFollowsTheLoop(t *testing.T) {
	src, now := apitest.New(), apitest.Noon()
	s := newServerAt(t, src, "", func() time.Time { return now })
	status := func() int { return do(s, http.MethodGet, "/livez", "", nil).Code }
	src.Pass = time.Time{} // has not begun yet
	require.Equal(t, http.StatusOK, status())
	now = now.Add(10 * time.Second)
	require.Equal(t, http.StatusOK, status())
	now = now.Add(time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, status())
	src.Pass = now
	require.Equal(t, http.StatusOK, status())
	src.Info = apitest.Alone()
	require.Equal(t, http.StatusOK, status(), "a restart would not bring a quorum")
	now = now.Add(11 * time.Second)
	w := do(s, http.MethodGet, "/livez", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "the loop's last pass was 11s ago\n", w.Body.String())
}

func TestReadyzSaysEveryReason(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*httpapi.ClusterInfo)
		want   []string
	}{
		"fine":     {func(*httpapi.ClusterInfo) {}, nil},
		"joining":  {func(c *httpapi.ClusterInfo) { c.Voter, c.Waiting = false, "catching up with x" }, []string{"no vote", "waiting: catching up with x"}},
		"behind":   {func(c *httpapi.ClusterInfo) { c.CaughtUp = false }, []string{"not caught up"}},
		"alone":    {func(c *httpapi.ClusterInfo) { *c = apitest.Alone() }, []string{"no leader", "not caught up"}},
		"old":      {func(c *httpapi.ClusterInfo) { c.Superseded = true }, []string{"superseded"}},
		"removed":  {func(c *httpapi.ClusterInfo) { c.Removed, c.Voter = true, false }, []string{"removed", "no vote"}},
		"stuck":    {func(c *httpapi.ClusterInfo) { *c = apitest.Stuck() }, []string{"stuck: this watcher runs an older build (level 2, the cluster needs 3)", "not caught up"}},
		"damaged":  {func(c *httpapi.ClusterInfo) { c.CaughtUp, c.Stuck = false, "damaged command" }, []string{"does not understand the log and has stopped acting: damaged command", "not caught up"}},
		"starting": {func(c *httpapi.ClusterInfo) { *c = httpapi.ClusterInfo{Waiting: "waiting for y"} }, []string{"no leader", "no vote", "not caught up", "waiting: waiting for y"}},
	} {
		t.Run(name, func(t *testing.T) {
			src := apitest.New()
			c.change(&src.Info)
			w := do(newServer(t, src, ""), http.MethodGet, "/readyz", "", nil)
			if c.want == nil {
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, "ok\n", w.Body.String())
				return
			}
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			got := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
			require.Len(t, got, len(c.want), got)
			for i := range got {
				require.Contains(t, got[i], c.want[i])
			}
		})
	}
}

func TestHealthzIsAboutTheMasters(t *testing.T) {
	src := apitest.New()
	s := newServer(t, src, "")
	w := do(s, http.MethodGet, "/healthz", "", nil)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "carts: degraded: 10.244.0.11:6379 down for 2m11s (time-out)\norders: ok\n", w.Body.String())
	for _, state := range []string{"down", "held", "failover", "unadopted", "unknown"} {
		src.List[1].State = state
		require.Equal(t, http.StatusServiceUnavailable, do(s, http.MethodGet, "/healthz", "", nil).Code, state)
	}
	for _, state := range []string{"ok", "degraded", "suspect", "handover", "observed"} {
		src.List[1].State = state
		require.Equal(t, http.StatusOK, do(s, http.MethodGet, "/healthz", "", nil).Code, state)
	}
	src.Info = apitest.Alone()
	w = do(s, http.MethodGet, "/healthz", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "stale: no quorum")
}

func TestRequestsEndWithTheServer(t *testing.T) {
	src := apitest.New()
	src.Hang = true
	s, err := httpapi.New(optionsFor(t, src, time.Hour))
	require.NoError(t, err)
	addr, err := s.Start(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	_, err = s.Start(t.Context(), addr.String())
	require.ErrorContains(t, err, "listen for HTTP on "+addr.String()+" (see --http-addr)")
	ended := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+addr.String()+"/v1/masters/orders/handover", "", nil)
		if err == nil {
			err = resp.Body.Close()
		}
		ended <- err
	}()
	require.Eventually(t, func() bool { return len(src.Asked()) == 1 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.Canceled)
	<-ended                                                 // with whatever it came to
	_, err = http.Get("http://" + addr.String() + "/livez") //nolint:bodyclose // there is none
	require.Error(t, err)
}

func TestShutdownWaitsForNobodyWhenIdle(t *testing.T) {
	s := newServer(t, apitest.New(), "")
	require.NoError(t, s.Shutdown(t.Context()), "before a start")
	addr, err := s.Start(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	resp, err := http.Get("http://" + addr.String() + "/v1/version")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, s.Shutdown(t.Context()))
}
