package raftsim

import (
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// maxAside bounds the probes out of turn that one prober has under way.
const maxAside = 4

// prober watches one instance for one process, at the pace of its target. It belongs
// to the process' loop.
type prober struct {
	p      *process
	in     *instance
	target sentinel.Target
	gone   bool

	conn              int // the run that it is connected to, 0 for none
	xid               int // counts exchanges, so that an abandoned one is known
	busy, lost, hurry bool
	aside             int
	tried             sentinel.Time
	replied, informed sentinel.Time
}

// watch replaces the probed instances.
func (p *process) watch(a sentinel.Watch) {
	keep := map[sentinel.InstanceID]bool{}
	for _, t := range a.Targets {
		in := p.n.w.at(t.Addr)
		if in == nil {
			p.n.w.locked(func() { p.n.w.violate("%s would probe %s, where nobody is", p.n, t.Addr) })
			continue
		}
		keep[t.Instance] = true
		if pr := p.probers[t.Instance]; pr != nil {
			pr.target = t
			continue
		}
		p.probers[t.Instance] = &prober{p: p, in: in, target: t, hurry: true}
	}
	for id, pr := range p.probers {
		if !keep[id] {
			pr.gone = true
			delete(p.probers, id)
		}
	}
}

// work makes the next probe if it is due, and returns when it is.
func (pr *prober) work() sentinel.Time {
	now := pr.p.local()
	if pr.busy {
		return now + time.Minute
	}
	due := pr.tried + pr.target.Ping
	switch {
	case pr.hurry:
		due = now
	case pr.conn != 0:
		due = min(pr.replied+pr.target.Ping, pr.informed+pr.target.Info)
	}
	if due > now {
		return due
	}
	pr.exchange(now)
	return now + time.Minute
}

// exchange probes over the connection, dialing if there is none.
func (pr *prober) exchange(asked sentinel.Time) {
	pr.busy, pr.hurry = true, false
	pr.xid++
	xid, lost := pr.xid, pr.lost
	pr.lost = false
	withInfo := pr.conn == 0 || asked+pr.target.Ping/8 >= pr.informed+pr.target.Info
	pr.tried = asked
	pr.roundTrip(pr.conn, withInfo, func(o answer) {
		if xid != pr.xid {
			return
		}
		pr.busy = false
		switch {
		case o.reset:
			pr.conn, pr.lost, pr.hurry = 0, true, true
			return
		case o.reply.Alive():
			pr.conn, pr.replied = o.run, pr.p.local()
			if withInfo {
				pr.informed = pr.replied
			}
		default:
			pr.conn = 0
		}
		pr.emit(o, asked, lost)
	})
}

// ask is a ProbeNow: a probe over a connection of its own.
func (pr *prober) ask(after time.Duration) {
	if pr.aside >= maxAside {
		return
	}
	pr.aside++
	w := pr.p.n.w
	begin := func() {
		asked := pr.p.local()
		pr.roundTrip(0, true, func(o answer) {
			pr.aside--
			pr.emit(o, asked, false)
		})
	}
	if after <= 0 {
		begin()
		return
	}
	w.later(after, func() { pr.p.box.post(begin) })
}

func (pr *prober) emit(o answer, asked sentinel.Time, lost bool) {
	probe := sentinel.Probe{Master: name, Instance: pr.in.id, Addr: pr.in.addr, Reply: o.reply, Lost: lost, Asked: asked, Info: o.info}
	if o.info != nil && o.info.Full { // nothing is forbidden here
		probe.Rights = &sentinel.Rights{User: "default", ReadOnly: sentinel.SettingOn}
	}
	pr.p.step(probe)
}

// closed is the end of the connection, as one notices who always reads. It may be
// called from anywhere.
func (pr *prober) closed() {
	pr.p.box.post(func() {
		pr.xid++
		pr.busy, pr.conn, pr.lost, pr.hurry = false, 0, true, true
	})
}

// answer is how an exchange ended.
type answer struct {
	reply sentinel.Reply
	info  *sentinel.Info
	run   int  // the run that answered
	reset bool // the connection was ended by the other side
}

// roundTrip is one exchange; done is called once, on the loop.
func (pr *prober) roundTrip(conn int, withInfo bool, done func(answer)) {
	w, in, timeout := pr.p.n.w, pr.in, pr.target.Timeout
	there := w.delay()
	w.later(there, func() {
		o, wait := answer{reply: sentinel.ReplyTimeout}, max(0, timeout-there)
		w.locked(func() {
			switch {
			case w.deaf[pr.p.n.i] || in.frozen:
				return
			case conn != 0 && (conn != in.run || !in.up):
				o.reset = true
			case !in.up:
				o.reply = sentinel.ReplyRefused
			default:
				o.reply, o.run = sentinel.ReplyOK, in.run
				in.conns[pr] = true
				if withInfo {
					o.info = in.info()
				}
			}
			wait = w.delay()
		})
		w.later(wait, func() {
			pr.p.box.post(func() {
				if !pr.gone {
					done(o)
				}
			})
		})
	})
}
