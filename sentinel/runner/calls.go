package runner

import (
	"context"
	"fmt"

	"github.com/triwatch/triwatch/sentinel"
)

// call is a question that one watcher passes on to another.
type call struct {
	ID      uint64            `json:"id"`
	Request *sentinel.Request `json:"request,omitempty"`
	// Views asks for what the other watcher sees; the leader sees most.
	Views bool `json:"views,omitempty"`
}

type result struct {
	ID     uint64           `json:"id"`
	Answer *sentinel.Answer `json:"answer,omitempty"`
	Views  []sentinel.View  `json:"views"`
}

// registryLevel is the level from which on watchers change the registry on request.
const registryLevel = 3

// Request asks for a handover, a failover or a change of the registry, of this watcher or, if it does not
// lead, of the leader. It waits until the new master is committed, the plan is
// aborted, or ctx ends; then the outcome is unknown.
func (r *Runner) Request(ctx context.Context, q sentinel.Request) (sentinel.Answer, error) {
	got := make(chan sentinel.Answer, 1)
	var id uint64
	r.mail.put(func() {
		r.nextReq++
		id = r.nextReq
		q.ID = id
		r.waiting[id] = func(a sentinel.Answer) { got <- a }
		if r.router.Leading() {
			r.step(q)
			return
		}
		leader := r.opt.Cluster.Leader()
		if leader == "" {
			r.answer(sentinel.Answer{ID: id, Result: sentinel.OutcomeNotLeader, Code: "NOQUORUM", Detail: "no leader: the watchers have no quorum"})
			return
		}
		// An older leader would take it for a request about a plan.
		switch h, ok := r.Heard()[leader]; {
		case !q.Kind.Registry():
		case !ok:
			r.answer(sentinel.Answer{ID: id, Result: sentinel.OutcomeNotLeader, Code: sentinel.CodeUnheard, Detail: "the leader has not said yet what it can do"})
			return
		case h.Level < registryLevel:
			r.answer(sentinel.Answer{ID: id, Result: sentinel.OutcomeRefused, Detail: "the leader runs an older build that cannot do that: upgrade it first"})
			return
		}
		f := r.post.to(leader)
		f.Calls = append(f.Calls, call{ID: id, Request: &q})
	})
	select {
	case a := <-got:
		return a, nil
	case <-ctx.Done():
		r.mail.put(func() { delete(r.waiting, id) })
		return sentinel.Answer{}, fmt.Errorf("wait for %s: %w", q.Master, ctx.Err())
	case <-r.stop:
		return sentinel.Answer{}, ErrStopped
	}
}

// LeaderViews describes all masters as the leader sees them, who knows what all
// watchers report. It falls back to this watcher's own view, and says so, if no
// leader answers before ctx ends.
func (r *Runner) LeaderViews(ctx context.Context) (views []sentinel.View, own bool, err error) {
	got := make(chan []sentinel.View, 1)
	var id uint64
	r.mail.put(func() {
		leader := r.opt.Cluster.Leader()
		if r.router.Leading() || leader == "" {
			got <- nil
			return
		}
		r.nextReq++
		id = r.nextReq
		r.post.views[id] = func(v []sentinel.View) { got <- v }
		f := r.post.to(leader)
		f.Calls = append(f.Calls, call{ID: id, Views: true})
	})
	select {
	case v := <-got:
		if v != nil {
			return v, false, nil
		}
	case <-ctx.Done():
		r.mail.put(func() { delete(r.post.views, id) })
	case <-r.stop:
		return nil, false, ErrStopped
	}
	err = r.ask(context.WithoutCancel(ctx), func() { views, own = r.views(), !r.router.Leading() })
	return views, own, err
}

// serveCall answers another watcher. It runs in the loop.
func (r *Runner) serveCall(from sentinel.WatcherID, c call) {
	if c.Views {
		f := r.post.to(from)
		f.Returns = append(f.Returns, result{ID: c.ID, Views: r.views()})
		return
	}
	if c.Request == nil {
		return
	}
	r.nextReq++
	q := *c.Request
	q.ID = r.nextReq
	r.waiting[q.ID] = func(a sentinel.Answer) {
		f := r.post.to(from)
		f.Returns = append(f.Returns, result{ID: c.ID, Answer: &a})
	}
	r.step(q)
}

func (r *Runner) returned(res result) {
	if res.Answer != nil {
		a := *res.Answer
		a.ID = res.ID
		r.answer(a)
		return
	}
	if f := r.post.views[res.ID]; f != nil {
		delete(r.post.views, res.ID)
		f(res.Views)
	}
}
