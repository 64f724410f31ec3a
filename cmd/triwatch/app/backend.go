package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
	"github.com/triwatch/triwatch/sentinel/resp"
)

// viewTimeout bounds how long a Sentinel client's question may wait for the loop.
const viewTimeout = time.Second

// backend answers the Sentinel protocol from the runner.
type backend struct{ a *App }

// MyID implements resp.Backend.
func (b *backend) MyID() string { return string(b.a.ID()) }

// MasterAddr implements resp.Backend. Before the log has told anything, as after a
// restart without a quorum, the file's word counts: it is rewritten with every
// change.
func (b *backend) MasterAddr(name string) (host string, port int, ok bool) {
	file, known := b.a.opt.File.Master(name)
	known = known && !b.a.run.Removed(name)
	if at, ok := b.a.run.Served(name); ok && !at.Addr.IsZero() && (!known || uint64(at.Epoch) >= file.ConfigEpoch) {
		return b.a.naming.host(name, at.Addr.Host), at.Addr.Port, true
	}
	if !known {
		return "", 0, false
	}
	return b.a.naming.host(name, file.Host), file.Port, true
}

func (b *backend) view(name string) *sentinel.View {
	ctx, cancel := context.WithTimeout(b.a.ctx, viewTimeout)
	defer cancel()
	v, err := b.a.run.View(ctx, name)
	if err != nil || v != nil {
		return v
	}
	if m, ok := b.a.opt.File.Master(name); ok && !b.a.run.Removed(name) {
		return fileView(m)
	}
	return nil
}

// fileView is what can be said of a master that the log does not know yet.
func fileView(m conf.Master) *sentinel.View {
	at := sentinel.Assignment{Epoch: sentinel.Epoch(m.ConfigEpoch), Addr: sentinel.Addr{Host: m.Host, Port: m.Port}}
	return &sentinel.View{Name: m.Name, State: "unknown", Epoch: at.Epoch, Master: at, Quorum: m.Quorum, Config: configOf(m, false),
		Instances: []sentinel.InstanceView{{Addr: at.Addr, Master: true, Role: sentinel.RoleMaster}}}
}

// Masters implements resp.Backend.
func (b *backend) Masters() []resp.Master {
	ctx, cancel := context.WithTimeout(b.a.ctx, viewTimeout)
	defer cancel()
	views, err := b.a.run.Views(ctx)
	if err != nil {
		return nil
	}
	for _, m := range b.a.opt.File.Masters {
		if !b.a.run.Removed(m.Name) && !slices.ContainsFunc(views, func(v sentinel.View) bool { return v.Name == m.Name }) {
			views = append(views, *fileView(m))
		}
	}
	slices.SortFunc(views, func(x, y sentinel.View) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	out := make([]resp.Master, 0, len(views))
	for i := range views {
		out = append(out, b.master(&views[i]))
	}
	return out
}

// Master implements resp.Backend.
func (b *backend) Master(name string) (resp.Master, bool) {
	v := b.view(name)
	if v == nil {
		return resp.Master{}, false
	}
	return b.master(v), true
}

func (b *backend) master(v *sentinel.View) resp.Master {
	m := resp.Master{Name: v.Name, ConfigEpoch: uint64(v.Epoch), Quorum: v.Quorum, FailoverTimeout: v.Config.FailoverTimeout,
		ParallelSyncs: v.Config.ParallelSyncs, NumOtherSentinels: max(0, len(b.a.node.Peers())-1), RoleReported: "master"}
	m.Link = resp.Link{Host: b.a.naming.host(v.Name, v.Master.Addr.Host), Port: v.Master.Addr.Port, Refcount: 1, DownAfter: v.Config.DownAfter}
	for _, i := range v.Instances {
		if !i.Master {
			m.NumReplicas++
			continue
		}
		m.Link = b.link(i, v)
		m.InfoRefresh, m.RoleReported = i.InfoAge, roleWord(i.Role)
	}
	switch v.State {
	case "failover", "handover":
		m.Flags |= resp.FlagFailoverInProgress
		m.FailoverState = failoverState(v.Plan)
	case "down", "held":
		if v.State == "held" || v.Agree == 0 {
			m.Flags |= resp.FlagODown
		}
	}
	return m
}

// failoverState is Sentinel's name for where a plan stands.
func failoverState(p *sentinel.Plan) string {
	if p == nil {
		return "none"
	}
	switch p.Phase {
	case sentinel.PhaseFencing:
		return "wait_start"
	case sentinel.PhasePromoting:
		return "wait_promotion"
	case sentinel.PhasePromoted:
		return "reconf_slaves"
	case sentinel.PhaseUnknown, sentinel.PhaseDone, sentinel.PhaseAborted:
		return "none"
	}
	return "none"
}

func roleWord(r sentinel.Role) string {
	switch r {
	case sentinel.RoleMaster:
		return "master"
	case sentinel.RoleReplica:
		return "slave"
	case sentinel.RoleUnknown:
		return ""
	}
	return ""
}

func (b *backend) link(i sentinel.InstanceView, v *sentinel.View) resp.Link {
	l := resp.Link{Host: b.a.naming.host(v.Name, i.Addr.Host), Port: i.Addr.Port, RunID: i.RunID, Refcount: 1, DownAfter: v.Config.DownAfter,
		LastOKPingReply: i.Silent, LastPingReply: i.Silent}
	if i.Down {
		l.Flags |= resp.FlagSDown
		l.SDownTime = max(0, i.Silent-v.Config.DownAfter)
		l.LastPingSent = i.Silent
	}
	if i.Health == sentinel.HealthCrashed || i.Health == sentinel.HealthUnknown {
		l.Flags |= resp.FlagDisconnected
	}
	return l
}

// Replicas implements resp.Backend.
func (b *backend) Replicas(name string) ([]resp.Instance, bool) {
	v := b.view(name)
	if v == nil {
		return nil, false
	}
	out := []resp.Instance{}
	for _, i := range v.Instances {
		if i.Master || i.Unannounced { // replica-announced no: clients are not to be told of it
			continue
		}
		out = append(out, resp.Instance{Name: b.a.naming.addr(name, i.Addr).String(), Link: b.link(i, v), InfoRefresh: i.InfoAge, RoleReported: roleWord(i.Role),
			MasterLinkUp: i.Link == "up", MasterHost: b.a.naming.host(name, i.Follows.Host), MasterPort: i.Follows.Port, Priority: i.Prio, ReplOffset: i.Offset})
	}
	return out, true
}

// Sentinels implements resp.Backend.
func (b *backend) Sentinels(name string) ([]resp.Peer, bool) {
	if _, _, ok := b.MasterAddr(name); !ok {
		return nil, false
	}
	leader, _ := b.a.node.Leader()
	heard := b.a.run.Heard()
	out := []resp.Peer{}
	for _, p := range b.a.node.Peers() {
		if p.Self {
			continue
		}
		at := peerAddr(p.Addr)
		l := resp.Link{RunID: string(p.ID), Refcount: 1, LastPingReply: max(0, p.LastContact), LastOKPingReply: max(0, p.LastContact)}
		peer := resp.Peer{Name: string(p.ID), VotedLeader: string(leader)}
		if h, ok := heard[sentinel.WatcherID(p.ID)]; ok {
			at = h.Sentinel
			peer.LastHello = time.Since(h.At)
		}
		l.Host, l.Port = at.Host, at.Port
		if !p.Reachable {
			l.Flags |= resp.FlagSDown | resp.FlagDisconnected
			l.SDownTime = max(0, p.LastContact)
		}
		peer.Link = l
		out = append(out, peer)
	}
	return out, true
}

// peerAddr guesses a watcher's Sentinel address from its peers' address, until it
// has said hello.
func peerAddr(raft string) sentinel.Addr {
	host, port, err := net.SplitHostPort(raft)
	if err != nil {
		return sentinel.Addr{Host: raft}
	}
	n, err := strconv.Atoi(port)
	if err != nil || n <= PeerPortOffset {
		return sentinel.Addr{Host: host, Port: n}
	}
	return sentinel.Addr{Host: host, Port: n - PeerPortOffset}
}

// CheckQuorum implements resp.Backend.
func (b *backend) CheckQuorum(name string) (string, error) {
	v := b.view(name)
	if v == nil {
		return "", resp.ErrNoSuchMaster
	}
	usable, voters := 0, 0
	for _, p := range b.a.node.Peers() {
		if !p.Voter {
			continue
		}
		voters++
		if p.Reachable {
			usable++
		}
	}
	e := &resp.QuorumError{Usable: usable, NoQuorum: usable < v.Quorum, NoMajority: usable < voters/2+1 || !b.a.node.State().HasQuorum}
	if e.NoQuorum || e.NoMajority {
		return "", e
	}
	return resp.QuorumText(usable), nil
}

// Failover implements resp.Backend.
func (b *backend) Failover(ctx context.Context, name string) error {
	return b.failover(ctx, name, sentinel.RequestSentinelFailover)
}

func (b *backend) failover(ctx context.Context, name string, kind sentinel.RequestKind) error {
	if _, _, ok := b.MasterAddr(name); !ok {
		return resp.ErrNoSuchMaster
	}
	ans, err := b.a.run.Request(ctx, sentinel.Request{Master: name, Kind: kind})
	if err != nil {
		return err
	}
	switch {
	case ans.Result == sentinel.OutcomeOK:
		return nil
	case ans.Code == "NOQUORUM" || ans.Result == sentinel.OutcomeNotLeader:
		return fmt.Errorf("no failover of %s: %w", name, resp.ErrNoQuorum)
	case ans.Code == "INPROG":
		return resp.ErrInProgress
	case ans.Code == "NOGOODSLAVE":
		return resp.ErrNoGoodReplica
	case ans.Code == "NOMASTER":
		return resp.ErrNoSuchMaster
	case ans.Detail != "":
		return errors.New(ans.Detail)
	}
	return fmt.Errorf("failover of %s: %s", name, ans.Result)
}
