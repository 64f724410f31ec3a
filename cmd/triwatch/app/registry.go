package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
	"github.com/triwatch/triwatch/sentinel/resp"
)

// changeTimeout bounds how long a client waits for a change of the registry, and
// shownTimeout how long it then waits until this watcher shows it, too.
const (
	changeTimeout = 5 * time.Second
	shownTimeout  = time.Second
	// unheardPause is the time between two tries while watchers have not said hello, and
	// unheardFor after how long the answer is what the last try gave. A hello comes every
	// two seconds.
	unheardPause = 50 * time.Millisecond
	unheardFor   = 2500 * time.Millisecond
)

// changes remembers what this watcher's clients have asked for, so that a script that
// says the same to every watcher gets the answer of redis-sentinel from each: the
// first time OK, the second time an error. It is guarded by App.mu.
type changes struct {
	monitored map[string]bool
	removed   map[string]bool
}

// first notes that a name was asked for here, and says whether it was for the first
// time.
func (a *App) first(of func(*changes) (now, opposite map[string]bool), name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, opposite := of(&a.changes)
	was := now[name]
	now[name] = true
	delete(opposite, name)
	return !was
}

func monitored(c *changes) (now, opposite map[string]bool) { return c.monitored, c.removed }
func removed(c *changes) (now, opposite map[string]bool)   { return c.removed, c.monitored }

// change sends a request about the registry to the leader and turns the answer into
// one for clients. code says why there was nothing to do.
func (b *backend) change(ctx context.Context, q sentinel.Request) (code string, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	began := time.Now()
	ans, err := b.a.run.Request(ctx, q)
	for err == nil && ans.Code == sentinel.CodeUnheard && time.Since(began) < unheardFor {
		select {
		case <-ctx.Done():
			err = ctx.Err()
			continue
		case <-time.After(unheardPause):
		}
		ans, err = b.a.run.Request(ctx, q)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "", fmt.Errorf("%s %s: the leader has not answered for %s, so it may or may not be committed: %w", q.Kind, q.Master, changeTimeout, resp.ErrNoQuorum)
	case err != nil:
		return "", fmt.Errorf("%s %s: %w", q.Kind, q.Master, err)
	case ans.Result == sentinel.OutcomeOK:
		return ans.Code, nil
	case ans.Result == sentinel.OutcomeUnknown:
		return "", fmt.Errorf("%s %s may or may not be committed (%s): %w", q.Kind, q.Master, ans.Detail, resp.ErrNoQuorum)
	case ans.Result == sentinel.OutcomeNotLeader:
		return "", fmt.Errorf("%s %s cannot be committed (%s); nothing was changed: %w", q.Kind, q.Master, ans.Detail, resp.ErrNoQuorum)
	case ans.Code == "NOMASTER":
		return "", resp.ErrNoSuchMaster
	case ans.Code == sentinel.CodeDuplicate:
		return "", resp.ErrDuplicate
	}
	return ans.Code, fmt.Errorf("%s %s: %s", q.Kind, q.Master, ans.Detail)
}

// shown waits until this watcher's own state is as the leader's: a client that reads
// what it has just written must find it.
func (b *backend) shown(ctx context.Context, name string, ok func(*sentinel.View) bool) {
	ctx, cancel := context.WithTimeout(ctx, shownTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := b.a.run.View(ctx, name)
		if err != nil || ok(v) {
			return // late is not wrong: the change is committed
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Monitor implements resp.Backend.
func (b *backend) Monitor(ctx context.Context, m resp.Monitored) error {
	cfg := sentinel.DefaultConfig()
	cfg.Quorum, cfg.DownAfter, cfg.FailoverTimeout, cfg.Observe = m.Quorum, m.DownAfter, m.FailoverTimeout, b.a.opt.Observe
	code, err := b.change(ctx, sentinel.Request{Master: m.Name, Kind: sentinel.RequestMonitor, Addr: sentinel.Addr{Host: m.Host, Port: m.Port}, Config: &cfg})
	if err != nil {
		return err
	}
	if first := b.a.first(monitored, m.Name); code == sentinel.CodeKnown && !first {
		return resp.ErrDuplicate
	}
	b.shown(ctx, m.Name, func(v *sentinel.View) bool { return v != nil })
	return nil
}

// Remove implements resp.Backend.
func (b *backend) Remove(ctx context.Context, name string) error {
	code, err := b.change(ctx, sentinel.Request{Master: name, Kind: sentinel.RequestRemove})
	if err != nil {
		return err
	}
	if first := b.a.first(removed, name); code == sentinel.CodeRemoved && !first {
		return resp.ErrNoSuchMaster
	}
	b.shown(ctx, name, func(v *sentinel.View) bool { return v == nil })
	return nil
}

// Reset implements resp.Backend.
func (b *backend) Reset(ctx context.Context, name string) error {
	_, err := b.change(ctx, sentinel.Request{Master: name, Kind: sentinel.RequestReset})
	return err
}

// Set implements resp.Backend.
func (b *backend) Set(ctx context.Context, name string, settings []resp.Setting) error {
	q := sentinel.Request{Master: name, Kind: sentinel.RequestSet}
	for _, s := range settings {
		n, err := strconv.ParseInt(s.Value, 10, 64)
		ms := time.Duration(n) * time.Millisecond
		switch s.Name {
		case "quorum":
			q.Settings.Quorum = int(n)
		case "down-after-milliseconds":
			q.Settings.DownAfter = ms
		case "failover-timeout":
			q.Settings.FailoverTimeout = ms
		case "parallel-syncs":
			q.Settings.ParallelSyncs = int(n)
		case "master-reboot-down-after-period":
			if q.Settings.RebootDownAfter = ms; n == 0 {
				q.Settings.RebootDownAfter = -1
			}
		case "rename-command":
			q.Options = option(q.Options, "rename-command "+strings.ToLower(s.Value), renamed(s))
			continue
		default:
			q.Options = option(q.Options, s.Name, s.Value)
			continue
		}
		if err != nil {
			return &resp.InvalidSetting{Setting: s, Why: "it is not a number"}
		}
	}
	code, err := b.change(ctx, q)
	if code == sentinel.CodeInvalid {
		return &resp.InvalidSetting{Setting: settings[0], Why: strings.TrimPrefix(err.Error(), "set "+name+": ")}
	}
	if err != nil {
		return err
	}
	b.shown(ctx, name, func(v *sentinel.View) bool {
		if v == nil {
			return true
		}
		for k, want := range q.Options {
			if have, ok := v.Options[k]; !ok || have != want {
				return false
			}
		}
		return q.Settings.In(v.Config)
	})
	return nil
}

func option(o sentinel.Options, name, value string) sentinel.Options {
	if o == nil {
		o = sentinel.Options{}
	}
	o[name] = value
	return o
}

// renamed is a command's new name, "" for its own.
func renamed(s resp.Setting) string {
	if strings.EqualFold(s.Value, s.To) {
		return ""
	}
	return s.To
}

// Handover implements resp.Backend.
func (b *backend) Handover(ctx context.Context, name string) error {
	return b.failover(ctx, name, sentinel.RequestHandover)
}

// DenyScripts implements resp.Backend.
func (b *backend) DenyScripts() bool { return b.a.opt.File.DenyScriptsReconfig }

// IsMasterDown implements resp.Backend.
func (b *backend) IsMasterDown(host string, port int) bool {
	ctx, cancel := context.WithTimeout(b.a.ctx, viewTimeout)
	defer cancel()
	views, err := b.a.run.Views(ctx)
	if err != nil {
		return false
	}
	at := sentinel.Addr{Host: host, Port: port}
	for _, v := range views {
		for _, i := range v.Instances {
			if i.Master && i.Down && (i.Addr.Same(at) || b.a.naming.addr(v.Name, i.Addr).Same(at)) {
				return true
			}
		}
	}
	return false
}

// InfoCache implements resp.Backend.
func (b *backend) InfoCache(name string) ([]resp.CachedInfo, bool) {
	v := b.view(name)
	if v == nil {
		return nil, false
	}
	var out []resp.CachedInfo
	for _, i := range v.Instances { // the master first
		text, age := b.a.pool.CachedInfo(name, i.ID)
		out = append(out, resp.CachedInfo{Text: text, Age: age})
	}
	return out, true
}

// PendingScripts implements resp.Backend.
func (b *backend) PendingScripts() []resp.Script {
	var out []resp.Script
	for _, p := range b.a.notify.Pending() {
		s := resp.Script{Argv: p.Argv, Running: p.Running, PID: p.PID, Retries: p.Tries}
		if p.Running {
			s.RunTime = p.For
		} else {
			s.Delay = p.For
		}
		out = append(out, s)
	}
	return out
}

// Globals implements resp.Backend.
func (b *backend) Globals() []resp.Setting {
	f := b.a.opt.File
	word := map[bool]string{true: "yes", false: "no"}
	out := []resp.Setting{
		{Name: "resolve-hostnames", Value: word[f.ResolveHostnames]}, {Name: "announce-hostnames", Value: word[f.AnnounceHostnames]},
		{Name: "announce-ip", Value: f.AnnounceIP}, {Name: "announce-port", Value: strconv.Itoa(f.AnnouncePort)},
		{Name: "sentinel-user", Value: f.SentinelUser}, {Name: "sentinel-pass", Value: f.SentinelPass},
	}
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	for i := range out {
		if v, ok := b.a.globals[out[i].Name]; ok {
			out[i].Value = v
		}
	}
	return out
}

// SetGlobals implements resp.Backend.
func (b *backend) SetGlobals(set []resp.Setting) error {
	b.a.mu.Lock()
	for _, s := range set {
		b.a.globals[s.Name] = s.Value
		if s.Name == "announce-hostnames" {
			b.a.naming.hostnames.Store(s.Value == "yes")
		}
	}
	b.a.mu.Unlock()
	b.a.files.changed()
	return nil
}

// FlushConfig implements resp.Backend.
func (b *backend) FlushConfig() error {
	if b.a.kube != nil {
		return fmt.Errorf("there is no sentinel.conf on Kubernetes: %w", resp.ErrNoConfigFile)
	}
	return b.a.files.flush()
}

// Shutdown implements resp.Backend.
func (b *backend) Shutdown() { b.a.askToEnd.Do(func() { close(b.a.ending) }) }

// Ending is closed when a client has asked for the end of this watcher. Whoever
// started it calls Stop then.
func (a *App) Ending() <-chan struct{} { return a.ending }

// masterState is what the file should say of a master.
func (w *rewriter) masterState(v *sentinel.View, old conf.Master) conf.MasterState {
	m := conf.MasterState{Name: v.Name, Addr: hostPort(v.Master.Addr), ConfigEpoch: uint64(v.Epoch), LeaderEpoch: uint64(v.Epoch),
		KnownSentinels: w.others(old), Added: true, Quorum: v.Config.Quorum, Settings: map[string]string{
			"down-after-milliseconds": strconv.FormatInt(v.Config.DownAfter.Milliseconds(), 10),
			"failover-timeout":        strconv.FormatInt(v.Config.FailoverTimeout.Milliseconds(), 10),
			"parallel-syncs":          strconv.Itoa(v.Config.ParallelSyncs),
			// Sentinel's default has no line of its own.
			"master-reboot-down-after-period": strconv.FormatInt(v.Config.RebootDownAfter.Milliseconds(), 10),
		}}
	for name, value := range v.Options {
		m.Settings[name] = value
	}
	for _, i := range v.Instances {
		if !i.Master {
			m.KnownReplicas = append(m.KnownReplicas, hostPort(i.Addr))
		}
	}
	return m
}

// changedHere adds to a state what clients of this watcher have changed in it alone.
func (w *rewriter) changedHere(st *conf.State, f *conf.File) {
	for _, m := range f.Masters {
		if w.a.run.Removed(m.Name) {
			st.Removed = append(st.Removed, m.Name)
		}
	}
	w.a.mu.Lock()
	st.Globals = make(map[string]string, len(w.a.globals))
	for k, v := range w.a.globals {
		st.Globals[k] = v
	}
	w.a.mu.Unlock()
	if w.a.opt.File.ACLFile != "" || w.a.opt.File.UsersIncluded {
		return // they stand elsewhere; ACL SAVE writes the former
	}
	users := w.a.resp.Users()
	if slices.EqualFunc(users, w.a.users, func(x, y resp.User) bool { return x.Name == y.Name && slices.Equal(x.Rules, y.Rules) }) {
		return
	}
	for _, u := range users {
		st.Users = append(st.Users, conf.User{Name: u.Name, Rules: u.Rules})
	}
}
