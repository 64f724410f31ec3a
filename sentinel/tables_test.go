package sentinel_test

import (
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

func TestErrorRepliesHaveTheirMeaning(t *testing.T) {
	for text, want := range map[string]sentinel.Reply{
		"LOADING Redis is loading the dataset in memory":                                          sentinel.ReplyLoading,
		"NOAUTH Authentication required.":                                                         sentinel.ReplyAuth,
		"WRONGPASS invalid username-password pair or user is disabled.":                           sentinel.ReplyAuth,
		"NOPERM this user has no permissions to run the 'info' command":                           sentinel.ReplyAuth,
		"ERR invalid password":                                                                    sentinel.ReplyAuth,
		"ERR AUTH <password> called without any password configured for the default user.":        sentinel.ReplyAuth,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":  sentinel.ReplyBusy,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist": sentinel.ReplyMisconf,
		"ERR max number of clients reached":                                                       sentinel.ReplyMaxClients,
		"ERR max number of clients + cluster connections reached":                                 sentinel.ReplyMaxClients,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":        sentinel.ReplyError,
		"ERR unknown command":   sentinel.ReplyError,
		"LOADINGX":              sentinel.ReplyError,
		"BUSYKEY Target exists": sentinel.ReplyError,
		"":                      sentinel.ReplyError,
	} {
		got := sentinel.ClassifyError(text)
		if got != want {
			t.Errorf("%q is %s, not %s", text, got, want)
		}
		if !got.Alive() {
			t.Errorf("%q: who can complain is alive", text)
		}
	}
}

func TestReplyTable(t *testing.T) {
	type meaning struct{ alive, usable bool }
	table := map[sentinel.Reply]meaning{
		sentinel.ReplyUnknown: {}, sentinel.ReplyRefused: {}, sentinel.ReplyUnreachable: {}, sentinel.ReplyUnresolved: {}, sentinel.ReplyTimeout: {},
		sentinel.ReplyOK: {true, true}, sentinel.ReplyMisconf: {true, true}, sentinel.ReplyLoading: {true, false}, sentinel.ReplyAuth: {true, false},
		sentinel.ReplyMaxClients: {true, false}, sentinel.ReplyBusy: {true, false}, sentinel.ReplyError: {true, false}, sentinel.ReplyAccepted: {true, false},
	}
	names := map[string]bool{}
	for r := sentinel.ReplyUnknown; r <= sentinel.ReplyTimeout; r++ {
		want, ok := table[r]
		if !ok {
			t.Errorf("%s (%d) is not in the table", r, r)
		}
		if got := (meaning{r.Alive(), r.Usable()}); got != want {
			t.Errorf("%s: alive, usable are %v, not %v", r, got, want)
		}
		if r.String() == "" || names[r.String()] {
			t.Errorf("reply %d has no name of its own: %q", r, r)
		}
		names[r.String()] = true
	}
}

func TestBadSettingsAreNamedWithTheirValue(t *testing.T) {
	if err := sentinel.DefaultConfig().Validate(); err != nil {
		t.Fatalf("the defaults do not pass: %v", err)
	}
	if err := (sentinel.Config{}).Validate(); err == nil {
		t.Error("the zero value passes")
	}
	for _, c := range []struct {
		set  func(*sentinel.Config)
		want []string
	}{
		{func(c *sentinel.Config) { c.Quorum = 0 }, []string{"quorum is 0, must be at least 1"}},
		{func(c *sentinel.Config) { c.DownAfter = 49 * time.Millisecond }, []string{"down-after is 49ms, must be at least 50ms"}},
		{func(c *sentinel.Config) { c.FailoverTimeout = time.Second }, []string{"failover-timeout 1s is shorter than down-after 30s"}},
		{func(c *sentinel.Config) { c.ParallelSyncs = 0 }, []string{"parallel-syncs is 0, must be at least 1"}},
		{func(c *sentinel.Config) { c.MaxLoss = -1 }, []string{"max-loss is -1, must not be negative"}},
		{func(c *sentinel.Config) { c.CatchUp = 0 }, []string{"catch-up is 0s, must be positive"}},
		{func(c *sentinel.Config) { c.Quorum, c.ParallelSyncs = -2, -3 }, []string{"quorum is -2", "parallel-syncs is -3"}},
	} {
		cfg := sentinel.DefaultConfig()
		c.set(&cfg)
		err := cfg.Validate()
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
		if err != nil && strings.Count(err.Error(), "\n") != len(c.want)-1 {
			t.Errorf("%q says more than %q", err, c.want)
		}
	}
}

func TestMonitorWithBadSettingsIsRefused(t *testing.T) {
	cfg := sentinel.DefaultConfig()
	at := sentinel.Assignment{Instance: "a", Addr: sentinel.Addr{Host: "10.0.0.1", Port: 6379}}
	bad := cfg
	bad.Quorum = 0
	for name, c := range map[string]sentinel.Command{
		"no settings":  {Master: "orders", At: at},
		"no name":      {Config: &cfg, At: at},
		"no address":   {Master: "orders", Config: &cfg},
		"bad settings": {Master: "orders", Config: &bad, At: at},
	} {
		c.Type = sentinel.CmdMonitor
		r := sentinel.NewRegistry()
		if res := r.Apply(c); res.Accepted || res.Reason == "" || len(r.Names()) != 0 {
			t.Errorf("%s: %+v, %v", name, res, r.Names())
		}
	}
	r := newRegistry(t)
	if res := r.Apply(sentinel.Command{Type: sentinel.CmdMonitor, Master: "orders", Config: &cfg, At: at}); res.Accepted {
		t.Error("watched twice")
	}
}

func TestAddressesCompareByWhatTheyName(t *testing.T) {
	a := func(h string, p int) sentinel.Addr { return sentinel.Addr{Host: h, Port: p} }
	for _, c := range []struct {
		x, y sentinel.Addr
		same bool
	}{
		{a("10.0.0.1", 1), a("10.0.0.1", 1), true}, {a("10.0.0.1", 1), a("10.0.0.1", 2), false}, {a("10.0.0.1", 1), a("::ffff:10.0.0.1", 1), true},
		{a("FD00::1", 1), a("fd00:0:0::1", 1), true}, {a("Redis-0.svc", 1), a("redis-0.SVC", 1), true}, {a("redis-0", 1), a("redis-1", 1), false}, {a("10.0.0.1", 1), a("host", 1), false},
	} {
		if c.x.Same(c.y) != c.same || c.y.Same(c.x) != c.same {
			t.Errorf("%s and %s: same is not %v", c.x, c.y, c.same)
		}
	}
	for addr, want := range map[sentinel.Addr]string{a("10.0.0.1", 6379): "10.0.0.1:6379", a("fd00::1", 6379): "[fd00::1]:6379", {}: "none"} {
		if addr.String() != want {
			t.Errorf("%q is not %q", addr, want)
		}
	}
}

func TestEpochsShowTheirGenerationOnlyIfThereIsOne(t *testing.T) {
	for e, want := range map[sentinel.Epoch]string{0: "0", 13: "13", sentinel.MakeEpoch(2, 7): "2.7"} {
		if e.String() != want {
			t.Errorf("%d is %q", uint64(e), e)
		}
	}
	if e := sentinel.MakeEpoch(2, 7); e.Generation() != 2 || e.Counter() != 7 || e+1 != sentinel.MakeEpoch(2, 8) || e < sentinel.MakeEpoch(1, 1<<31) {
		t.Errorf("epoch %d", uint64(e))
	}
}

func TestViewShowsEveryInstanceAndItsFate(t *testing.T) {
	w := ready(t, time.Second, 0, [3]time.Duration{})
	for _, x := range w.ws {
		v := x.r.State(masterName).View()
		if v.State != "ok" || v.Note != "" || len(v.Instances) != 3 || v.Voters != 3 || v.Quorum != 2 || v.How != "adopted" || !v.Acting || v.Leading != (x == w.leader) {
			t.Errorf("%s: %+v", x.id, v)
		}
		m := v.Instances[0]
		if !m.Master || m.Role != sentinel.RoleMaster || m.Link != "-" || m.Choice != "" || m.RunID == "" {
			t.Errorf("%s: the master is not first: %+v", x.id, m)
		}
		for _, i := range v.Instances[1:] {
			if i.Master || i.Role != sentinel.RoleReplica || i.Link != "up" || i.Choice == "" || i.Lag < 0 || i.Health != sentinel.HealthUp || i.Follows != m.Addr {
				t.Errorf("%s: %+v", x.id, i)
			}
		}
		if want := map[bool]int{true: 3, false: 1}[x == w.leader]; v.Agree != want {
			t.Errorf("%s: %d watchers agree, not %d", x.id, v.Agree, want)
		}
	}
	v := w.leader.r.State(masterName).View()
	v.Instances[0].Addr, v.Config.Quorum = sentinel.Addr{}, 99
	if again := w.leader.r.State(masterName).View(); again.Instances[0].Addr.IsZero() || again.Config.Quorum != 2 {
		t.Error("what was done to a view is seen in the next one")
	}
}

func TestRequestsForUnknownMastersAndToFollowersAreAnswered(t *testing.T) {
	w := ready(t, time.Second, 0, [3]time.Duration{})
	for _, c := range []struct {
		wt     *watcher
		master string
		result sentinel.Outcome
		code   string
	}{{w.ws[0], "nobody", sentinel.OutcomeRefused, "NOMASTER"}, {w.ws[1], masterName, sentinel.OutcomeNotLeader, ""}} {
		var got []sentinel.Answer
		for _, a := range c.wt.r.Step(sentinel.Input{At: w.now, Wall: w.wall(), Event: sentinel.Request{ID: 5, Master: c.master, Kind: sentinel.RequestHandover}}) {
			if x, ok := a.(sentinel.Answer); ok {
				got = append(got, x)
			}
		}
		if len(got) != 1 || got[0].ID != 5 || got[0].Result != c.result || got[0].Code != c.code || got[0].Detail == "" {
			t.Errorf("%s asked about %s: %+v", c.wt.id, c.master, got)
		}
	}
}
