package sentinel

import (
	"time"
)

// Health is one watcher's opinion of one instance. Zero is unknown.
type Health int

// The opinions.
const (
	// HealthUnknown means not heard yet, and not watched for long enough to say more.
	HealthUnknown Health = iota
	// HealthUp means that it answered when it was last due.
	HealthUp
	// HealthSuspect means that an answer is overdue or a connection was lost.
	HealthSuspect
	// HealthDown is Sentinel's sdown: no reply for down-after.
	HealthDown
	// HealthCrashed means that an established connection was closed and a redial was
	// refused: nobody listens there any more.
	HealthCrashed
)

// String returns the word that people read.
func (h Health) String() string {
	switch h {
	case HealthUp:
		return "up"
	case HealthSuspect:
		return "suspect"
	case HealthDown:
		return "down"
	case HealthCrashed:
		return "crashed"
	case HealthUnknown:
		return "unknown"
	}
	return "unknown"
}

// Witness is what a replica says about its master's life. Zero is unknown.
type Witness int

// The testimonies.
const (
	// WitnessUnknown means not heard, or not for long enough.
	WitnessUnknown Witness = iota
	// WitnessAdvancing means that its offset grew after suspicion: the master lives.
	WitnessAdvancing
	// WitnessStalled means that the link is up but nothing has come over it for
	// longer than an idle master would be quiet.
	WitnessStalled
	// WitnessLost means that its link to the master went down.
	WitnessLost
	// WitnessUp means that its link is up, and that it is too early to say more.
	WitnessUp
	// WitnessNone means that it has nothing to say: it never streamed from this run
	// of the master, or its own process is gone.
	WitnessNone
)

// String returns the word that people read.
func (w Witness) String() string {
	switch w {
	case WitnessAdvancing:
		return "advancing"
	case WitnessStalled:
		return "stalled"
	case WitnessLost:
		return "link down"
	case WitnessUp:
		return "link up"
	case WitnessNone:
		return "none"
	case WitnessUnknown:
		return "unknown"
	}
	return "unknown"
}

// sample is an offset at a moment.
type sample struct {
	offset int64
	at     Time
}

// observation is what this watcher knows of one instance.
type observation struct {
	id    InstanceID
	addr  Addr
	since Time // watched since
	// remote is the IP address behind its host name when it was reached last, "" if it is
	// known by an IP address.
	remote string
	// twin is the member that is the same process and by which it is known, "" if none is.
	twin InstanceID

	reply     Reply
	detail    string
	heard     bool
	lastReply Time
	probed    Time // Asked of the latest outcome
	lost      bool // connection lost and no reply since
	crashed   bool

	info     *Info
	infoAt   Time // Asked of info
	doubt    Time // Asked of the latest probe after which it may be another process
	written  Time // last write of ours to it, as leader
	could    credit
	runSince Time // first INFO of this run
	loading  Time // since when it has said nothing but that it loads, never if it does not
	// detached is when it was first seen as a master that had been a replica in the same
	// run: somebody's REPLICAOF NO ONE. 0 if it is none.
	detached Time
	asked    Time // when askAgain last asked
	counted  Time // when its keys were last asked for, because they are not known
	boots    Boot // as it was seen to start last
	roled    Time // when it was last told what to be, whatever came of it
	health   Health
	alert    Reply // the state last told to people

	rights      *Rights // what it lets us do, nil if not known
	readOnly    Setting // replica-read-only
	rightsAt    Time    // Asked of rights
	askedRights Time    // when immovable last asked
	rightsSaid  string  // what was last told to people

	// The witness's part.
	streamed  string    // the master's run id from which it streamed
	recent    [3]sample // the last samples before suspicion, newest first
	base      sample    // where the offset stands since base.at
	baseSet   bool
	advanced  bool
	wasLoaded bool // the stream carried more than pings before suspicion
}

// note takes up the outcome of a probe.
func (o *observation) note(p Probe, now Time) {
	o.reply, o.detail = p.Reply, p.Detail
	if p.Asked > o.probed {
		o.probed = p.Asked
	}
	if p.Lost {
		o.lost = true
	}
	switch {
	case p.Reply == ReplyLoading || p.Info != nil && p.Info.Loading:
		if o.loading == never {
			o.loading = now
		}
	case p.Reply.Alive():
		o.loading = never
	}
	if p.Lost || !p.Reply.Alive() {
		o.doubt = max(o.doubt, p.Asked)
	}
	if p.Reply.Alive() {
		o.heard, o.lastReply, o.lost, o.crashed = true, now, false, false
	} else if p.Reply == ReplyRefused && o.lost && o.heard {
		o.crashed = true
	}
	if p.Info != nil && p.Asked >= o.infoAt {
		info := *p.Info
		if o.info != nil && info.RunID == "" {
			info.RunID = o.info.RunID
		}
		if info.Keys < 0 && o.info != nil && sameKeys(o.info, &info) {
			info.Keys = o.info.Keys
		}
		anew := o.info == nil || o.info.RunID != info.RunID
		if anew {
			o.runSince = now
			if o.loading != never {
				o.loading = now // another process begins with it
			}
		}
		switch {
		case info.Role != RoleMaster || anew:
			o.detached = 0
		case o.info.Role == RoleReplica:
			o.detached = now
		}
		o.info, o.infoAt = &info, p.Asked
		o.takeRights(p, anew)
	}
}

// pingSize is what one ping adds to the replication stream, in bytes. The shortest
// write is longer, and no few of them make a multiple.
const pingSize = 14

// sameKeys reports whether the number of keys that was heard earlier can stand for a
// later INFO without one: the same run and lineage, and nothing but pings since if
// there were none. An old "empty" would bar a good copy.
func sameKeys(was, now *Info) bool {
	if was.RunID != now.RunID || was.ReplID != now.ReplID || was.Loading {
		return false // while it loads, INFO counts what was loaded so far
	}
	grown := now.Offset - was.Offset
	return was.Keys > 0 || grown >= 0 && grown <= 3*pingSize && grown%pingSize == 0
}

// told reports whether it has said since a moment what it is, and is certainly
// still the same process.
func (o *observation) told(since Time) bool {
	return o != nil && o.info != nil && o.infoAt >= since && o.infoAt >= o.doubt
}

// assess returns the opinion at a moment. ping is the pace at which it is probed
// while all is well.
func (o *observation) assess(now Time, cfg Config, ping time.Duration) Health {
	silent := o.silent(now)
	switch {
	case o.crashed:
		return HealthCrashed
	case silent >= cfg.DownAfter:
		return HealthDown
	case !o.heard:
		return HealthUnknown
	case o.lost, !o.reply.Alive(), silent > ping+cfg.overdue():
		return HealthSuspect
	}
	return HealthUp
}

// silent is the time since the last reply, or since it is watched.
func (o *observation) silent(now Time) time.Duration {
	if !o.heard {
		return now - o.since
	}
	return now - o.lastReply
}

// nextChange is when the opinion changes if nothing is heard.
func (o *observation) nextChange(now Time, cfg Config, ping time.Duration) Time {
	from := o.lastReply
	if !o.heard {
		from = o.since
	}
	if t := from + ping + cfg.overdue() + 1; t > now {
		return t
	}
	if t := from + cfg.DownAfter; t > now {
		return t
	}
	return never
}

// loadsTooLong reports whether the master was started again and has been loading its
// data for longer than it may. It answers, but nobody is served.
func (s *State) loadsTooLong(o *observation) bool {
	limit := s.com.Config.RebootDownAfter
	if o.id != s.com.Master.Instance || limit == 0 || o.loading == never || !o.reply.Alive() {
		return false
	}
	if until := o.loading + limit; s.now < until {
		s.wake(until)
		return false
	}
	return true
}

func (s *State) loadsText() string {
	return "loading for " + s.com.Config.RebootDownAfter.String() + " (master-reboot-down-after-period)"
}

// streamRate above which a stream counts as carrying writes, in bytes per second.
// An idle master's pings are 14 bytes a second at the period that we set; a writer
// that comes by now and then must not make it count as loaded, because it is
// expected to be heard from again at once then.
const streamRate = 1000

// testify takes up an INFO of a replica as testimony about its master. follows tells
// whether it follows that one, since is when suspicion began, negative if there is none.
// A replica that was not heard between the beginning of a run and suspicion is a witness
// all the same if it has the stream of that run, which has an id of its own.
func (o *observation) testify(follows bool, l Lineage, at, since Time) {
	i := o.info
	if i == nil || i.Role != RoleReplica || !follows {
		o.streamed = ""
		return
	}
	if i.LinkUp && !i.Syncing && (since < 0 || i.ReplID == l.ReplID) {
		o.streamed = l.RunID
	}
	if since < 0 || at < since {
		o.recent[2], o.recent[1], o.recent[0] = o.recent[1], o.recent[0], sample{i.Offset, at}
		o.baseSet, o.advanced = false, false
		return
	}
	if !o.baseSet {
		o.wasLoaded = o.loaded(at)
		o.base, o.baseSet = sample{i.Offset, at}, true
		return
	}
	if i.Offset > o.base.offset {
		o.base, o.advanced = sample{i.Offset, at}, true
	}
}

// loaded reports whether the stream carried writes steadily before suspicion: between
// each two of the last samples.
func (o *observation) loaded(now Time) bool {
	if now-o.recent[0].at > 2*time.Second {
		return false
	}
	for i := range len(o.recent) - 1 {
		newer, older := o.recent[i], o.recent[i+1]
		if older.at == 0 || newer.at <= older.at || float64(newer.offset-older.offset)/(newer.at-older.at).Seconds() <= streamRate {
			return false
		}
	}
	return true
}

// witness is the testimony at a moment. pingPeriod is the master's
// repl-ping-replica-period: an idle master's stream is quiet for that long. A stream that
// carried writes may be called still sooner, as far as down-after leaves no more time:
// if the writers are cut off in the same moment as the watchers, that can be wrong.
func (o *observation) witness(masterRun string, pingPeriod, downAfter time.Duration) Witness {
	switch {
	case o.crashed:
		return WitnessNone
	case o.info == nil || o.streamed == "" || (masterRun != "" && o.streamed != masterRun):
		return WitnessNone
	case o.health == HealthDown || o.health == HealthSuspect || o.health == HealthUnknown:
		return WitnessUnknown
	case !o.baseSet:
		return WitnessUnknown
	case !o.info.LinkUp:
		return WitnessLost
	}
	quiet := pingPeriod + pingPeriod/10 + 50*time.Millisecond
	if o.wasLoaded && !o.advanced {
		quiet = max(pingPeriod/2, min(quiet, downAfter*55/100))
	}
	switch {
	case o.infoAt-o.base.at >= quiet:
		return WitnessStalled
	case o.advanced:
		return WitnessAdvancing
	}
	return WitnessUp
}
