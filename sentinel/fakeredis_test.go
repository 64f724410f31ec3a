package sentinel_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

const ms = time.Millisecond

// fakeRedis is one modelled Redis: what INFO shows and what REPLICAOF does, no more.
type fakeRedis struct {
	name string
	addr sentinel.Addr
	also []sentinel.Addr // where it is reached as well, by a host name or another address
	set  *redisSet

	dead, frozen, deaf bool // deaf: cannot reach its master
	reply              sentinel.Reply
	run                int
	replID, replID2    string
	offset, second     int64
	keys               int64
	role               sentinel.Role
	master             sentinel.Addr
	link, syncing      bool
	everUp             bool
	syncEnd            sentinel.Time
	retry              sentinel.Time
	prio               int
	pingPeriod         int
	rate               int64 // bytes per second written by clients
	wrote              int64 // thousandths of a byte not yet counted
	late               []func()
	history            int // of replication ids
	born               sentinel.Time
	// calls is the host name by which it knows its master, "" for the address.
	calls    string
	rights   *sentinel.Rights // what it tells of them, nil if it is not asked
	writable bool             // replica-read-only no
	limits   sentinel.MinReplicas
	acked    sentinel.Time // when it last acknowledged as a replica
	// fresh is set while it has no backlog: the first replica that comes gives a master
	// one, and with it a replication id that goes back to nothing.
	fresh bool
}

// redisSet is the modelled Redis world. It advances one millisecond at a time.
type redisSet struct {
	all      []*fakeRedis
	now      sentinel.Time
	syncTime time.Duration
}

func (s *redisSet) get(name string) *fakeRedis {
	for _, r := range s.all {
		if r.name == name {
			return r
		}
	}
	return nil
}

func (s *redisSet) at(a sentinel.Addr) *fakeRedis {
	for _, r := range s.all {
		if r.addr == a || slices.Contains(r.also, a) {
			return r
		}
	}
	return nil
}

func (s *redisSet) add(name string) *fakeRedis {
	n := len(s.all) + 1
	r := &fakeRedis{name: name, set: s, addr: sentinel.Addr{Host: fmt.Sprintf("10.0.0.%d", n), Port: 6379},
		prio: 100, pingPeriod: 10, limits: sentinel.MinReplicas{Lag: 10}, run: 1, reply: sentinel.ReplyOK, role: sentinel.RoleMaster}
	r.newReplID()
	r.replID2 = ""
	s.all = append(s.all, r)
	return r
}

func (r *fakeRedis) newReplID() {
	r.history++
	r.second = r.offset + 1
	r.replID2, r.replID = r.replID, fmt.Sprintf("%s-id%d-%040d", r.name, r.history, 0)[:40]
}

func (r *fakeRedis) runID() string { return fmt.Sprintf("%s-run%d-%040d", r.name, r.run, 0)[:40] }

// tick is one millisecond of everybody.
func (s *redisSet) tick(now sentinel.Time) {
	s.now = now
	for _, r := range s.all {
		if r.dead || r.frozen || r.role != sentinel.RoleMaster {
			continue
		}
		if r.rate > 0 {
			r.wrote += r.rate
			r.offset += r.wrote / 1000
			r.wrote %= 1000
		}
		if now%(time.Duration(r.pingPeriod)*time.Second) == 0 && s.attached(r) > 0 {
			r.offset += 14
		}
	}
	// Twice, so that a chain is as far as its head.
	for range 2 {
		for _, r := range s.all {
			if !r.dead && !r.frozen && r.role == sentinel.RoleReplica {
				r.followTick(now)
			}
		}
	}
}

func (s *redisSet) attached(m *fakeRedis) int {
	n := 0
	for _, r := range s.all {
		if r != m && !r.dead && r.role == sentinel.RoleReplica && r.set.at(r.master) == m && r.link {
			n++
		}
	}
	return n
}

func (r *fakeRedis) followTick(now sentinel.Time) {
	m := r.set.at(r.master)
	if m == nil || m.dead || r.deaf {
		r.link, r.syncing = false, false
		return
	}
	if m.frozen {
		return
	}
	switch {
	case r.link:
		r.acked = now
		r.offset, r.second, r.replID, r.replID2, r.keys = m.offset, m.second, m.replID, m.replID2, m.keys
	case r.syncing && now >= r.syncEnd:
		r.syncing, r.link, r.everUp = false, true, true
		r.offset, r.second, r.replID, r.replID2, r.keys = m.offset, m.second, m.replID, m.replID2, m.keys
	case !r.syncing && now >= r.retry:
		r.retry = now + time.Second
		r.attach(m, now)
	}
}

// attach is PSYNC: partial where the histories fit, else full. Who follows and has no
// link of its own refuses to be synced from.
func (r *fakeRedis) attach(m *fakeRedis, now sentinel.Time) {
	if m.role == sentinel.RoleReplica && !m.link {
		return
	}
	if (r.replID == m.replID || r.replID == m.replID2) && r.offset <= m.offset {
		r.link, r.everUp = true, true
		return
	}
	if m.fresh && m.role == sentinel.RoleMaster {
		m.newReplID()
		m.replID2, m.second, m.fresh = "", 0, false
	}
	r.syncing, r.syncEnd, r.keys, r.fresh = true, now+r.set.syncTime, 0, false
}

func (r *fakeRedis) info(full bool) *sentinel.Info {
	i := &sentinel.Info{RunID: r.runID(), Version: "7.0.15", Role: r.role, Full: full, Offset: r.offset, ReplID: r.replID, ReplID2: r.replID2, SecondOffset: r.second,
		Keys: -1, LinkDownFor: -1, Priority: r.prio, ReadOnly: !r.writable, Announced: true}
	if full {
		i.Keys = r.keys
	}
	i.Loading = r.reply == sentinel.ReplyLoading
	if r.role == sentinel.RoleReplica {
		i.Master, i.LinkUp, i.Syncing = r.master, r.link, r.syncing
		if r.calls != "" {
			i.Master.Host = r.calls
		}
		if !r.link && r.everUp {
			i.LinkDownFor = 1
		}
		if r.syncing {
			i.SyncPercent = 41
		}
	}
	for _, o := range r.set.all {
		if o != r && !o.dead && o.role == sentinel.RoleReplica && r.set.at(o.master) == r && o.link {
			a := sentinel.Attached{Addr: o.addr, Online: true, Offset: o.offset, Lag: int64((r.set.now - o.acked) / time.Second)}
			i.Replicas = append(i.Replicas, a)
			if a.Lag <= int64(r.limits.Lag) {
				i.Good++
			}
		}
	}
	if i.Limited = r.limits.Active(); !i.Limited {
		i.Good = 0
	}
	return i
}

// replicaOf is REPLICAOF; the zero address is NO ONE.
func (r *fakeRedis) replicaOf(to sentinel.Addr) {
	r.calls = ""
	if to.IsZero() {
		if r.role == sentinel.RoleReplica {
			r.role, r.master, r.link, r.syncing = sentinel.RoleMaster, sentinel.Addr{}, false, false
			r.newReplID()
		}
		return
	}
	if r.role == sentinel.RoleReplica && r.master == to {
		return
	}
	r.role, r.master, r.link, r.syncing, r.everUp = sentinel.RoleReplica, to, false, false, false
	r.retry = r.set.now
}

// thaw lets a frozen process go on; it finds what was sent to it meanwhile.
func (r *fakeRedis) thaw() {
	r.frozen = false
	for _, f := range r.late {
		f()
	}
	r.late = nil
}

// drop ends the links of those who follow; they try again at their next tick.
func (r *fakeRedis) drop() {
	for _, o := range r.set.all {
		if o != r && o.role == sentinel.RoleReplica && r.set.at(o.master) == r && !o.dead {
			o.link, o.syncing = false, false
			o.retry = (r.set.now/time.Second + 1) * time.Second
		}
	}
}

// restart starts the process anew, with or without its data, as master or fenced.
func (r *fakeRedis) restart(data, fenced bool) {
	r.dead, r.frozen, r.late = false, false, nil
	r.run++
	r.born = r.set.now
	r.drop()
	r.link, r.syncing, r.everUp, r.rate, r.pingPeriod = false, false, false, 0, 10
	r.limits = sentinel.MinReplicas{Lag: 10}
	was := r.replID
	r.newReplID()
	if !data {
		r.keys, r.offset, r.second, r.replID2, r.fresh = 0, 0, 0, "", true
	}
	r.role, r.master = sentinel.RoleMaster, sentinel.Addr{}
	if fenced {
		r.role, r.master = sentinel.RoleReplica, sentinel.FenceAddr
		if data {
			r.replID, r.replID2, r.second = was, "", 0 // a replica keeps the id of its data
		}
	}
}

// changed reports whether it has taken up another data set than the one it is to be
// promoted with.
func (r *fakeRedis) changed(d sentinel.Do) bool {
	return d.ReplID != "" && r.role == sentinel.RoleReplica && r.replID != d.ReplID && r.replID2 != d.ReplID
}

// do carries out one write and says how it ended.
func (r *fakeRedis) do(d sentinel.Do) (sentinel.Outcome, string) {
	switch r.reply {
	case sentinel.ReplyAuth:
		return sentinel.OutcomeRefused, "NOAUTH Authentication required."
	case sentinel.ReplyBusy:
		return sentinel.OutcomeRefused, "BUSY Redis is busy running a script."
	case sentinel.ReplyLoading:
		return sentinel.OutcomeRefused, "LOADING Redis is loading the dataset in memory"
	}
	if why := r.denied(d.Op); why != "" {
		return sentinel.OutcomeRefused, "NOPERM " + why
	}
	detail := ""
	if d.Limits != nil {
		r.limits.Write = d.Limits.Write
		if d.Op == sentinel.OpSetLimits || d.Op == sentinel.OpReplicate {
			r.limits.Lag = d.Limits.Lag
		}
	}
	switch d.Op {
	case sentinel.OpFindLimits:
		detail = r.limits.String()
	case sentinel.OpSetLimits:
	case sentinel.OpPromote:
		if d.RunID != "" && d.RunID != r.runID() {
			return sentinel.OutcomeRefused, "runs anew as " + r.runID()
		}
		if r.changed(d) {
			return sentinel.OutcomeRefused, "has taken up another data set since it was chosen"
		}
		r.replicaOf(sentinel.Addr{})
	case sentinel.OpReplicate:
		r.replicaOf(d.To)
	case sentinel.OpFence:
		r.replicaOf(sentinel.FenceAddr)
	case sentinel.OpUnfence:
		if r.master == sentinel.FenceAddr {
			r.replicaOf(sentinel.Addr{})
		}
	case sentinel.OpSetPing:
		detail = fmt.Sprint(r.pingPeriod)
		r.pingPeriod = 1
	case sentinel.OpUnknown, sentinel.OpAwait, sentinel.OpPauseWrites, sentinel.OpUnpause, sentinel.OpKillClients:
	}
	return sentinel.OutcomeOK, detail
}

func (r *fakeRedis) String() string {
	switch {
	case r.dead:
		return r.name + ": dead"
	case r.role == sentinel.RoleMaster:
		text := fmt.Sprintf("%s: master, %d keys", r.name, r.keys)
		if r.limits.Active() {
			text += ", min-replicas " + r.limits.String()
		}
		return text
	}
	link := "down"
	if r.link {
		link = "up"
	}
	of := "nobody (fenced)"
	if m := r.set.at(r.master); m != nil {
		of = m.name
		return fmt.Sprintf("%s: replica of %s, link %s, %d keys", r.name, of, link, r.keys)
	}
	return fmt.Sprintf("%s: replica of %s, %d keys", r.name, of, r.keys)
}
