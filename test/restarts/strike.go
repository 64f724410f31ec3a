package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

// Result is what one restart came to.
type Result struct {
	Variant Variant `json:"variant"`
	DelayMS int64   `json:"delayMs"`
	// Group and When find the restart in the logs; When is the strike.
	Group string    `json:"group"`
	When  time.Time `json:"when,omitzero"`
	// Kept is the smallest number of keys that any copy had when all was settled again.
	Kept int `json:"kept"`
	// How says what became of the master: one of the How constants.
	How string `json:"how"`
	// Why is the reason in the watchers' history, or what they say instead of one.
	Why string `json:"why"`
	// Named counts the replicas that followed a host name when the strike came.
	Named int `json:"named,omitempty"`
	// BackMS is when the new process answered, SettledMS when all was settled, both counted from the strike.
	BackMS    float64 `json:"backMs"`
	SettledMS float64 `json:"settledMs"`
	// Failed says why the restart could not be judged, "" if it could.
	Failed string `json:"failed,omitempty"`
}

// What can become of a master that was killed and is back.
const (
	// HowFailover means that another became master on the evidence of the kill: it is back as a replica.
	HowFailover = "failed over"
	// HowBackWithLess means that another became master because it came back with less.
	HowBackWithLess = "back with less"
	// HowAgain means that it is master again.
	HowAgain = "master again"
)

// settleLimit bounds the wait for all to be settled after a restart.
const settleLimit = 45 * time.Second

// restart makes one restart and says what it came to. A group that failed cannot be used any more.
func (g *group) restart(ctx context.Context, delay time.Duration) Result {
	r := Result{Variant: g.kind, Group: g.name, DelayMS: delay.Milliseconds(), Kept: -1}
	if err := g.restartOnce(ctx, delay, &r); err != nil {
		r.Failed = err.Error()
	}
	return r
}

func (g *group) restartOnce(ctx context.Context, delay time.Duration, r *Result) error {
	master, err := g.settled(ctx)
	if err != nil {
		return fmt.Errorf("before the strike: %w", err)
	}
	if err := g.prepare(ctx, master); err != nil {
		return fmt.Errorf("before the strike: %w", err)
	}
	if r.Named, err = g.named(ctx, master); err != nil {
		return fmt.Errorf("before the strike: %w", err)
	}
	struck := time.Now()
	r.When = struck
	master.Kill()
	master.hangUp()
	if err := pause(ctx, delay); err != nil {
		return err
	}
	if err := master.Restart(ctx, redisproc.RestartOptions{Empty: g.kind.Persist == PersistNothing}); err != nil {
		return err
	}
	r.BackMS = ms(time.Since(struck))
	now, err := g.settled(ctx)
	if err != nil {
		return err
	}
	r.SettledMS = ms(time.Since(struck))
	if r.Kept, err = g.least(ctx); err != nil {
		return err
	}
	return g.explain(ctx, r, struck, now == master)
}

// prepare writes new values and waits until they are on every copy.
func (g *group) prepare(ctx context.Context, master *instance) error {
	if g.kind.Persist == PersistRDB || g.kind.Persist == PersistOldDump && g.strike == 0 {
		if err := g.save(ctx, master); err != nil {
			return err
		}
	}
	g.strike++
	if err := master.write(ctx, g.strike); err != nil {
		return err
	}
	if g.kind.ByName {
		for _, i := range g.at {
			if i == master {
				continue
			}
			if err := i.follow(ctx, "localhost", master.Port()); err != nil {
				return err
			}
		}
		if err := g.linked(ctx, master); err != nil {
			return err
		}
	}
	reply, err := master.ask(ctx, "WAIT", strconv.Itoa(groupSize-1), "4000")
	if err != nil {
		return err
	}
	if reply.Str != strconv.Itoa(groupSize-1) {
		return fmt.Errorf("only %s replicas have acknowledged the writes", reply.Str)
	}
	return nil
}

// save makes a dump on the master. A save under way for a replica is waited for.
func (g *group) save(ctx context.Context, master *instance) error {
	asked := false
	return trio.Wait(ctx, linkLimit, func() error {
		t, err := master.info(ctx)
		if err != nil || t.saving {
			return errors.Join(err, fmt.Errorf("%s is saving", master.Addr()))
		}
		if asked {
			return nil
		}
		if _, err := master.ask(ctx, "BGSAVE"); err != nil {
			return err
		}
		asked = true
		return fmt.Errorf("%s was just asked to save", master.Addr())
	})
}

// named counts the replicas that follow a host name.
func (g *group) named(ctx context.Context, master *instance) (int, error) {
	n := 0
	for _, i := range g.at {
		if !g.kind.ByName || i == master {
			continue
		}
		t, err := i.info(ctx)
		if err != nil {
			return 0, err
		}
		if t.host == "localhost" {
			n++
		}
	}
	return n, nil
}

// least is the smallest number of kept keys on any copy.
func (g *group) least(ctx context.Context) (int, error) {
	least := keyCount
	for _, i := range g.at {
		n, err := i.kept(ctx, g.strike)
		if err != nil {
			return 0, err
		}
		least = min(least, n)
	}
	return least, nil
}

// A group is looked at this often, because what is watched must not be kept busy by being asked, and once more this long after
// it was first seen settled.
const (
	lookEvery    = 30 * time.Millisecond
	settledAgain = 100 * time.Millisecond
)

// settled waits until the watchers agree with the instances on one master, with everybody else in sync, and still do a moment
// later. It returns the master.
func (g *group) settled(ctx context.Context) (*instance, error) {
	var first *instance
	var since time.Time
	for until := time.Now().Add(settleLimit); ; {
		found, err := g.look(ctx)
		switch {
		case err != nil && time.Now().After(until):
			return nil, fmt.Errorf("wait %s until %s (%s) is settled, last seen: %w", settleLimit, g.name, g.kind, err)
		case err != nil:
			first = nil
		case found != first:
			first, since = found, time.Now()
		case time.Since(since) >= settledAgain:
			return found, nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return nil, err
		}
	}
}

// look returns the master if the group is settled, and otherwise what is not.
func (g *group) look(ctx context.Context) (master *instance, err error) {
	runs := map[string]string{}
	for _, i := range g.at {
		t, err := i.info(ctx)
		if err != nil {
			return nil, err
		}
		runs[i.Addr()] = t.runID
		if t.role != "master" {
			continue
		}
		if master != nil {
			return nil, fmt.Errorf("%s and %s are both masters", master.Addr(), i.Addr())
		}
		master = i
	}
	if master == nil {
		return nil, errors.New("nobody is master")
	}
	for _, i := range g.at {
		if err := g.inSync(ctx, i, master); err != nil {
			return nil, err
		}
	}
	for _, w := range g.lab.trio.Watchers {
		if err := g.agrees(ctx, w, master.Addr(), runs); err != nil {
			return nil, err
		}
	}
	return master, nil
}

func (g *group) inSync(ctx context.Context, i, master *instance) error {
	t, err := i.info(ctx)
	if err != nil || i == master {
		return err
	}
	if t.role != "slave" || t.port != strconv.Itoa(master.Port()) || t.link != "up" || t.syncing {
		return fmt.Errorf("%s: role %s of %s:%s, link %s", i.Addr(), t.role, t.host, t.port, t.link)
	}
	return nil
}

// agrees reports what a watcher says otherwise than the instances. It must have heard the present run of each.
func (g *group) agrees(ctx context.Context, w *trio.Watcher, master string, runs map[string]string) error {
	m, _, err := w.Master(ctx, g.name)
	switch {
	case err != nil:
		return err
	case m.State != "ok" || m.Plan != nil:
		return fmt.Errorf("%s: %s is %q: %s", w.Name, g.name, m.State, m.Note)
	case m.Current.Address != master:
		return fmt.Errorf("%s: the master is %s, but %s says that it is one", w.Name, m.Current.Address, master)
	case len(m.Instances) != len(g.at):
		return fmt.Errorf("%s knows %d instances", w.Name, len(m.Instances))
	}
	for _, i := range m.Instances {
		if i.RunID != runs[i.Address] || i.Health != "up" {
			return fmt.Errorf("%s: %s is %s, run %.8s instead of %.8s", w.Name, i.Address, i.Health, i.RunID, runs[i.Address])
		}
	}
	return nil
}

// explain says how the restart went, in the watchers' words.
func (g *group) explain(ctx context.Context, r *Result, struck time.Time, again bool) error {
	records, err := g.lab.trio.Watchers[0].History(ctx, g.name)
	if err != nil {
		return err
	}
	var why []string
	for _, rec := range records { // the newest first
		if !rec.When.Before(struck) {
			why = append([]string{rec.Kind + ": " + rec.Why}, why...)
		}
	}
	r.Why = strings.TrimPrefix(strings.Join(why, "; "), "failover: ")
	switch {
	case again:
		r.How = HowAgain
		if r.Why == "" {
			r.Why = "its new run was accepted: no copy had more"
		}
	case strings.HasPrefix(r.Why, "back with less"):
		r.How = HowBackWithLess
	default:
		r.How = HowFailover
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
