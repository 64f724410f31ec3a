package apitest

import (
	"errors"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/sentinel"
)

// The watchers of the examples.
const (
	Watcher1 = "1f0c6c2a5b7d4e8f90a1b2c3d4e5f60718293a4b"
	Watcher2 = "2e1d7b3c6a8f5d9e01b2c3d4e5f60718293a4b5c"
	Watcher3 = "3d2e8a4b7c9e6f0a12c3d4e5f60718293a4b5c6d"
)

// Trio is three watchers that are all in touch; the second leads.
func Trio() httpapi.ClusterInfo {
	return httpapi.ClusterInfo{Me: Watcher1, LeaderID: Watcher2, LeaderAddr: "10.244.0.6:36379", Term: 41, HasQuorum: true, Voter: true, CaughtUp: true, Level: 3, Knows: 3,
		Peers: []httpapi.PeerInfo{
			{ID: Watcher1, Addr: "10.244.0.5:36379", Name: "triwatch-7c9f-b8d", Voter: true, Self: true, Reachable: true, Level: 3, Version: "0.1.0"},
			{ID: Watcher2, Addr: "10.244.0.6:36379", Name: "triwatch-7c9f-x2k", Voter: true, Leader: true, Reachable: true, LastContactMS: 61, Level: 3, Version: "0.1.0"},
			{ID: Watcher3, Addr: "10.244.0.7:36379", Name: "triwatch-7c9f-zq4", Voter: true, Reachable: true, LastContactMS: 350, Level: 3, Version: "0.1.0"},
		}}
}

// Alone is what the first watcher knows when both others are gone.
func Alone() httpapi.ClusterInfo {
	c := Trio()
	c.LeaderID, c.LeaderAddr, c.HasQuorum, c.CaughtUp = "", "", false, false
	c.Peers[1].Leader, c.Peers[1].Reachable, c.Peers[1].LastContactMS = false, false, 131000
	c.Peers[2].Reachable, c.Peers[2].LastContactMS = false, -1
	return c
}

// Stuck is what the first watcher knows when it is the only one of an older build.
func Stuck() httpapi.ClusterInfo {
	c := Trio()
	c.Level, c.Knows, c.NeedsLevel, c.CaughtUp = 2, 2, 3, false
	c.Stuck = `apply log entry 41: command "level" needs level 3, this watcher knows 2: upgrade it`
	c.Waiting = c.Stuck
	c.Peers[0].Level, c.Peers[0].Version = 2, "0.0.9"
	return c
}

// Outdated is a trio whose third watcher is of an older build, that says no version.
func Outdated() httpapi.ClusterInfo {
	c := Trio()
	c.Peers[2].Level, c.Peers[2].Version = 2, ""
	return c
}

func redis(n byte) sentinel.Addr {
	host := map[byte]string{'0': "10.244.0.16", '1': "10.244.0.17", '2': "10.244.0.18", '3': "10.244.0.19"}
	return sentinel.Addr{Host: host[n], Port: 6379}
}

func id(n byte) sentinel.InstanceID {
	return sentinel.InstanceID("9d1f3a70-0000-4000-8000-00000000000" + string(n))
}

func at(n byte, epoch sentinel.Epoch) sentinel.Assignment {
	return sentinel.Assignment{Epoch: epoch, Instance: id(n), Addr: redis(n)}
}

func replica(n byte, link string, offset, lag int64, choice string) sentinel.InstanceView {
	return sentinel.InstanceView{ID: id(n), Name: "redis-" + string(n), Addr: redis(n), Role: sentinel.RoleReplica, Health: sentinel.HealthUp,
		Reply: sentinel.ReplyOK, Link: link, Lag: lag, Offset: offset, Keys: offset / 900, Prio: 100, RunID: "run-" + string(n), Follows: redis('1'), SeenBy: 3,
		Silent: 12 * time.Millisecond, InfoAge: 430 * time.Millisecond, Choice: choice}
}

// Orders is a master with three replicas, one of them in a full sync.
func Orders() sentinel.View {
	cfg := sentinel.DefaultConfig()
	cfg.DownAfter = time.Second
	return sentinel.View{Name: "orders", State: "ok", Epoch: 13, Master: at('1', 13), Since: time.Date(2026, 11, 23, 1, 12, 9, 0, time.UTC),
		How: "handover", Acting: true, Quorum: 2, Agree: 3, Voters: 3, Config: cfg, Fence: "off",
		Instances: []sentinel.InstanceView{
			{ID: id('1'), Name: "redis-1", Addr: redis('1'), Master: true, Role: sentinel.RoleMaster, Health: sentinel.HealthUp, Reply: sentinel.ReplyOK,
				Link: "-", Lag: -1, Offset: 918273645, Keys: 1020305, Prio: 100, RunID: "run-1", SeenBy: 3, Silent: 9 * time.Millisecond, InfoAge: 412 * time.Millisecond},
			replica('2', "up", 918273645, 0, "would be chosen (highest offset)"),
			replica('0', "up", 918273561, 84, "allowed, 84 bytes behind redis-2"),
			replica('3', "sync", 0, 918273645, "not chosen: full sync, 41 % loaded"),
		}}
}

// OrdersDown is the same master crashed, as one watcher alone sees it.
func OrdersDown() sentinel.View {
	v := Orders()
	v.State, v.Note, v.Agree = "down", "master 10.244.0.17:6379 down: refused", 0
	for n := range v.Instances {
		v.Instances[n].SeenBy = 1
	}
	m := &v.Instances[0]
	m.Health, m.Reply, m.Down, m.SeenBy, m.Silent = sentinel.HealthCrashed, sentinel.ReplyRefused, true, 0, 4210*time.Millisecond
	v.Instances[1].Link, v.Instances[2].Link = "down", "down"
	return v
}

// Carts is a master with a replica missing, named by addresses as on hosts.
func Carts() sentinel.View {
	addr := func(host string) sentinel.Addr { return sentinel.Addr{Host: host, Port: 6379} }
	inst := func(host string) sentinel.InstanceView {
		a := addr(host)
		return sentinel.InstanceView{ID: sentinel.InstanceID(a.String()), Name: a.String(), Addr: a, Role: sentinel.RoleReplica, Health: sentinel.HealthUp,
			Reply: sentinel.ReplyOK, Link: "up", Offset: 1200, Prio: 100, SeenBy: 3}
	}
	master, good, gone := inst("10.244.0.9"), inst("10.244.0.10"), inst("10.244.0.11")
	master.Master, master.Role, master.Link, master.Lag = true, sentinel.RoleMaster, "-", -1
	good.Choice = "would be chosen (the only one allowed)"
	gone.Health, gone.Reply, gone.Down, gone.SeenBy, gone.Silent = sentinel.HealthDown, sentinel.ReplyTimeout, true, 0, 131*time.Second
	gone.Choice = "not chosen: down: time-out"
	return sentinel.View{Name: "carts", State: "degraded", Note: "10.244.0.11:6379 down for 2m11s (time-out)", Epoch: 4,
		Master: sentinel.Assignment{Epoch: 4, Instance: master.ID, Addr: master.Addr}, How: "adopted", Acting: true, Quorum: 2, Agree: 3, Voters: 3,
		Config: sentinel.DefaultConfig(), Instances: []sentinel.InstanceView{master, good, gone}}
}

// OrdersHistory is the history of Orders, oldest first.
func OrdersHistory() []sentinel.Record {
	day := func(d, h, m, s int) time.Time { return time.Date(2026, 11, d, h, m, s, 0, time.UTC) }
	return []sentinel.Record{
		{When: day(2, 3, 11, 0), Epoch: 11, Kind: "aborted", From: at('2', 10), To: at('1', 11), Why: "asked", Fenced: true, Leader: Watcher1, Term: 38,
			Result: "replica 3.1 MB behind after 500 ms; undone", Span: sentinel.Span{TookMS: 503, WaitedMS: 500}},
		{When: day(14, 9, 2, 33), Kind: "held", From: at('2', 10), Why: "held: 3/3 without a reply for 1s, but 1/2 replicas advance",
			Leader: Watcher1, Term: 39},
		{When: day(20, 18, 40, 51), Epoch: 12, Kind: "failover", From: at('2', 10), To: at('0', 12), Why: "crash: 3/3 refused, 2/2 links down", Result: "done",
			Leader: Watcher2, Term: 41, Span: sentinel.Span{TookMS: 19.4}, LeftOut: []sentinel.Rejected{{Instance: id('1'), Addr: redis('1'), Why: "128 bytes behind"}},
			Notes: []sentinel.Note{
				{AfterMS: 0, What: "evidence", Text: "crash: 3/3 refused, 2/2 links down"},
				{AfterMS: 2.8, What: "chosen", Text: "10.244.0.16:6379 (offset 88120004, highest offset); left out: 10.244.0.17:6379 (128 bytes behind)"},
				{AfterMS: 7.02, What: "promoted", Text: "10.244.0.16:6379 answers role master"},
				{AfterMS: 19.4, What: "done", Text: "1 of 2 replicas follow"},
				{AfterMS: 611.2, What: "back", Text: "10.244.0.18:6379 is back, empty: replica of 10.244.0.16:6379"},
			}},
		{When: day(23, 1, 12, 9), Epoch: 13, Kind: "handover", From: at('0', 12), To: at('1', 13), Why: "pod redis-0 deleted (eviction)", Result: "done",
			Fenced: true, Leader: Watcher2, Term: 41, Span: sentinel.Span{TookMS: 1210, WaitedMS: 6},
			Notes: []sentinel.Note{
				{AfterMS: 0, What: "evidence", Text: "asked"},
				{AfterMS: 1, What: "chosen", Text: "10.244.0.17:6379 (offset 9, highest offset); left out: nobody"},
				{AfterMS: 3, What: "fenced", Text: "10.244.0.16:6379 is read-only at offset 9"},
				{AfterMS: 5, What: "caught up", Text: "10.244.0.17:6379 has offset 9"},
				{AfterMS: 9, What: "promoted", Text: "10.244.0.17:6379 answers role master"},
				{AfterMS: 1210, What: "done", Text: "3 of 3 replicas follow"},
			}},
	}
}

// OrdersReached is what a check of Orders finds: one missing right, one instance
// out of reach, one without persistence.
func OrdersReached() []httpapi.Reached {
	info := func(r sentinel.Role, keys int64) sentinel.Info {
		return sentinel.Info{Role: r, Version: "7.0.15", Keys: keys}
	}
	return []httpapi.Reached{
		{Instance: id('1'), Info: info(sentinel.RoleMaster, 1000), Warnings: []string{"it has no persistence: it comes back empty after a crash"}},
		{Instance: id('2'), Info: info(sentinel.RoleReplica, 1000), Problems: []string{"user triwatch may not send CONFIG SET: no permissions"}},
		{Instance: id('0'), Info: info(sentinel.RoleReplica, 1000)},
		{Instance: id('3'), Err: errors.New("reach 10.244.0.19:6379: connection refused")},
	}
}
