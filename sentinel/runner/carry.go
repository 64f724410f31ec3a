package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// carryOut hands one action to the adapter that does it.
func (r *Runner) carryOut(a sentinel.Action) {
	switch a := a.(type) {
	case sentinel.Watch:
		r.opt.Redis.Watch(a)
	case sentinel.ProbeNow:
		r.opt.Redis.ProbeNow(a)
	case sentinel.SendAsk:
		r.post.ask(a.Ask)
	case sentinel.SendReport:
		r.post.report(a.Report)
	case sentinel.Push:
		r.post.push(a)
	case sentinel.Propose:
		r.propose(a.Command)
	case sentinel.Do:
		r.do(a)
	case sentinel.AskHook:
		r.before(a)
	case sentinel.Emit:
		r.event(a.Event)
	case sentinel.Answer:
		r.answer(a)
	}
}

// propose hands a command to the log, beside the loop.
func (r *Runner) propose(c sentinel.Command) {
	lead := r.lead
	if lead == nil {
		r.Input(sentinel.Proposed{Master: c.Master, Epoch: c.Epoch, Type: c.Type, Result: sentinel.OutcomeNotLeader})
		return
	}
	if c.Type != sentinel.CmdLevel {
		if why, soon := r.router.WhyNot(c.Level); why != "" {
			// A watcher that meets a command it does not know stops acting.
			r.Input(sentinel.Proposed{Master: c.Master, Epoch: c.Epoch, Type: c.Type, Result: sentinel.OutcomeRefused,
				Detail: string(c.Type) + " is not possible now: " + why, Soon: soon})
			return
		}
	}
	b, err := c.Encode()
	if err != nil {
		r.opt.Logger.Error("command cannot be encoded", zap.String("type", string(c.Type)), zap.Error(err))
		r.Input(sentinel.Proposed{Master: c.Master, Epoch: c.Epoch, Type: c.Type, Result: sentinel.OutcomeFailed, Detail: err.Error()})
		return
	}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		r.pass(beforePropose, proposalStep(c), c.Master)
		ctx, cancel := context.WithTimeout(lead, proposeTimeout)
		defer cancel()
		began := r.opt.Clock()
		res, err := r.opt.Cluster.Propose(ctx, b)
		if res == sentinel.OutcomeOK {
			r.verified.Store(int64(began)) // a majority followed us since then
			return
		}
		detail := ""
		if err != nil {
			detail = err.Error()
		}
		r.opt.Logger.Info("proposal not committed", zap.String("master", c.Master), zap.String("type", string(c.Type)),
			zap.Stringer("epoch", c.Epoch), zap.Stringer("outcome", res), zap.String("detail", detail))
		r.Input(sentinel.Proposed{Master: c.Master, Epoch: c.Epoch, Type: c.Type, Result: res, Detail: detail})
	}()
}

// do sends one write, beside the loop, if this watcher certainly leads.
func (r *Runner) do(d sentinel.Do) {
	lead := r.lead
	fail := func(detail string) {
		r.Input(sentinel.Done{Master: d.Master, ID: d.ID, Result: sentinel.OutcomeFailed, Detail: detail})
	}
	if lead == nil {
		fail("this watcher does not lead")
		return
	}
	select {
	case r.writes <- struct{}{}:
	default:
		fail("too many writes under way")
		return
	}
	r.wg.Add(1)
	asked := r.opt.Clock()
	go func() {
		defer r.wg.Done()
		defer func() { <-r.writes }()
		if err := r.verify(lead); err != nil {
			fail("leadership not verified: " + err.Error())
			return
		}
		r.pass(beforeWrite, writeStep(d.Op), d.Master)
		// A process that stood still here must not send what another leader may have
		// replaced: its time began when the core decided.
		began := r.opt.Clock()
		if late := began - asked; late >= tooLate(d) {
			r.opt.Logger.Warn("redis write not sent: it was held up", zap.String("master", d.Master), zap.Stringer("op", d.Op), zap.String("address", d.Addr.String()),
				zap.Stringer("epoch", d.Epoch), zap.Duration("for", late))
			fail(fmt.Sprintf("not sent: %v after it was decided", late.Round(time.Millisecond)))
			return
		}
		r.pass(sending, writeStep(d.Op), d.Master)
		done := r.opt.Redis.Do(lead, d)
		done.Master, done.ID = d.Master, d.ID
		r.opt.Logger.Info("redis write", zap.String("master", d.Master), zap.Stringer("op", d.Op), zap.String("address", d.Addr.String()),
			zap.String("to", d.To.String()), zap.Stringer("epoch", d.Epoch), zap.Stringer("outcome", done.Result),
			zap.Duration("took", r.opt.Clock()-began), zap.String("detail", done.Detail))
		if done.Result == sentinel.OutcomeOK {
			r.pass(afterWrite, writeStep(d.Op), d.Master)
		}
		r.Input(done)
	}()
}

// before asks whether a failover may begin, beside the loop and as long as this watcher
// leads. The core waits for no answer longer than it said.
func (r *Runner) before(q sentinel.AskHook) {
	lead := r.lead
	if lead == nil || r.opt.Before == nil {
		r.Input(sentinel.HookAnswered{Master: q.Master, ID: q.ID, Failure: "nobody to ask"})
		return
	}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		ctx, cancel := context.WithTimeout(lead, q.Timeout)
		defer cancel()
		began := r.opt.Clock()
		a := sentinel.HookAnswered{Failure: "too many questions under way"}
		select {
		case r.asked <- struct{}{}:
			a = r.opt.Before(ctx, q)
			<-r.asked
		case <-ctx.Done():
		}
		a.Master, a.ID = q.Master, q.ID
		r.opt.Logger.Info("asked before the failover", zap.String("master", q.Master), zap.Stringer("epoch", q.Epoch), zap.Stringer("from", q.From),
			zap.Stringer("to", q.To), zap.Bool("veto", a.Veto), zap.String("reason", a.Reason), zap.String("failure", a.Failure),
			zap.Duration("took", r.opt.Clock()-began))
		r.Input(a)
	}()
}

// tooLate is after how long a write is not sent any more: no other leader can have
// replaced its plan before that.
func tooLate(d sentinel.Do) time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return time.Second
}

// Verify returns nil if this watcher leads now, or did a moment ago. ctx is that of
// the leadership that it is asked for. It may be called by any goroutine.
func (r *Runner) Verify(ctx context.Context) error { return r.verify(ctx) }

// verify makes sure that this watcher leads now, or did a moment ago.
func (r *Runner) verify(lead context.Context) error {
	if err := lead.Err(); err != nil {
		return err
	}
	now := r.opt.Clock()
	if now-time.Duration(r.verified.Load()) < verifiedFor {
		return nil
	}
	ctx, cancel := context.WithTimeout(lead, proposeTimeout)
	defer cancel()
	if err := r.opt.Cluster.Verify(ctx); err != nil {
		return err
	}
	r.verified.Store(int64(now))
	return nil
}

// event tells everybody who listens.
func (r *Runner) event(e sentinel.Event) {
	log := r.opt.Logger.Info
	switch e.Name {
	case sentinel.EventSdown, sentinel.EventOdown, sentinel.EventHeld, sentinel.EventRefused, sentinel.EventNoGoodSlave,
		sentinel.EventAborted, sentinel.EventFaulted, sentinel.EventFailoverTimed:
		log = r.opt.Logger.Warn
	default:
	}
	log(string(e.Name), zap.String("master", e.Master), zap.String("payload", e.Payload), zap.Stringer("epoch", e.Epoch), zap.String("reason", e.Reason))
	if r.opt.Events != nil {
		r.opt.Events(e)
	}
}

// answer ends a request, here or at the watcher that forwarded it.
func (r *Runner) answer(a sentinel.Answer) {
	if f := r.waiting[a.ID]; f != nil {
		delete(r.waiting, a.ID)
		f(a)
	}
}
