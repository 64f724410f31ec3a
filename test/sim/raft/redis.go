package raftsim

import (
	"fmt"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// The rhythm of the modelled Redis.
const (
	redisTick = 10 * time.Millisecond
	syncTime  = 300 * time.Millisecond
)

// instance is a Redis process (or the place for one). Its parts are guarded by the
// world's mu.
type instance struct {
	w    *world
	i    int
	id   sentinel.InstanceID
	addr sentinel.Addr

	up, frozen bool
	run        int // counts processes
	boot       time.Duration
	runID      string
	// A data set is told by its replication ids and offset.
	replid, replid2      string
	second, offset, keys int64
	master               sentinel.Addr // zero: is a master
	link, syncing        bool
	syncEnd, retry       time.Duration
	// late is what was sent to it while it was frozen.
	late []func()
	// conns are the probers that are connected.
	conns map[*prober]bool
}

func newInstance(w *world, i int) *instance {
	a := sentinel.Addr{Host: fmt.Sprintf("10.0.0.%d", 21+i), Port: 6379}
	in := &instance{w: w, i: i, id: sentinel.InstanceID(a.String()), addr: a, conns: map[*prober]bool{}}
	in.start(true)
	return in
}

func (in *instance) String() string { return fmt.Sprintf("r%d", in.i) }

func (w *world) newID() string {
	w.ids++
	return fmt.Sprintf("%08x%032x", w.seed, w.ids)
}

// start runs a new process. It is born a replica of nobody, as in deploy/.
func (in *instance) start(empty bool) {
	in.up, in.frozen, in.late = true, false, nil
	in.run++
	in.boot, in.runID = in.w.now(), in.w.newID()
	in.master, in.link, in.syncing = sentinel.FenceAddr, false, false
	if empty {
		in.replid, in.replid2, in.second, in.offset, in.keys = in.w.newID(), "", 0, 0, 0
	}
	in.w.tracef("%s starts, %s", in, in.data())
}

func (in *instance) data() string {
	return fmt.Sprintf("%d keys at %d of %s", in.keys, in.offset, in.replid[len(in.replid)-3:])
}

// kill ends the process; who is connected notices.
func (in *instance) kill() {
	if !in.up {
		return
	}
	in.w.tracef("%s dies, %s", in, in.data())
	in.up, in.frozen, in.late = false, false, nil
	for p := range in.conns {
		in.w.later(in.w.delay(), p.closed)
	}
	clear(in.conns)
	in.dropFollowers()
}

func (in *instance) thaw() {
	if !in.frozen {
		return
	}
	in.frozen = false
	in.w.tracef("%s thaws, %d orders waited", in, len(in.late))
	for _, do := range in.late {
		do()
	}
	in.late = nil
}

func (in *instance) isMaster() bool { return in.master.IsZero() }

func (in *instance) dropFollowers() {
	for _, o := range in.w.insts {
		if o != in && o.master == in.addr {
			o.link, o.syncing = false, false
			o.retry = in.w.now() + in.w.noise.upTo(300*time.Millisecond)
		}
	}
}

// runRedis lets all instances live until the world ends.
func (w *world) runRedis() {
	tick := time.NewTicker(redisTick)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-w.over:
			return
		case <-tick.C:
		}
		w.locked(func() {
			for _, in := range w.insts {
				in.tick(n)
			}
		})
	}
}

func (in *instance) tick(n int) {
	switch {
	case !in.up || in.frozen:
	case !in.isMaster():
		in.follow()
	default:
		if in.w.writing {
			in.offset += 100
			in.keys++
		}
		if n%100 == 0 {
			in.offset += 14
		}
	}
}

func (in *instance) follow() {
	m := in.w.at(in.master)
	now := in.w.now()
	switch {
	case m == nil:
	case !m.up:
		in.link, in.syncing = false, false
	case m.frozen:
	case in.link:
		in.offset, in.keys = m.offset, m.keys
	case in.syncing && now >= in.syncEnd:
		in.w.check.wiped(in, m)
		in.syncing, in.link = false, true
		in.adopt(m)
		in.dropFollowers()
	case !in.syncing && now >= in.retry:
		in.retry = now + 300*time.Millisecond
		in.attach(m, now)
	}
}

func (in *instance) adopt(m *instance) {
	in.replid, in.replid2, in.second, in.offset, in.keys = m.replid, m.replid2, m.second, m.offset, m.keys
}

// attach is PSYNC: partial where the histories fit, else full. Who follows and has no
// link of its own refuses to be synced from.
func (in *instance) attach(m *instance, now time.Duration) {
	if !m.isMaster() && !m.link {
		return
	}
	same := in.replid == m.replid || (in.replid == m.replid2 && in.offset < m.second)
	if same && in.offset <= m.offset {
		in.w.tracef("%s continues from %s, %s", in, m, in.data())
		in.link = true
		in.adopt(m)
		return
	}
	in.w.tracef("%s full sync from %s: %s in the place of %s", in, m, m.data(), in.data())
	in.syncing, in.syncEnd = true, now+in.w.noise.upTo(syncTime)
}

// noOne is REPLICAOF NO ONE.
func (in *instance) noOne() {
	if in.isMaster() {
		return
	}
	in.w.tracef("%s is master now, %s", in, in.data())
	in.replid2, in.second, in.replid = in.replid, in.offset+1, in.w.newID()
	in.master, in.link, in.syncing = sentinel.Addr{}, false, false
	in.dropFollowers()
}

// replicaOf is REPLICAOF host port.
func (in *instance) replicaOf(to sentinel.Addr) {
	if in.master == to {
		return
	}
	in.w.tracef("%s told to follow %s, %s", in, to, in.data())
	in.master, in.link, in.syncing, in.retry = to, false, false, in.w.now()
}

// info is what INFO says.
func (in *instance) info() *sentinel.Info {
	i := &sentinel.Info{RunID: in.runID, Role: sentinel.RoleMaster, Full: true, Offset: in.offset, ReplID: in.replid, ReplID2: in.replid2,
		SecondOffset: in.second, Keys: in.keys, LinkDownFor: -1, Priority: 100, ReadOnly: true, Announced: true}
	for _, o := range in.w.insts {
		if o != in && o.up && o.master == in.addr && o.link {
			i.Replicas = append(i.Replicas, sentinel.Attached{Addr: o.addr, Online: true, Offset: o.offset})
		}
	}
	if !in.isMaster() {
		i.Role, i.Master, i.LinkUp, i.Syncing = sentinel.RoleReplica, in.master, in.link, in.syncing
		if !in.link && in.offset > 0 {
			i.LinkDownFor = 1
		}
	}
	return i
}

func (w *world) at(a sentinel.Addr) *instance {
	for _, in := range w.insts {
		if in.addr == a {
			return in
		}
	}
	return nil
}

// master is the instance that is committed as master, nil if none is.
func (w *world) master() *instance {
	if c := w.check.truth; c != nil {
		return w.at(c.Master.Addr)
	}
	return nil
}
