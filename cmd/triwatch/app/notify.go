package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/notify"
	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
)

// Outside says whom a watcher on a host tells and asks besides the scripts of its
// sentinel.conf, the same for all its masters. The zero value is nobody. On Kubernetes
// annotations say it.
type Outside struct {
	// Webhook is a URL that events are posted to.
	Webhook string
	// WebhookTimeout bounds one try; zero is notify.DefaultWebhookTimeout.
	WebhookTimeout time.Duration
	// Before is the path of a program, or a URL, that is asked before an automatic failover.
	Before string
	// BeforeTimeout is how long an answer is waited for; zero is notify.DefaultBeforeTimeout.
	BeforeTimeout time.Duration
	// BeforeFailure is allow (which "" is too) or hold: what the lack of an answer means.
	BeforeFailure string
}

// check returns everything that cannot work, joined.
func (o Outside) check(f *conf.File) error {
	var errs []error
	if o.Webhook != "" {
		if err := notify.CheckURL(o.Webhook); err != nil {
			errs = append(errs, fmt.Errorf("--webhook: %w", err))
		}
	}
	if t := o.WebhookTimeout; t != 0 && (t < notify.MinWebhookTimeout || t > notify.MaxWebhookTimeout) {
		errs = append(errs, fmt.Errorf("--webhook-timeout is %v, must be from %v to %v", t, notify.MinWebhookTimeout, notify.MaxWebhookTimeout))
	}
	switch {
	case o.Before == "":
	case notify.IsURL(o.Before):
		if err := notify.CheckURL(o.Before); err != nil {
			errs = append(errs, fmt.Errorf("--before-failover: %w", err))
		}
	case !conf.Executable(f.ScriptPath(o.Before)):
		errs = append(errs, fmt.Errorf("--before-failover: %s does not exist or may not be run", o.Before))
	}
	if t := o.BeforeTimeout; t != 0 && (t < notify.MinBeforeTimeout || t > notify.MaxBeforeTimeout) {
		errs = append(errs, fmt.Errorf("--before-failover-timeout is %v, must be from %v to %v", t, notify.MinBeforeTimeout, notify.MaxBeforeTimeout))
	}
	if b := o.BeforeFailure; b != "" && b != beforeAllow && b != beforeHold {
		errs = append(errs, fmt.Errorf("--before-failover-failure is %q, must be %s or %s", b, beforeAllow, beforeHold))
	}
	return errors.Join(errs...)
}

// The values of Outside.BeforeFailure.
const (
	beforeAllow = "allow"
	beforeHold  = "hold"
)

// target is whom a host's watcher tells and asks about a master of its file.
func (r *resolved) target(m conf.Master) notify.Target {
	o := r.Outside
	return notify.Target{NotificationScript: m.NotificationScript, ClientReconfigScript: m.ClientReconfigScript, Webhook: o.Webhook, WebhookTimeout: o.WebhookTimeout,
		Before: o.Before, BeforeTimeout: o.BeforeTimeout, HoldOnFailure: o.BeforeFailure == beforeHold}
}

// makeNotifier makes what tells the outside, and says whom to tell.
func (a *App) makeNotifier() (err error) {
	a.notify, err = notify.New(notify.Options{Logger: a.log.Named("notify"), Registry: a.registry, Watcher: func() string { return string(a.ID()) },
		Dir: a.opt.File.Dir, Publish: func(name, payload string) { a.resp.Publish(name, payload) }})
	if err != nil {
		return err
	}
	targets := map[string]notify.Target{}
	for _, m := range a.opt.File.Masters {
		targets[m.Name] = a.opt.target(m)
	}
	a.notify.Configure(a.opt.target(conf.Master{}), targets)
	return nil
}

// startNotifier begins to tell. The file's masters are told first, as Sentinel does at
// every start.
func (a *App) startNotifier() {
	a.notify.Start()
	a.after("notifications", a.notify.Stop)
	for _, m := range a.opt.File.Masters {
		a.notify.Event(sentinel.Event{Name: sentinel.EventMonitor, Master: m.Name, Epoch: sentinel.Epoch(m.ConfigEpoch), Reason: "watching " + m.Addr().String(),
			Payload: fmt.Sprintf("master %s %s %d quorum %d", m.Name, m.Host, m.Port, m.Quorum)})
	}
}

// tell passes an event of the core on.
func (a *App) tell(e sentinel.Event) {
	if _, ofFile := a.opt.File.Master(e.Master); e.Name == sentinel.EventMonitor && ofFile {
		return // told at the start
	}
	a.notify.Event(e)
}

// recallEvery and recallFor bound how long a watcher that was started looks for moves
// that it has missed.
const (
	recallEvery = 500 * time.Millisecond
	recallFor   = time.Minute
)

// recall tells of masters that moved while this watcher was down: its file names the
// last one that it knew, as Sentinel's does.
func (a *App) recall() {
	tick := time.NewTicker(recallEvery)
	defer tick.Stop()
	for end := time.Now().Add(recallFor); time.Now().Before(end); {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
		if !a.node.State().CaughtUp {
			continue
		}
		for _, m := range a.opt.File.Masters {
			was := sentinel.Addr{Host: m.Host, Port: m.Port}
			at, ok := a.run.Served(m.Name)
			if ok && !at.Addr.IsZero() && uint64(at.Epoch) > m.ConfigEpoch {
				a.notify.Moved(m.Name, was, at.Addr)
			}
		}
		return
	}
}
