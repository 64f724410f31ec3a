package sentinel_test

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// prober is one watcher's two connections to one modelled Redis, as redisio keeps
// them: one exchange at a time, the pace counted from the last reply, a time-out
// gives the connection up, a close is seen at once.
type prober struct {
	w        *world
	wt       *watcher
	r        *fakeRedis
	target   sentinel.Target
	conn     bool
	lost     bool
	flight   int // number of the exchange under way, 0 if none
	sent     int
	replied  sentinel.Time
	informed sentinel.Time
	tried    sentinel.Time
	first    sentinel.Time
	full     sentinel.Time
}

func (w *world) watch(wt *watcher, a sentinel.Watch) {
	for _, t := range a.Targets {
		key := string(wt.id) + " " + string(t.Instance)
		p := w.probers[key]
		if p == nil {
			r := w.set.at(t.Addr)
			if r == nil {
				w.t.Fatalf("watching %s, which is nobody", t.Addr)
			}
			p = &prober{w: w, wt: wt, r: r, first: w.now + w.phase[string(wt.id)+" "+r.name]}
			w.probers[key] = p
		}
		p.target = t
	}
}

func (p *prober) due() sentinel.Time {
	switch {
	case p.sent == 0:
		return p.first
	case !p.conn:
		return p.tried + p.target.Ping
	}
	return min(p.replied+p.target.Ping, p.informed+p.target.Info)
}

func (p *prober) tick() {
	if p.flight == 0 && p.w.now >= p.due() {
		p.sent++
		p.flight = p.sent
		p.tried = p.w.now
		p.exchange(p.flight, !p.conn || p.w.now-p.full >= 10*time.Second)
	}
}

// now is a probe beside the paced ones, with a full INFO.
func (p *prober) now(rights bool) { p.exchangeFor(0, true, rights) }

func (p *prober) exchange(n int, full bool) { p.exchangeFor(n, full, false) }

func (p *prober) exchangeFor(n int, full, rights bool) {
	asked := p.w.now
	withInfo := full || p.w.now-p.informed+p.target.Ping/8 >= p.target.Info
	end := asked + p.target.Timeout
	var poll func()
	poll = func() {
		if n != 0 && p.flight != n {
			return // the connection was closed meanwhile
		}
		switch {
		case p.r.dead:
			p.finish(n, sentinel.Probe{Reply: sentinel.ReplyRefused, Asked: asked, Detail: "connection refused"})
		case !p.r.frozen && !p.w.cutoff[string(p.wt.id)+" "+p.r.name]:
			p.answer(n, asked, withInfo, full, rights)
		case p.w.now >= end:
			p.finish(n, sentinel.Probe{Reply: sentinel.ReplyTimeout, Asked: asked, Detail: "time-out"})
		default:
			p.w.after(ms, poll)
		}
	}
	p.w.after(ms, poll)
}

func (p *prober) answer(n int, asked sentinel.Time, withInfo, full, rights bool) {
	pr := sentinel.Probe{Reply: p.r.reply, Asked: asked}
	switch p.r.reply {
	case sentinel.ReplyOK, sentinel.ReplyLoading, sentinel.ReplyMisconf:
		if withInfo {
			pr.Info = p.r.info(full)
			p.informed = p.w.now
			if full {
				p.full, pr.Rights = p.w.now, p.r.rights
			}
			if rights && pr.Rights == nil {
				pr.Rights = &sentinel.Rights{User: "triwatch", Unsure: true}
			}
		}
	default:
		pr.Detail = "as told by the script"
	}
	p.finish(n, pr)
}

func (p *prober) finish(n int, pr sentinel.Probe) {
	if n != 0 {
		p.flight = 0
		p.conn = pr.Reply.Alive()
		if p.conn {
			p.replied = p.w.now
		}
	}
	pr.Master, pr.Instance, pr.Addr = masterName, p.target.Instance, p.target.Addr
	pr.Lost, p.lost = p.lost, false
	if _, err := netip.ParseAddr(p.target.Addr.Host); err != nil {
		pr.Remote = p.r.addr.Host
	}
	p.wt.step(pr)
}

// closed is the end of the connection that is always being read; a redial follows.
func (p *prober) closed() {
	if p.w.cutoff[string(p.wt.id)+" "+p.r.name] {
		return
	}
	p.lost, p.conn = true, false
	p.sent++
	p.flight, p.tried = p.sent, p.w.now
	p.exchange(p.flight, true)
}

// lose closes every connection to an instance.
func (w *world) lose(r *fakeRedis) {
	for _, k := range sortedKeys(w.probers) {
		if p := w.probers[k]; p.r == r && p.sent > 0 {
			p.closed()
		}
	}
}
