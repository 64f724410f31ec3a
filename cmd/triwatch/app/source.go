package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/metrics"
	"github.com/triwatch/triwatch/election"
	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
)

// source gives HTTP what it shows.
type source struct{ a *App }

// Views implements httpapi.Source.
func (s source) Views(ctx context.Context) ([]sentinel.View, bool, error) {
	return s.a.run.LeaderViews(ctx)
}

// OwnViews implements metrics.Source.
func (s source) OwnViews(ctx context.Context) ([]sentinel.View, error) { return s.a.run.Views(ctx) }

// History implements httpapi.Source.
func (s source) History(ctx context.Context, name string) ([]sentinel.Record, bool, error) {
	return s.a.run.History(ctx, name)
}

// Request implements httpapi.Source.
func (s source) Request(ctx context.Context, q sentinel.Request) (sentinel.Answer, error) {
	return s.a.run.Request(ctx, q)
}

// Services implements httpapi.Source.
func (s source) Services(master string) []httpapi.Service {
	if s.a.kube == nil {
		return nil
	}
	return s.a.kube.services(master)
}

// LastPass implements httpapi.Source.
func (s source) LastPass() time.Time { return s.a.run.LastPass() }

// Version implements httpapi.Source.
func (s source) Version() httpapi.Version { return s.a.opt.Build }

// Cluster implements httpapi.Source.
func (s source) Cluster() httpapi.ClusterInfo {
	st := s.a.node.State()
	c := httpapi.ClusterInfo{Me: string(s.a.ID()), LeaderID: string(st.LeaderID), LeaderAddr: st.LeaderAddr, Term: st.Term, HasQuorum: st.HasQuorum,
		Voter: st.Voter, CaughtUp: st.CaughtUp, Waiting: st.Waiting, Superseded: st.Superseded, Removed: st.Removed}
	if err := s.a.machine.Stuck(); err != nil {
		c.CaughtUp, c.Waiting, c.Stuck, c.NeedsLevel = false, err.Error(), err.Error(), sentinel.NeedsLevel(err)
	}
	c.Level, c.Knows = s.a.run.Level(), s.a.run.Knows()
	heard := s.a.run.Heard()
	for _, p := range s.a.node.Peers() {
		name := s.a.peerName(p.Addr)
		last := p.LastContact.Milliseconds()
		if p.LastContact < 0 {
			last = -1
		}
		h := heard[sentinel.WatcherID(p.ID)]
		if p.Self {
			h.Level, h.Version = c.Knows, s.a.opt.Build.Version
		}
		c.Peers = append(c.Peers, httpapi.PeerInfo{ID: string(p.ID), Addr: p.Addr, Name: name, Voter: p.Voter, Self: p.Self, Leader: p.Leader, Reachable: p.Reachable,
			LastContactMS: last, Level: h.Level, Version: h.Version})
	}
	return c
}

// peerName is the pod of a watcher, "" on hosts.
func (a *App) peerName(addr string) string {
	if a.kube == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return a.kube.k.Members.PodName(host)
}

// RemovePeer implements httpapi.Source.
func (s source) RemovePeer(ctx context.Context, id string) error {
	err := s.a.node.RemovePeer(ctx, election.ID(id))
	switch {
	case errors.Is(err, election.ErrUnknownPeer):
		return fmt.Errorf("%w: %s", httpapi.ErrUnknownPeer, id)
	case errors.Is(err, election.ErrNotLeader) && !s.a.node.State().HasQuorum:
		return fmt.Errorf("%w: %w", httpapi.ErrNoQuorum, err)
	case errors.Is(err, election.ErrNotLeader):
		return fmt.Errorf("%w: %w", httpapi.ErrNotLeader, err)
	}
	return err
}

// Recover implements httpapi.Source.
func (s source) Recover(ctx context.Context, drop []string) error {
	ids := make([]election.ID, len(drop))
	for n, id := range drop {
		ids[n] = election.ID(id)
	}
	return s.a.node.Recover(ctx, ids)
}

// Check implements httpapi.Source.
func (s source) Check(ctx context.Context, name string) (httpapi.CheckReport, error) {
	vctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	views, own, err := s.Views(vctx)
	if err != nil {
		return httpapi.CheckReport{}, err
	}
	for _, v := range views {
		if v.Name == name {
			return httpapi.NewCheckReport(v, own, s.Cluster(), s.reach(ctx, v)), nil
		}
	}
	return httpapi.CheckReport{}, fmt.Errorf("%w: %s", httpapi.ErrUnknownMaster, name)
}

// reach tries every instance of a master, side by side: one that hangs must not
// make the others wait.
func (s source) reach(ctx context.Context, v sentinel.View) []httpapi.Reached {
	creds := s.a.credentials(v.Name)
	out := make([]httpapi.Reached, len(v.Instances))
	var wg sync.WaitGroup
	for n, i := range v.Instances {
		wg.Go(func() {
			f, err := redisio.Check(ctx, i.Addr, creds, s.a.tls.Redis())
			if w := f.BootWarning(i.Boots); err == nil && w != "" {
				f.Warnings = append(f.Warnings, w)
			}
			out[n] = httpapi.Reached{Instance: i.ID, Info: f.Info, Problems: f.Problems, Warnings: f.Warnings, Err: err}
		})
	}
	wg.Wait()
	return out
}

func (a *App) credentials(name string) redisio.Credentials {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.creds[name]
}

// makeHTTP makes the HTTP server and the metrics that it shows.
func (a *App) makeHTTP() (err error) {
	if a.metrics, err = metrics.New(a.registry, source{a}); err != nil {
		return err
	}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.http, err = httpapi.New(httpapi.Options{Source: source{a}, Metrics: a.registry, Logger: a.log.Named("http"), Token: a.opt.Token})
	return err
}

func (a *App) startHTTP(ctx context.Context) error {
	if _, err := a.http.Start(ctx, a.opt.HTTPAddr); err != nil {
		return err
	}
	a.after("http", a.http.Shutdown)
	return nil
}
