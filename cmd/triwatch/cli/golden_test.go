package cli_test

import (
	"testing"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"github.com/triwatch/triwatch/sentinel"
)

// Every case is a command, with what a person sees of it in testdata.
func TestOutputs(t *testing.T) {
	alone := func(g *rig) { g.src.Info, g.src.Own = apitest.Alone(), true }
	down := func(g *rig) { alone(g); g.src.List[1] = apitest.OrdersDown() }
	refused := func(code, text string) func(*rig) {
		return func(g *rig) {
			g.src.Answer = sentinel.Answer{Result: sentinel.OutcomeRefused, Code: code, Detail: text}
		}
	}
	yes := func(g *rig) { g.terminal, g.input = true, "yes\n" }
	crashed := func(g *rig) {
		g.src.List[1] = apitest.OrdersDown()
		yes(g)
	}
	for name, c := range map[string]struct {
		args   []string
		change func(*rig)
	}{
		"status-one":               {[]string{"status", "orders"}, nil},
		"status-one-host":          {[]string{"status", "carts"}, nil},
		"status-one-json":          {[]string{"status", "carts", "-o", "json"}, nil},
		"status-one-plan":          {[]string{"status", "orders"}, withPlan},
		"status-one-observe":       {[]string{"status", "orders"}, func(g *rig) { v := &g.src.List[1]; v.State, v.Acting, v.Config.Observe = "observed", false, true }},
		"status-one-stale":         {[]string{"status", "orders"}, func(g *rig) { g.src.Own = true }},
		"status-one-no-quorum":     {[]string{"status", "orders"}, down},
		"status-one-no-quorum-ok":  {[]string{"status", "orders"}, alone},
		"status-one-no-replica":    {[]string{"status", "orders"}, func(g *rig) { down(g); g.src.List[1].Instances = g.src.List[1].Instances[:1] }},
		"status-all":               {[]string{"status"}, nil},
		"status-all-none":          {[]string{"status"}, func(g *rig) { g.src.List = nil }},
		"status-all-no-quorum":     {[]string{"status"}, down},
		"status-json-no-quorum":    {[]string{"status", "orders", "-o", "json"}, down},
		"status-outside":           {[]string{"status", "orders"}, func(g *rig) { alone(g); g.src.Info.Removed = true }},
		"status-unknown":           {[]string{"status", "nope"}, nil},
		"history":                  {[]string{"history", "orders"}, nil},
		"history-nothing":          {[]string{"history", "carts"}, nil},
		"history-failover":         {[]string{"history", "orders", "12"}, nil},
		"history-handover":         {[]string{"history", "orders", "13"}, nil},
		"history-aborted":          {[]string{"history", "orders", "11"}, nil},
		"history-unused-epoch":     {[]string{"history", "orders", "99"}, nil},
		"check-one":                {[]string{"check", "orders"}, nil},
		"check-well":               {[]string{"check", "orders"}, allReached},
		"check-all":                {[]string{"check"}, allReached},
		"check-no-quorum":          {[]string{"check", "orders"}, func(g *rig) { down(g); allReached(g) }},
		"handover":                 {[]string{"handover", "orders", "--to", "redis-2"}, nil},
		"handover-json":            {[]string{"handover", "orders", "-o", "json"}, nil},
		"handover-refused":         {[]string{"handover", "orders"}, refused("", "the master 10.244.0.17:6379 does not answer: a handover needs it alive, see failover")},
		"handover-in-progress":     {[]string{"handover", "orders"}, refused("INPROG", "a failover is under way, epoch 14")},
		"handover-refused-json":    {[]string{"handover", "orders", "-o", "json"}, refused("INPROG", "a failover is under way, epoch 14")},
		"handover-no-quorum":       {[]string{"handover", "orders"}, func(g *rig) { down(g); refused("NOQUORUM", "no leader")(g) }},
		"handover-unknown-outcome": {[]string{"handover", "orders"}, func(g *rig) { g.src.Answer = sentinel.Answer{Detail: "the leader was lost"} }},
		"failover-yes":             {[]string{"failover", "orders", "--yes"}, nil},
		"failover-asked":           {[]string{"failover", "orders"}, crashed},
		"failover-to":              {[]string{"failover", "orders", "--to", "10.244.0.16:6379"}, crashed},
		"failover-to-unknown":      {[]string{"failover", "orders", "--to", "nope", "-y"}, refused("NOGOODSLAVE", "no replica may be promoted")},
		"failover-declined":        {[]string{"failover", "orders"}, func(g *rig) { g.terminal, g.input = true, "y\n" }},
		"failover-no-answer":       {[]string{"failover", "orders"}, func(g *rig) { g.terminal = true }},
		"failover-no-terminal":     {[]string{"failover", "orders"}, nil},
		"failover-no-quorum":       {[]string{"failover", "orders", "--yes"}, down},
		"failover-no-estimate":     {[]string{"failover", "orders", "--yes"}, func(g *rig) { crashed(g); g.src.List[1].Instances[1].Lag = -1 }},
		"failover-force":           {[]string{"failover", "orders", "--to", "10.244.0.16:6379", "--force"}, crashed},
		"failover-force-no-to":     {[]string{"failover", "orders", "--force", "--yes"}, nil},
		"vacate":                   {[]string{"vacate", "orders", "redis-1"}, nil},
		"peers":                    {[]string{"peers"}, nil},
		"peers-no-quorum":          {[]string{"peers"}, func(g *rig) { alone(g); g.src.Info.Waiting = "waiting for a leader" }},
		"peers-outdated":           {[]string{"peers"}, func(g *rig) { g.src.Info = apitest.Outdated() }},
		"peers-stuck":              {[]string{"peers"}, func(g *rig) { g.src.Info = apitest.Stuck() }},
		"status-one-outdated":      {[]string{"status", "orders"}, func(g *rig) { g.src.Info = apitest.Outdated() }},
		"status-one-stuck":         {[]string{"status", "orders"}, func(g *rig) { g.src.Info = apitest.Stuck() }},
		"check-outdated":           {[]string{"check", "orders"}, func(g *rig) { allReached(g); g.src.Info = apitest.Outdated() }},
		"peers-remove":             {[]string{"peers", "remove", "3d2e", "--yes"}, nil},
		"peers-remove-asked":       {[]string{"peers", "remove", "10.244.0.7:36379"}, yes},
		"peers-remove-unknown":     {[]string{"peers", "remove", "ffff", "--yes"}, nil},
		"peers-remove-follower":    {[]string{"peers", "remove", "triwatch-7c9f-zq4", "--yes"}, notLeader},
		"version":                  {[]string{"version"}, nil},
		"version-json":             {[]string{"version", "-o", "json"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			if c.change != nil {
				c.change(g)
			}
			golden(t, name, g.run(t, c.args...).transcript(c.args))
		})
	}
}
