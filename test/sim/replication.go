package sim

import (
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

type linkState int

const (
	linkConnecting linkState = iota
	linkSyncing              // the full copy is under way, the old data still there
	linkLoading              // the old data is gone, the copy is read
	linkUp
)

// link is a replica's connection to its master.
type link struct {
	w        *world
	id       int
	src, dst *instance
	srcInc   int
	dstInc   int
	state    linkState
	dead     bool
	pumping  bool
	srcGone  bool // found while loading
	ack      int64
	ackAt    time.Duration // when the last one came
	copied   dataset       // what a full sync brings
	copiedID string
	trying   bool
}

// alive reports whether the replica still has this link.
func (l *link) alive() bool { return !l.dead && l.dst.link == l && l.dst.inc == l.dstInc }

// current reports whether the process that the link leads to is still there.
func (l *link) current() bool { return l.src.up && l.src.inc == l.srcInc }

// connect begins replication if the instance is told to follow somebody.
func (in *instance) connect() {
	if !in.up || in.loading || in.link != nil || in.isMaster() || in.master.Port == 0 {
		return
	}
	src := in.w.at(in.master)
	if src == nil || src == in {
		return
	}
	in.w.links++
	in.link = &link{w: in.w, id: in.w.links, src: src, dst: in, srcInc: src.inc, dstInc: in.inc}
	in.link.dial()
}

// dial asks the master; a blocked way is tried again every second by the cron.
func (l *link) dial() {
	if l.trying {
		return
	}
	l.trying = true
	l.w.after(4*l.w.net.delay()+2*l.w.net.extra(l.src.node)+2*l.w.net.extra(l.dst.node), func() {
		l.trying = false
		if !l.alive() || l.state != linkConnecting {
			return
		}
		switch {
		case !l.w.net.both(l.dst.node, l.src.node), l.src.silentDead:
			return // the cron tries again
		case !l.src.up:
			l.lost()
			return
		}
		l.srcInc = l.src.inc
		l.src.exec(func() {
			if l.alive() && l.current() && l.state == linkConnecting {
				l.psync()
			}
		})
	})
}

// psync is the master's side of PSYNC.
func (l *link) psync() {
	src, dst := l.src, l.dst
	if src.loading || (!src.isMaster() && (src.link == nil || src.link.state != linkUp)) {
		l.dead = true // NOMASTERLINK or LOADING: again at the next cron
		dst.link = nil
		return
	}
	if l.partial() {
		src.replicas = append(src.replicas, l)
		l.state = linkUp
		l.ack, l.ackAt = dst.ds.offset(), l.w.now
		src.count()
		if l.w.tracing {
			l.w.tracef("%s continues from %s at %d", dst, src, l.ack)
		}
		if dst.replid != src.replid {
			dst.replid2, dst.second, dst.replid = dst.replid, dst.ds.offset()+1, src.replid
			dst.disconnectReplicas()
		}
		dst.linked()
		l.pump(l.w.net.delay())
		return
	}
	if src.backlog < 0 {
		src.backlog = src.ds.offset() + 1
	}
	src.replicas = append(src.replicas, l)
	l.state, l.copied, l.copiedID = linkSyncing, src.ds, src.replid
	dst.cached = false
	if l.w.tracing {
		l.w.tracef("%s full sync from %s: %s in the place of %s", dst, src, src.ds, dst.ds)
	}
	l.w.after(l.w.between(l.w.syncTime/4, l.w.syncTime), func() { dst.exec(l.transferred) })
	dst.check()
}

// partial reports whether the master can continue where the replica is.
func (l *link) partial() bool {
	src, dst := l.src, l.dst
	at := dst.ds.offset()
	if !dst.cached || src.backlog < 0 || at+1 < src.backlog || at > src.ds.offset() {
		return false
	}
	if dst.replid != src.replid && (dst.replid != src.replid2 || at+1 > src.second) {
		return false
	}
	if !prefix(dst.ds, src.ds) {
		l.w.violate("the model is wrong: %s with %s would continue from %s with %s", dst, dst.ds, src, src.ds)
	}
	return true
}

// prefix reports whether a stands on the way to b.
func prefix(a, b dataset) bool {
	p := path(a.b, b.b)
	switch {
	case p == nil:
		return false
	case len(p) == 1:
		return a.pos <= b.pos
	}
	return a.pos <= p[1].parentPos
}

// transferred is when the copy is complete: the old data goes.
func (l *link) transferred() {
	if !l.alive() || l.state != linkSyncing {
		return
	}
	if !l.current() || !l.w.net.ok(l.src.node, l.dst.node) {
		l.w.after(retransmit, func() { l.dst.exec(l.transferred) })
		return
	}
	dst := l.dst
	l.w.check.wiped(l)
	l.state, dst.loading = linkLoading, true
	dst.ds, dst.replid, dst.replid2, dst.second = l.copied, l.copiedID, "", 0
	dst.backlog = dst.ds.offset() + 1
	dst.disconnectReplicas()
	dst.check()
	l.w.after(l.w.upTo(l.w.syncTime/4), func() {
		if dst.inc == l.dstInc {
			dst.exec(l.loaded)
		}
	})
}

func (l *link) loaded() {
	dst := l.dst
	if dst.inc != l.dstInc || dst.link != l {
		return
	}
	dst.loading, dst.cached = false, true
	if l.srcGone {
		l.dead = true
		dst.link = nil
		dst.check()
		dst.connect()
		return
	}
	l.state = linkUp
	l.ack, l.ackAt = dst.ds.offset(), l.w.now
	l.src.count()
	dst.linked()
	l.pump(0)
	dst.check()
}

func (in *instance) linked() {
	in.cached, in.everUp, in.downSince = true, true, -1
	in.w.tracef("%s link up to %s", in, in.master)
}

// pump carries the stream to the replica: all that is there now, a moment later.
func (l *link) pump(d time.Duration) {
	if l.pumping || l.state != linkUp || l.dead {
		return
	}
	l.pumping = true
	upto := l.src.ds
	l.w.after(d+l.w.net.extra(l.dst.node), func() {
		l.pumping = false
		if !l.alive() || !l.w.net.ok(l.src.node, l.dst.node) || l.dst.frozen {
			return // healed and thaw pump again
		}
		if l.current() && l.srcInc == l.src.inc {
			l.deliver(upto)
			if l.src.ds != upto {
				l.pump(l.w.net.delay())
			}
		}
	})
}

func (l *link) deliver(upto dataset) {
	d := &l.dst.ds
	if !prefix(*d, upto) {
		if !prefix(upto, *d) {
			l.w.violate("the model is wrong: stream of %s (%s) does not fit %s (%s)", l.src, upto, l.dst, *d)
		}
		return
	}
	if *d == upto {
		return
	}
	*d = upto
	l.dst.filled()
	for _, sub := range l.dst.replicas {
		sub.pump(l.w.net.delay())
	}
}

// keepalive is what a replica's cron does for a link: REPLCONF ACK, or the next try.
func (l *link) keepalive() {
	switch {
	case l.state == linkConnecting:
		l.dial()
	case !l.w.net.both(l.dst.node, l.src.node), l.src.silentDead:
	case !l.current():
		l.reset(l.w.net.delay())
	case l.state == linkUp:
		l.acknowledge()
	}
}

// reset is the other side's RST, if it gets through.
func (l *link) reset(d time.Duration) {
	l.w.after(d+l.w.net.extra(l.dst.node), func() {
		if l.alive() && l.w.net.ok(l.src.node, l.dst.node) {
			l.dst.exec(l.lost)
		}
	})
}

// lost is the replica noticing that its master is gone.
func (l *link) lost() {
	if !l.alive() {
		return
	}
	if l.state == linkLoading {
		l.srcGone = true
		return
	}
	in := l.dst
	was := l.state
	l.dead = true
	in.link = nil
	if was == linkUp {
		in.downSince = in.w.now
		in.w.tracef("%s link down from %s", in, l.src)
		in.connect()
	}
	in.check()
}

// detach forgets a replica on the master's side.
func (in *instance) detach(l *link) {
	for i, x := range in.replicas {
		if x == l {
			in.replicas = append(in.replicas[:i:i], in.replicas[i+1:]...)
			in.count()
			return
		}
	}
}

func (in *instance) disconnectReplicas() {
	links := in.replicas
	in.replicas = nil
	for _, l := range links {
		l.srcInc = -1
		l.reset(in.w.net.delay())
	}
}

// unlink drops the replica's own link.
func (in *instance) unlink() {
	l := in.link
	if l == nil {
		return
	}
	if l.state == linkUp {
		in.downSince = in.w.now
	}
	l.dead = true
	in.link = nil
	l.src.detach(l)
}

// noOne is REPLICAOF NO ONE.
func (in *instance) noOne() (refused string) {
	switch {
	case in.loading:
		return "LOADING Redis is loading the dataset in memory"
	case in.isMaster():
		return ""
	}
	in.unlink()
	in.master = sentinel.Addr{}
	in.replid2, in.second, in.replid = in.replid, in.ds.offset()+1, in.w.newID()
	in.disconnectReplicas()
	in.downSince, in.ordered, in.fencedAt, in.lastPromoted = -1, -1, -1, in.w.now
	in.w.tracef("%s is master now, %s", in, in.ds)
	in.check()
	return ""
}

// replicaOf is REPLICAOF host port; sent is when triwatch sent it.
func (in *instance) replicaOf(to sentinel.Addr, sent time.Duration) (refused string) {
	if in.loading {
		return "LOADING Redis is loading the dataset in memory"
	}
	in.ordered = sent
	if in.master == to {
		return ""
	}
	wasMaster := in.isMaster()
	in.unlink()
	in.master = to
	if wasMaster {
		in.cached = true
	}
	if to == sentinel.FenceAddr {
		in.fencedAt = in.w.now
	}
	in.w.tracef("%s told to follow %s, %s", in, to, in.ds)
	in.connect()
	in.check()
	return ""
}
