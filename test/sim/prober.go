package sim

import (
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// The figures of sentinel/redisio.
const (
	fullInfo = 10 * time.Second
	patience = 3 * time.Millisecond
	maxBurst = 3
	maxAside = 4
)

// prober is the model of redisio's: one connection that is probed at the target's
// pace and whose end is noticed, and short-lived ones for what is asked out of turn.
type prober struct {
	wt     *watcher
	in     *instance
	inc    int // of the watcher
	target sentinel.Target
	dead   bool

	conn  int // the process that the connection leads to, 0 for none
	xid   int // counts exchanges, so that an abandoned one is known
	busy  bool
	lost  bool
	hurry bool
	burst int

	tried, replied, informed, full, born time.Duration
	planned                              time.Duration // the turn that is planned, negative for none
	aside                                int
	again                                bool
	waiting                              [2]bool // asks not begun yet, by redial
}

func newProber(wt *watcher, in *instance, t sentinel.Target) *prober {
	return &prober{wt: wt, in: in, inc: wt.inc, target: t, hurry: true, planned: -1, full: -time.Hour}
}

func (p *prober) stop() { p.dead = true }

func (p *prober) gone() bool { return p.dead || p.wt.inc != p.inc }

func (p *prober) retarget(t sentinel.Target) {
	if t != p.target {
		p.target = t
		p.work()
	}
}

func (p *prober) due() time.Duration {
	switch {
	case p.hurry:
		return 0
	case p.conn == 0:
		return p.tried + p.target.Ping
	}
	return min(p.replied+p.target.Ping, p.informed+p.target.Info)
}

// work makes the next probe if it is due, or plans it.
func (p *prober) work() {
	w := p.wt.w
	if p.gone() || p.busy || w.bad != "" {
		return
	}
	if p.wt.stalled {
		p.wt.deliver(p.work)
		return
	}
	at := p.due()
	if at <= w.now {
		p.hurry = false
		p.exchange(false)
		return
	}
	if p.planned >= 0 && p.planned <= at {
		return
	}
	p.planned = at
	w.after(at-w.now, func() {
		if p.planned == at {
			p.planned = -1
			p.work()
		}
	})
}

// outcome is how an exchange ended.
type outcome struct {
	reply sentinel.Reply
	info  *sentinel.Info
	inc   int  // the process that answered
	rst   bool // the connection was ended by the other side
}

// exchange probes over the connection, dialing first if there is none.
func (p *prober) exchange(wanted bool) {
	w := p.wt.w
	p.busy = true
	p.xid++
	xid, asked, lost := p.xid, w.now, p.lost
	p.lost = false
	full := wanted || p.conn == 0 || asked-p.full >= fullInfo
	withInfo := full || asked-p.informed+p.target.Ping/8 >= p.target.Info
	if p.conn == 0 {
		p.tried, p.born = asked, asked
	}
	if full {
		p.full = asked
	}
	w.roundTrip(p.wt.i, p.in, p.conn, p.target.Timeout, withInfo, full, func(o outcome) {
		if p.gone() || xid != p.xid {
			return
		}
		p.wt.deliver(func() {
			if !p.gone() && xid == p.xid {
				p.ended(o, asked, lost, withInfo)
			}
		})
	})
}

// ended draws the conclusions from an exchange.
func (p *prober) ended(o outcome, asked time.Duration, lost, withInfo bool) {
	w := p.wt.w
	p.busy = false
	switch {
	case o.rst:
		p.lose()
		return
	case o.reply.Alive():
		p.conn, p.replied = o.inc, w.now
		if withInfo {
			p.informed = w.now
		}
		if asked-p.born > p.target.Ping {
			p.burst = 0
		}
	default:
		p.conn = 0
	}
	p.emit(o, asked, lost)
	p.work()
}

func (p *prober) emit(o outcome, asked time.Duration, lost bool) {
	probe := sentinel.Probe{Master: name, Instance: p.in.id, Addr: p.in.addr, Reply: o.reply, Lost: lost,
		Asked: asked + p.wt.offset, Info: o.info}
	if o.info != nil && o.info.Full { // nothing is forbidden here
		probe.Rights = &sentinel.Rights{User: "default", ReadOnly: sentinel.SettingOn}
	}
	p.wt.step(probe)
}

// reset is the end of the connection as seen by the one who always reads.
func (p *prober) reset(inc int) {
	if p.gone() || p.conn != inc {
		return
	}
	p.wt.deliver(func() {
		if !p.gone() && p.conn == inc {
			p.xid++
			p.busy = false
			p.lose()
		}
	})
}

// lose notes that the other side ended the connection; one redial follows at once.
func (p *prober) lose() {
	p.conn, p.lost = 0, true
	if p.burst < maxBurst {
		p.burst++
		p.hurry = true
	}
	p.work()
}

// ask is a ProbeNow.
func (p *prober) ask(redial bool, after time.Duration) {
	which := 0
	if redial {
		which = 1
	}
	if p.waiting[which] {
		return
	}
	p.waiting[which] = true
	p.wt.w.after(after, func() {
		p.waiting[which] = false
		if p.gone() {
			return
		}
		switch {
		case redial:
			p.begin()
		case p.busy:
			p.wt.w.after(patience, p.begin)
		default:
			p.exchange(true)
		}
	})
}

// begin probes over a connection of its own.
func (p *prober) begin() {
	if p.gone() {
		return
	}
	if p.wt.stalled {
		p.wt.deliver(p.begin)
		return
	}
	if p.aside >= maxAside {
		p.again = true
		return
	}
	p.aside++
	w := p.wt.w
	asked := w.now
	w.roundTrip(p.wt.i, p.in, 0, p.target.Timeout, true, true, func(o outcome) {
		p.wt.deliver(func() {
			p.aside--
			if p.gone() {
				return
			}
			p.emit(o, asked, false)
			if p.again {
				p.again = false
				p.begin()
			}
		})
	})
}

// roundTrip is one exchange with an instance; conn 0 dials first. done is called
// exactly once, at the latest after the time-out.
func (w *world) roundTrip(from int, in *instance, conn int, timeout time.Duration, withInfo, full bool, done func(outcome)) {
	asked := w.now
	expired := func() { w.after(asked+timeout-w.now, func() { done(outcome{reply: sentinel.ReplyTimeout}) }) }
	there := w.net.delay() + w.net.extra(in.node)
	if conn == 0 {
		there += 2*w.net.delay() + w.net.extra(in.node) + w.net.extra(from)
	}
	if !w.net.ok(from, in.node) || there > timeout {
		expired()
		return
	}
	w.after(there, func() {
		if in.silentDead {
			expired()
			return
		}
		if !in.frozen || (conn != 0 && conn != in.inc) {
			if !w.answer(from, in, conn, asked+timeout, withInfo, full, done) {
				expired()
			}
			return
		}
		// The kernel takes it, the process answers when it thaws, if that is in time.
		over, inc := false, in.inc
		w.after(asked+timeout-w.now, func() {
			if !over {
				over = true
				done(outcome{reply: sentinel.ReplyTimeout})
			}
		})
		in.exec(func() {
			if !over && in.inc == inc {
				over = w.answer(from, in, conn, asked+timeout, withInfo, full, done)
			}
		})
	})
}

// answer is what the instance does with a probe; it reports whether the reply will
// be there by the deadline.
func (w *world) answer(from int, in *instance, conn int, deadline time.Duration, withInfo, full bool, done func(outcome)) bool {
	back := w.net.delay() + w.net.extra(from)
	if !w.net.ok(in.node, from) || w.now+back > deadline {
		return false
	}
	o := outcome{reply: sentinel.ReplyOK, inc: in.inc}
	switch {
	case conn != 0 && (!in.up || in.inc != conn):
		o.rst = true
	case !in.up:
		o.reply = sentinel.ReplyRefused
	case in.loading:
		o.reply = sentinel.ReplyLoading
	}
	if withInfo && in.up && !o.rst {
		o.info = in.info(full)
	}
	w.after(back, func() { done(o) })
	return true
}
