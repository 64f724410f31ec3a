package sentinel

import (
	"slices"
	"time"
)

// peer is what a leader knows of one watcher, itself included.
type peer struct {
	known  bool
	report Report
	// asked is when the leader sent the ask that the report answers.
	asked Time
	// fresh is the answer to the confirm round freshSeq, kept apart: the heartbeat's
	// answers come in between and say less.
	fresh    Report
	freshSeq uint64
}

// asks numbers the leader's questions and remembers when they were sent.
type asks struct {
	seq  uint64
	next Time
	sent [16]struct {
		seq uint64
		at  Time
	}
}

func (a *asks) add(seq uint64, at Time) {
	a.sent[seq%uint64(len(a.sent))] = struct {
		seq uint64
		at  Time
	}{seq, at}
}

func (a *asks) at(seq uint64) (Time, bool) {
	e := a.sent[seq%uint64(len(a.sent))]
	return e.at, e.seq == seq && seq != 0
}

// duty is a fresh answer that is owed to the leader.
type duty struct {
	seq   uint64
	asked Time
	until Time
}

// reportMark is what the last report said, as far as a change is worth another.
type reportMark struct {
	epoch Epoch
	sum   uint64
}

// heartbeat is the time between two asks while all is well.
func (s *State) heartbeat() time.Duration {
	if s.suspect >= 0 || s.com.Plan != nil {
		return min(s.com.Config.DownAfter/10, 100*time.Millisecond)
	}
	return time.Second
}

// askAll sends the leader's heartbeat.
func (s *State) askAll() {
	if next := s.asks.next; s.asks.seq != 0 && s.now < next && next-s.now <= s.heartbeat() {
		s.wake(next)
		return
	}
	s.ask(false)
}

// ask sends a question to all other watchers. The number carries the term, so
// that no two leaders use the same.
func (s *State) ask(fresh bool) uint64 {
	if s.asks.seq == 0 {
		s.asks.seq = s.lead.term << 32
	}
	s.asks.seq++
	s.asks.add(s.asks.seq, s.now)
	// On a common grid, so that the asks about many masters share a frame.
	hb := s.heartbeat()
	s.asks.next = (s.now/hb + 1) * hb
	s.wake(s.asks.next)
	s.lastSeq = s.asks.seq
	s.act(SendAsk{Ask{Master: s.com.Name, Seq: s.asks.seq, Fresh: fresh, Suspect: s.suspect >= 0 && s.now >= s.askedToSuspect}})
	return s.asks.seq
}

func (s *State) takeAsk(a PeerAsk) {
	s.lastSeq = a.Ask.Seq
	if a.Ask.Suspect {
		s.askedToSuspect = s.now + s.com.Config.DownAfter/2
	}
	if a.Ask.Fresh {
		s.owe(a.Ask.Seq)
		return
	}
	s.act(SendReport{s.report(false)})
}

// owe starts the probes for a fresh answer.
func (s *State) owe(seq uint64) {
	s.duty = &duty{seq: seq, asked: s.now, until: s.now + s.com.Config.confirm()}
	s.act(ProbeNow{Master: s.com.Name, Instance: s.com.Master.Instance, Redial: true})
	s.probeWitnesses()
}

// fulfil sends the fresh answer when every probe is in, or its time is up.
func (s *State) fulfil() {
	d := s.duty
	if d == nil {
		return
	}
	if !s.fresh(d) && s.now < d.until {
		s.wake(d.until)
		return
	}
	s.duty = nil
	r := s.report(true)
	r.Seq = d.seq
	if s.lead.on {
		s.takeReport(PeerReport{From: s.me, Report: r})
		return
	}
	s.act(SendReport{r})
}

// fresh reports whether everybody who can be expected to answer has done so
// since the duty began.
func (s *State) fresh(d *duty) bool {
	m := s.master()
	if m == nil || m.probed < d.asked || m.reply == ReplyTimeout {
		return false
	}
	for id, o := range s.obs {
		if id == s.com.Master.Instance || o.health != HealthUp {
			continue
		}
		// One that refuses INFO has nothing to add.
		if o.probed < d.asked || (o.reply.Usable() && o.infoAt < d.asked) {
			return false
		}
	}
	return true
}

// report says what this watcher holds to be true.
func (s *State) report(fresh bool) Report {
	r := Report{Master: s.com.Name, Epoch: s.com.Master.Epoch, Addr: s.com.Master.Addr, Seq: s.lastSeq, Fresh: fresh}
	r.Instances = make([]InstanceReport, 0, len(s.com.Members))
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if o == nil {
			continue
		}
		i := InstanceReport{ID: m.ID, Addr: m.Addr, Health: o.health, Reply: o.reply, Silent: o.silent(s.now)}
		if o.info != nil {
			i.RunID, i.Role, i.Offset = o.info.RunID, o.info.Role, o.info.Offset
		}
		if m.ID != s.com.Master.Instance {
			i.Witness = o.witness(s.masterRun(), s.pingPeriod(), s.com.Config.DownAfter)
		}
		r.Instances = append(r.Instances, i)
	}
	return r
}

// reportChange tells the leader when an opinion changed. Offsets and times alone
// are not worth a message; the heartbeat carries them.
func (s *State) reportChange() {
	mark := reportMark{epoch: s.com.Master.Epoch, sum: 1469598103}
	mix := func(n uint64) { mark.sum = (mark.sum ^ n) * 1099511628211 }
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if o == nil {
			continue
		}
		mix(uint64(o.health))
		mix(uint64(o.reply))
		if o.info != nil { // another run, or another role, is news
			mix(uint64(o.info.Role))
			for i := range len(o.info.RunID) {
				mix(uint64(o.info.RunID[i]))
			}
		}
		if m.ID != s.com.Master.Instance && s.suspect >= 0 {
			mix(uint64(o.witness(s.masterRun(), s.pingPeriod(), s.com.Config.DownAfter)))
		}
	}
	if mark == s.reported {
		return
	}
	s.reported = mark
	if !s.lead.on && s.lastSeq != 0 {
		s.act(SendReport{s.report(false)})
	}
}

func (s *State) takeReport(r PeerReport) {
	if !s.lead.on || !slices.Contains(s.voters, r.From) {
		return
	}
	at, ok := s.asks.at(r.Report.Seq)
	if !ok || r.Report.Epoch != s.com.Master.Epoch || !r.Report.Addr.Same(s.com.Master.Addr) {
		return
	}
	p := s.peers[r.From]
	if p == nil {
		p = &peer{}
		s.peers[r.From] = p
	}
	// What comes after the fresh answer is newer, and therefore as fresh.
	if s.round != nil && r.Report.Seq >= s.round.seq && (p.freshSeq == s.round.seq || r.Report.Fresh && r.Report.Seq == s.round.seq) {
		p.fresh, p.freshSeq = r.Report, s.round.seq
	}
	p.known, p.report, p.asked = true, r.Report, at
}

// current reports whether a watcher's report may be counted: not older than
// three heartbeats, counted from when the leader asked.
func (s *State) current(p *peer) bool {
	return p.known && p.report.Epoch == s.com.Master.Epoch && s.now-p.asked <= 3*max(s.heartbeat(), 500*time.Millisecond)
}

// evidence counts reports. only restricts it to fresh answers to that ask, 0 does not.
func (s *State) evidence(only uint64) Evidence {
	e := Evidence{Voters: len(s.voters), Needed: Needed(len(s.voters), s.com.Config.Quorum), PingPeriod: s.pingPeriod()}
	witness := map[InstanceID]Witness{}
	anew := 0
	for _, id := range s.voters {
		r, ok := s.reportOf(id, only)
		if !ok {
			continue
		}
		for _, i := range r.Instances {
			if i.ID == s.com.Master.Instance {
				e.count(i, s.com.Config)
				if i.RunID != "" && i.RunID != s.masterRun() && i.Health == HealthUp {
					anew++
				}
				continue
			}
			if w, ok := witness[i.ID]; ok {
				i.Witness = stronger(w, i.Witness)
			}
			witness[i.ID] = i.Witness
		}
	}
	for _, w := range witness {
		e.hear(w)
	}
	if s.lead.downSince >= 0 {
		e.Down = s.now - s.lead.downSince
	}
	e.Back = anew >= e.Needed && s.backWithLess()
	if o := s.master(); o != nil && s.loadsTooLong(o) {
		e.Loading = s.com.Config.RebootDownAfter
	}
	e.LossTooHigh = s.estimate(nil) > s.com.Config.MaxLoss
	return e
}

// reportOf returns a watcher's report; this watcher's own is made on the spot
// unless a fresh one is wanted.
func (s *State) reportOf(id WatcherID, only uint64) (Report, bool) {
	p := s.peers[id]
	if only != 0 {
		if p == nil || p.freshSeq != only {
			return Report{}, false
		}
		return p.fresh, true
	}
	if id == s.me {
		return s.report(false), true
	}
	return reportIf(p, p != nil && s.current(p))
}

func reportIf(p *peer, ok bool) (Report, bool) {
	if !ok {
		return Report{}, false
	}
	return p.report, true
}

func (e *Evidence) count(i InstanceReport, cfg Config) {
	switch {
	case i.Health == HealthCrashed:
		e.Crashed++
		if i.Silent >= cfg.DownAfter {
			e.Silent++
		}
	case i.Health == HealthDown:
		e.Silent++
	case i.Health == HealthUp:
		e.Alive++
	}
}

func (e *Evidence) hear(w Witness) {
	switch w {
	case WitnessAdvancing:
		e.Advancing++
		e.Up++
	case WitnessStalled:
		e.Stalled++
		e.Up++
	case WitnessLost:
		e.Lost++
	case WitnessUp:
		e.Unknown++
		e.Up++
	case WitnessUnknown:
		e.Unknown++
	case WitnessNone:
	}
}

// stronger joins the testimony of one replica as two watchers heard it: who saw
// it advance is right, then who saw its link go, then who saw it stand still.
func stronger(a, b Witness) Witness {
	if b.weight() > a.weight() {
		return b
	}
	return a
}

func (w Witness) weight() int {
	switch w {
	case WitnessAdvancing:
		return 5
	case WitnessLost:
		return 4
	case WitnessStalled:
		return 3
	case WitnessUp:
		return 2
	case WitnessUnknown:
		return 1
	case WitnessNone:
		return 0
	}
	return 0
}
