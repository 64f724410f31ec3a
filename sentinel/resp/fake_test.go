package resp

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The changes of the fake backend.

func (f *fake) Handover(ctx context.Context, name string) error { return f.Failover(ctx, name) }

func (f *fake) asked(what, name string) error {
	if f.change == nil {
		return nil
	}
	return f.change(what, name)
}

func (f *fake) Monitor(_ context.Context, m Monitored) error {
	if err := f.asked("monitor", m.Name); err != nil {
		return err
	}
	if _, ok := f.Master(m.Name); ok {
		return fmt.Errorf("monitor %q: %w", m.Name, ErrDuplicate)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.masters = append(f.masters, Master{Name: m.Name, Link: Link{Host: m.Host, Port: m.Port, Flags: FlagDisconnected, DownAfter: m.DownAfter},
		Quorum: m.Quorum, FailoverTimeout: m.FailoverTimeout, ParallelSyncs: 1})
	return nil
}

func (f *fake) Remove(_ context.Context, name string) error {
	if err := f.asked("remove", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.masters)
	f.masters = slices.DeleteFunc(slices.Clone(f.masters), func(m Master) bool { return m.Name == name })
	if len(f.masters) == before {
		return fmt.Errorf("remove %q: %w", name, ErrNoSuchMaster)
	}
	return nil
}

func (f *fake) Set(_ context.Context, name string, settings []Setting) error {
	if err := f.asked("set", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.masters = slices.Clone(f.masters)
	f.set = settings
	for i := range f.masters {
		m := &f.masters[i]
		if m.Name != name {
			continue
		}
		for _, s := range settings {
			n, _ := strconv.Atoi(s.Value)
			switch s.Name {
			case "quorum":
				m.Quorum = n
			case "parallel-syncs":
				m.ParallelSyncs = n
			case "down-after-milliseconds":
				m.DownAfter = time.Duration(n) * time.Millisecond
			case "failover-timeout":
				m.FailoverTimeout = time.Duration(n) * time.Millisecond
			}
		}
	}
	return nil
}

func (f *fake) Reset(_ context.Context, name string) error { return f.asked("reset", name) }

func (f *fake) DenyScripts() bool { return !f.allowed }

func (f *fake) IsMasterDown(host string, port int) bool {
	return slices.ContainsFunc(f.Masters(), func(m Master) bool { return m.Host == host && m.Port == port && m.Flags&FlagSDown != 0 })
}

func (f *fake) InfoCache(name string) ([]CachedInfo, bool) {
	_, ok := f.Master(name)
	return f.infos[name], ok
}

func (f *fake) PendingScripts() []Script { return f.scripts }

func (f *fake) Globals() []Setting {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.globals == nil {
		for _, g := range [][2]string{{"resolve-hostnames", "no"}, {"announce-hostnames", "no"}, {"announce-ip", ""}, {"announce-port", "0"}, {"sentinel-user", ""}, {"sentinel-pass", ""}} {
			f.globals = append(f.globals, Setting{Name: g[0], Value: g[1]})
		}
	}
	return slices.Clone(f.globals)
}

func (f *fake) SetGlobals(set []Setting) error {
	f.Globals()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range set {
		for i := range f.globals {
			if f.globals[i].Name == s.Name {
				f.globals[i].Value = s.Value
			}
		}
	}
	return nil
}

func (f *fake) FlushConfig() error { return f.asked("flushconfig", "") }

func (f *fake) Shutdown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut++
}
