package sim

import (
	"fmt"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// bootMode says what role an instance takes when its process starts.
type bootMode int

const (
	bootStatic  bootMode = iota // the command line: the first is master, the others follow it
	bootRewrite                 // what the last CONFIG REWRITE wrote
	bootBorn                    // replicaof 127.0.0.1 0, as in deploy/
	bootLab                     // as in test/chaos: static at first, born afterwards
	bootMasters                 // static at first; what comes back is a master
)

func (b bootMode) String() string {
	return [...]string{"static", "rewrite", "born", "lab", "masters"}[b]
}

// persistMode says what a killed process finds again.
type persistMode int

const (
	persistNone persistMode = iota
	persistRDB              // the last save, with its replication id
	persistAOF              // everything, under a fresh replication id
)

func (p persistMode) String() string { return [...]string{"none", "rdb", "aof"}[p] }

// bootData modifies a start.
type bootData struct {
	fresh   bool // the first start ever
	empty   bool // the disk is gone
	foreign bool // somebody else's Redis, a master with data
}

// saved is an RDB file.
type saved struct {
	ds     dataset
	replid string
	ok     bool
}

// instance is a Redis process (or the place for one).
type instance struct {
	w       *world
	i, node int
	addr    sentinel.Addr
	id      sentinel.InstanceID

	up, frozen, silentDead bool
	foreign                bool // somebody else's
	inc                    int  // counts processes
	bootAt                 time.Duration
	runID                  string
	master                 sentinel.Addr // zero: is a master
	conf                   sentinel.Addr // what the configuration file says
	link                   *link
	replicas               []*link
	replid, replid2        string
	second                 int64
	ds                     dataset
	cached, everUp         bool
	downSince              time.Duration
	backlog                int64 // first offset that is kept, negative for none
	pingPeriod, crons      int
	loading                bool
	rdb                    saved
	queued                 []func() // what arrived while frozen
	pausedUntil            time.Duration
	pausedQ                []func()
	limits                 limits

	// ordered is when triwatch sent the order by which this one follows its master,
	// negative if it follows on its own.
	ordered time.Duration
	// fencedAt is when it was last fenced.
	fencedAt time.Duration
	// lastPromoted is when it last became master by command.
	lastPromoted time.Duration
	// ownLoss is when it last lost data by following somebody on its own.
	ownLoss time.Duration
	// lastLate is when an order that was held up last made it master.
	lastLate time.Duration
	facts    facts
}

func newInstance(w *world, i int) *instance {
	a := sentinel.Addr{Host: fmt.Sprintf("10.0.0.%d", 21+i), Port: 6379}
	return &instance{w: w, i: i, node: w.setup.watchers + i, addr: a, id: sentinel.InstanceID(a.String()), ordered: -1, fencedAt: -1, lastPromoted: -1, ownLoss: -1, lastLate: -1}
}

func (in *instance) String() string { return fmt.Sprintf("r%d", in.i) }

func (w *world) newID() string {
	w.runs++
	return fmt.Sprintf("%08x%032x", w.rng.Uint32(), w.runs)
}

func (w *world) newBranch(parent dataset, start int64) *branch {
	w.branches++
	return &branch{id: w.branches, parent: parent.b, parentPos: parent.pos, start: start}
}

// start runs a new process.
func (in *instance) start(b bootData) {
	w := in.w
	in.inc++
	in.up, in.frozen, in.loading, in.silentDead = true, false, false, false
	in.bootAt, in.runID = w.now, w.newID()
	in.replid, in.replid2, in.second = w.newID(), "", 0
	in.link, in.replicas, in.cached, in.everUp, in.downSince, in.backlog = nil, nil, false, false, -1, -1
	in.pingPeriod, in.crons, in.pausedUntil, in.pausedQ, in.queued = 10, 0, 0, nil, nil
	in.ordered, in.fencedAt = -1, -1
	if b.fresh || in.w.boot != bootRewrite {
		in.limits.file = w.found
	}
	in.limits = limits{now: in.limits.file, file: in.limits.file}
	in.foreign = b.foreign
	if in.master = (sentinel.Addr{}); !b.foreign {
		in.master = in.bootMaster(b.fresh)
	}
	in.load(b)
	if in.ds.keys() > 0 {
		in.loading = true
		inc := in.inc
		w.after(w.between(5*time.Millisecond, 150*time.Millisecond), func() {
			if in.inc == inc {
				in.loading = false
				in.check()
				in.connect()
			}
		})
	} else {
		in.connect()
	}
	w.tracef("%s starts: run %.8s master=%s data=%s", in, in.runID, in.master, in.ds)
	in.cronSoon(in.inc, w.between(0, time.Second))
	in.check()
}

func (in *instance) bootMaster(fresh bool) sentinel.Addr {
	switch in.w.boot {
	case bootBorn:
		in.conf = sentinel.FenceAddr
	case bootLab, bootMasters:
		switch {
		case fresh && in.i > 0:
			in.conf = in.w.insts[0].addr
		case fresh || in.w.boot == bootMasters:
			in.conf = sentinel.Addr{}
		default:
			in.conf = sentinel.FenceAddr
		}
	case bootStatic:
		in.conf = sentinel.Addr{}
		if in.i > 0 {
			in.conf = in.w.insts[0].addr
		}
	case bootRewrite:
		if fresh && in.i > 0 {
			in.conf = in.w.insts[0].addr
		}
	}
	return in.conf
}

// load finds what the process has on disk.
func (in *instance) load(b bootData) {
	w := in.w
	switch {
	case b.foreign:
		in.ds = dataset{w.newBranch(dataset{}, 0), 0}
		in.ds.b.entries = []entry{{end: 1 << 20, write: -1, writes: foreignKeys, last: -1}}
		in.ds.pos = 1
	case b.fresh, b.empty, w.persist == persistNone:
		in.ds = dataset{w.newBranch(dataset{}, 0), 0}
		in.rdb = saved{}
	case w.persist == persistAOF:
		in.ds = dataset{w.newBranch(in.ds, 0), 0}
	case !in.rdb.ok:
		in.ds = dataset{w.newBranch(dataset{}, 0), 0}
	default:
		in.ds = in.rdb.ds
		if in.master.IsZero() {
			// A master takes a fresh id and keeps the old one as its second.
			in.replid2, in.second = in.rdb.replid, in.ds.offset()+1
			in.backlog = in.ds.offset() + 1
		} else {
			in.replid, in.cached = in.rdb.replid, true
		}
	}
}

// kill ends the process. host takes the machine away too: nothing is answered.
func (in *instance) kill(host, clean bool) {
	if !in.up {
		return
	}
	in.w.faults++
	in.w.tracef("%s dies (host=%v clean=%v) data=%s", in, host, clean, in.ds)
	if clean && in.w.persist == persistRDB && !in.loading && !in.foreign {
		in.save()
	}
	in.up, in.frozen, in.silentDead = false, false, host
	in.queued, in.pausedQ = nil, nil
	if in.link != nil {
		in.link.dead = true
		in.link.src.detach(in.link)
		in.link = nil
	}
	links := in.replicas
	in.replicas = nil
	for _, l := range links {
		if !host {
			l.reset(in.w.net.delay())
		}
	}
	if !host {
		for _, wt := range in.w.watchers {
			wt.closed(in, in.inc)
		}
	}
	in.inc++
	in.check()
}

func (in *instance) save() { in.rdb = saved{in.ds, in.replid, true} }

func (in *instance) freeze() {
	if in.up && !in.frozen {
		in.frozen = true
		in.w.faults++
		in.check()
		in.w.tracef("%s freezes", in)
	}
}

func (in *instance) thaw() {
	if !in.up || !in.frozen {
		return
	}
	in.frozen = false
	in.check()
	in.w.tracef("%s thaws, %d queued", in, len(in.queued))
	q := in.queued
	in.queued = nil
	for _, fn := range q {
		in.exec(fn)
	}
	if in.link != nil {
		in.link.pump(in.w.net.delay())
	}
}

// exec carries something out on the process, at once or when it thaws. The caller
// has made sure that it runs.
func (in *instance) exec(fn func()) {
	if in.frozen {
		in.queued = append(in.queued, fn)
		return
	}
	fn()
}

func (in *instance) isMaster() bool { return in.master.IsZero() }

// writable reports whether a client's write would be acknowledged now.
func (in *instance) writable() bool {
	return in.up && !in.frozen && !in.loading && in.isMaster() && in.w.now >= in.pausedUntil && in.unwritten() == ""
}

// add appends to the stream, on a branch of this master's own.
func (in *instance) add(size int64, write int32) {
	if in.ds.pos != len(in.ds.b.entries) || in.ds.b.owner != in.replid {
		in.ds = dataset{in.w.newBranch(in.ds, in.ds.offset()), 0}
		in.ds.b.owner = in.replid
	}
	if in.backlog < 0 {
		size = 1 // nobody ever replicated from this run
	}
	in.ds.add(size, write)
	in.filled()
	for _, l := range in.replicas {
		l.pump(in.w.net.delay())
	}
}

// filled notes that an empty instance has data now.
func (in *instance) filled() {
	if in.facts.empty >= 0 && in.ds.keys() > 0 {
		in.check()
	}
}

// cronSoon is replicationCron, once a second.
func (in *instance) cronSoon(inc int, d time.Duration) {
	in.w.after(d, func() {
		if in.inc != inc {
			return
		}
		in.exec(in.cron)
		in.cronSoon(inc, time.Second)
	})
}

func (in *instance) cron() {
	w := in.w
	in.crons++
	defer in.count()
	if in.link == nil {
		in.connect()
	} else {
		in.link.keepalive()
	}
	if in.isMaster() && len(in.replicas) > 0 && in.crons%in.pingPeriod == 0 && !in.loading {
		in.add(14, -1)
	}
	if w.persist == persistRDB && in.crons%4 == 0 && !in.loading && !in.foreign {
		in.save()
	}
}

// info is what INFO says.
func (in *instance) info(full bool) *sentinel.Info {
	i := &sentinel.Info{RunID: in.runID, Loading: in.loading, ReplID: in.replid, ReplID2: in.replid2, SecondOffset: in.second,
		Keys: -1, LinkDownFor: -1, Priority: 100, ReadOnly: true, Announced: true, Full: full}
	switch in.i {
	case in.w.priority0:
		i.Priority = 0
	case in.w.preferred:
		i.Priority = 10
	}
	if full {
		i.Keys = in.ds.keys()
		if in.loading {
			i.Keys = 0
		}
	}
	if in.isMaster() {
		i.Role, i.Offset = sentinel.RoleMaster, in.ds.offset()
		for _, l := range in.replicas {
			i.Replicas = append(i.Replicas, sentinel.Attached{Addr: l.dst.addr, Online: l.state == linkUp, Offset: l.ack, Lag: l.lag()})
		}
		if in.limits.now.Active() {
			i.Limited, i.Good = true, in.limits.good
		}
		return i
	}
	i.Role, i.Master, i.Offset = sentinel.RoleReplica, in.master, in.ds.offset()
	if in.limits.now.Active() {
		i.Limited, i.Good = true, in.limits.good
	}
	if !in.cached && (in.link == nil || in.link.state != linkUp) {
		// slave_repl_offset is 1, and sentinel.ParseInfo looks at master_repl_offset then.
		i.Offset = max(i.Offset, 1)
	}
	if in.link != nil {
		i.LinkUp = in.link.state == linkUp
		i.Syncing = in.link.state == linkSyncing
	}
	if !i.LinkUp && in.downSince >= 0 {
		i.LinkDownFor = int64((in.w.now - in.downSince) / time.Second)
	}
	return i
}
