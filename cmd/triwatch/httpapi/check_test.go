package httpapi_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"github.com/triwatch/triwatch/sentinel"
)

// reachAll is what a check finds when nothing is wrong.
func reachAll(v sentinel.View) []httpapi.Reached {
	var out []httpapi.Reached
	for _, i := range v.Instances {
		out = append(out, httpapi.Reached{Instance: i.ID, Info: sentinel.Info{Role: i.Role, Version: "7.0.15", Keys: 1}})
	}
	return out
}

func TestCheckFindsNothingWhenAllIsWell(t *testing.T) {
	v := apitest.Orders()
	r := httpapi.NewCheckReport(v, false, apitest.Trio(), reachAll(v))
	require.True(t, r.OK())
	require.Empty(t, r.Problems)
	require.Empty(t, r.Warnings)
	require.Equal(t, "redis-2", r.Chosen.Name)
	require.Equal(t, int64(0), *r.Chosen.LostBytes)
	require.Len(t, r.LeftOut, 2)
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change            func(*sentinel.View, *httpapi.ClusterInfo)
		problems, warning string
	}{
		"quorum too large":  {func(v *sentinel.View, _ *httpapi.ClusterInfo) { v.Quorum = 4 }, "quorum 4 is larger than the 3 watchers", ""},
		"nobody to promote": {func(v *sentinel.View, _ *httpapi.ClusterInfo) { v.Instances[1].Choice = "not chosen: priority 0" }, "no replica could be promoted", ""},
		"no replica":        {func(v *sentinel.View, _ *httpapi.ClusterInfo) { v.Instances = v.Instances[:1] }, "no replica is known", ""},
		"no quorum":         {func(_ *sentinel.View, c *httpapi.ClusterInfo) { *c = apitest.Alone() }, "the watchers have no quorum: 1 of 3", ""},
		"not adopted":       {func(v *sentinel.View, _ *httpapi.ClusterInfo) { v.State, v.Note = "unadopted", "not found" }, "has not been adopted: not found", ""},
		"one watcher away":  {func(_ *sentinel.View, c *httpapi.ClusterInfo) { c.Peers[2].Reachable = false }, "", "2 of 3 watchers are in touch"},
		"even number":       {func(_ *sentinel.View, c *httpapi.ClusterInfo) { c.Peers = c.Peers[:2] }, "", "an odd number is better"},
		"observed":          {func(v *sentinel.View, _ *httpapi.ClusterInfo) { v.Config.Observe = true }, "", "mode observe"},
	} {
		t.Run(name, func(t *testing.T) {
			v, cl := apitest.Orders(), apitest.Trio()
			c.change(&v, &cl)
			r := httpapi.NewCheckReport(v, false, cl, reachAll(v))
			require.Equal(t, c.problems == "", r.OK())
			if c.problems != "" {
				require.Len(t, r.Problems, 1)
				require.Contains(t, r.Problems[0], c.problems)
				return
			}
			require.Len(t, r.Warnings, 1)
			require.Contains(t, r.Warnings[0], c.warning)
		})
	}
}

func TestCheckFailsForAnInstanceOutOfReach(t *testing.T) {
	v := apitest.Orders()
	reached := reachAll(v)
	require.False(t, httpapi.NewCheckReport(v, false, apitest.Trio(), reached[:3]).OK(), "one was not tried")
	reached[1].Problems = []string{"no rights"}
	require.False(t, httpapi.NewCheckReport(v, false, apitest.Trio(), reached).OK())
	reached[1].Problems, reached[1].Warnings = nil, []string{"old"}
	require.True(t, httpapi.NewCheckReport(v, false, apitest.Trio(), reached).OK())
}
