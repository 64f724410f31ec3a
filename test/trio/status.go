package trio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// Wait calls cond until it returns nil; on a time-out it returns the last reason.
func Wait(ctx context.Context, limit time.Duration, cond func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last seen: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// Get reads one of the watcher's HTTP endpoints as JSON into out, whatever the
// status; the status is returned.
func (w *Watcher) Get(ctx context.Context, path string, out any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.HTTP()+path, nil)
	if err != nil {
		return 0, fmt.Errorf("ask %s for %s: %w", w.Name, path, err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask %s for %s: %w", w.Name, path, err)
	}
	defer res.Body.Close() //nolint:errcheck // only read from
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return res.StatusCode, fmt.Errorf("read %s of %s: %w", path, w.Name, err)
	}
	return res.StatusCode, nil
}

// Master is what the watcher shows of one master.
func (w *Watcher) Master(ctx context.Context, name string) (httpapi.Master, httpapi.Standing, error) {
	var a httpapi.OneMaster
	status, err := w.Get(ctx, "/v1/masters/"+name, &a)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answers %d for %s", w.Name, status, name)
	}
	return a.Master, a.Standing, err
}

// History is one master's history, newest first.
func (w *Watcher) History(ctx context.Context, name string) ([]httpapi.Record, error) {
	var a httpapi.History
	_, err := w.Get(ctx, "/v1/masters/"+name+"/history", &a)
	return a.Records, err
}

// Epoch is the committed epoch of one master, as people see it.
func (w *Watcher) Epoch(ctx context.Context, name string) (string, error) {
	m, _, err := w.Master(ctx, name)
	return m.Epoch, err
}

// Peers are the watchers as this one knows them.
func (w *Watcher) Peers(ctx context.Context) (httpapi.Peers, error) {
	var a httpapi.Peers
	_, err := w.Get(ctx, "/v1/peers", &a)
	return a, err
}

// WaitSteady waits until every watcher runs with a quorum and shows the master as
// ok with that many replicas, all in sync, and no plan open.
func (t *Trio) WaitSteady(ctx context.Context, name string, replicas int, limit time.Duration) error {
	err := Wait(ctx, limit, func() error { return t.steady(ctx, name, replicas) })
	if err != nil {
		return fmt.Errorf("wait until the watchers are steady: %w", err)
	}
	return nil
}

func (t *Trio) steady(ctx context.Context, name string, replicas int) error {
	for _, w := range t.Watchers {
		if how, ended := w.proc.Exited(); ended {
			return fmt.Errorf("%s has ended (%s): %s", w.Name, how, w.Tail(3))
		}
		m, st, err := w.Master(ctx, name)
		if err != nil {
			return err
		}
		if !st.HasQuorum || st.Reachable != len(t.Watchers) || (m.State != "ok" && m.State != "observed") || m.Plan != nil {
			return fmt.Errorf("%s: master is %q (%s), %d of %d watchers", w.Name, m.State, m.Note, st.Reachable, st.Watchers)
		}
		up := 0
		for _, i := range m.Instances {
			if !i.Master && i.Link == "up" && i.Health == "up" {
				up++
			}
		}
		if up != replicas || m.WatchersAgree != len(t.Watchers) {
			return fmt.Errorf("%s: %d of %d replicas in sync, %d watchers see the master", w.Name, up, replicas, m.WatchersAgree)
		}
	}
	return nil
}
