package process

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/resp"
	"github.com/triwatch/triwatch/sentinel/runner"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
)

// resumeAim is how soon after its leader's death a plan is to be finished or undone;
// resumeLimit is what a slow machine keeps, too.
const (
	resumeAim   = 3 * time.Second
	resumeLimit = 15 * time.Second
)

// resumeRounds is how often each point is tried; more makes the medians worth more.
const resumeRounds = "TRIWATCH_RESUME_ROUNDS"

// TestLeaderKilledAtEveryStep kills the leader with SIGKILL at every point of every
// kind of plan; the next leader has to finish that plan, or to undo it.
func TestLeaderKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, w := range ways() {
		for _, p := range w.points {
			tried[p] = true
		}
	}
	for _, p := range runner.Points() {
		if why := unreached[p.Name]; tried[p.Name] == (why != "") {
			t.Errorf("point %s (%s): tried %v, reason not to try it %q", p.Name, p.Description, tried[p.Name], why)
		}
		delete(tried, p.Name)
	}
	delete(tried, resp.CrashAfterElection)
	delete(tried, resp.CrashAfterPromotion)
	for p := range tried {
		t.Errorf("there is no point %s", p)
	}
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv(resumeRounds), "1"))
	if err != nil {
		t.Fatalf("%s: %v", resumeRounds, err)
	}
	table := &resumeTable{}
	t.Cleanup(func() { t.Log(table) })
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := start(t, setup{})
				for range rounds { // everybody is there again after each
					for _, point := range w.points {
						if w.prepare != nil {
							w.prepare(r)
						}
						table.add(w.name, point, r.killAt(w, point))
						if w.lost() || w.prepare != nil {
							// A failover soon after another waits, which is not the subject here.
							r.pass(sentinel.DefaultMinInterval)
						}
					}
				}
			})
		})
	}
}

// passage is one plan whose leader dies at a point.
type passage struct {
	*rig
	way    way
	point  string
	leader *trio.Watcher
	old    *redisproc.Server // the master before
	chosen *redisproc.Server // who would be the candidate of a failover
	frozen *redisproc.Server // stopped by begin
	struck *redisproc.Server // killed when the leader died
	when   time.Time         // when that was
	wish   httpapi.Wish
	epoch  uint64 // the last one before
	logs   map[*redisproc.Server]int64
	cancel func() // ends the request
}

// lasted is what one passage took.
type lasted struct {
	ended time.Duration // from the leader's death to the plan's end
	gap   time.Duration // the longest time without an acknowledged write
	how   string
}

// killAt has the leader die at a point and sees to what comes of the plan.
func (r *rig) killAt(w way, point string) lasted {
	r.t.Helper()
	p := &passage{rig: r, way: w, point: point, leader: r.leader(), logs: map[*redisproc.Server]int64{}, cancel: func() {}}
	m := r.state(p.leader)
	p.old, p.epoch = r.at(m.Current.Address), p.last()
	for _, i := range m.Instances {
		if i.WouldBeChosen {
			p.chosen = r.at(i.Address)
		}
	}
	for _, s := range r.redis {
		p.logs[s] = p.logEnd(s)
	}
	p.arm()
	l := r.load(writer.Options{})
	end := make(chan time.Time, 1)
	gone := p.leader.Proc().Done()
	go func() { <-gone; end <- time.Now() }() // it may be gone before begin returns
	w.begin(p)
	var died time.Time
	select {
	case died = <-end:
	case <-time.After(waitLimit):
		r.t.Fatalf("%s: the leader %s never came by %s", w.name, p.leader.Name, point)
	}
	if w.strike != nil {
		w.strike(p)
	}
	master, ended := p.ended()
	p.cancel()
	took := lasted{ended: ended.Sub(died)}
	l.more(50) // nobody is left fenced or paused
	took.how = p.judge(master)
	// A candidate that was the master already when it was struck is a lost master.
	if w.kept && (p.struck == nil || took.how == "undone") {
		l.keptAll(master)
	} else {
		l.keptReplicated(master)
	}
	took.gap = l.result.LongestGap
	r.t.Logf("%s, leader killed %s: %s, %s after %s, no write for %s", w.name, point, took.how, master.Addr(), took.ended, took.gap)
	if took.ended > resumeLimit {
		r.t.Errorf("%s, leader killed %s: the plan was open for %s more", w.name, point, took.ended)
	}
	if w.mend != nil {
		w.mend(p)
	}
	if _, ended := p.leader.Proc().Exited(); ended {
		p.check(p.leader.Start())
	}
	r.steady(len(r.redis) - 1)
	p.agreed(master)
	return took
}

func (p *passage) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s, %s: %v", p.way.name, p.point, err)
	}
}

// ended waits until the surviving watchers agree on the master, see no open plan and
// have a leader, for long enough that nothing of the dead leader's is still on its
// way. It returns when that began.
func (p *passage) ended() (*redisproc.Server, time.Time) {
	p.t.Helper()
	const rest = 500 * time.Millisecond
	var since time.Time
	var was, now string
	p.wait("the plan's end", func() error {
		began := time.Now()
		var err error
		if now, err = p.outcome(); err != nil || now != was {
			was, since = now, began
			return cmp.Or(err, errors.New("just now "+now))
		}
		if time.Since(since) < rest {
			return errors.New("not for long: " + now)
		}
		return nil
	})
	return p.at(now[:strings.IndexByte(now, ' ')]), since
}

// outcome is what all surviving watchers say: the master's address and its epoch. They
// are asked for their own opinion, which never waits for a leader.
func (p *passage) outcome() (string, error) {
	said := ""
	for _, w := range p.running() {
		c := w.Client()
		m, err := c.Master(p.t.Context(), name).Result()
		c.Close() //nolint:errcheck // only read from
		if err != nil {
			return "", err
		}
		if strings.Contains(m["flags"], "failover_in_progress") {
			return "", errors.New(w.Name + " has an open plan")
		}
		one := m["ip"] + ":" + m["port"] + " epoch " + m["config-epoch"]
		if said != "" && said != one {
			return "", fmt.Errorf("%s says %s, another one %s", w.Name, one, said)
		}
		said = one
	}
	master := p.at(said[:strings.IndexByte(said, ' ')])
	switch {
	case master == nil:
		return "", errors.New("nobody knows " + said)
	case p.way.moves && master == p.old:
		return "", errors.New("the master is still " + said)
	case p.trio.Leader(p.t.Context()) == nil:
		return "", errors.New("nobody leads")
	}
	if err := p.has(master, "role", "master"); err != nil || !p.way.repairs {
		return said, err
	}
	var errs []error
	for _, s := range p.others(master) {
		errs = append(errs, p.has(s, "master_link_status", "up"))
	}
	return said, errors.Join(errs...)
}

// last is the last epoch of the history.
func (p *passage) last() uint64 {
	var out uint64
	for _, rec := range p.records() {
		out = max(out, rec.EpochNumber)
	}
	return out
}

// TestSimulatedFailureStrikesTheLeaderOnly arms a follower, who has nothing to carry
// out, and disarms the leader again, as HELP does in Sentinel.
func TestSimulatedFailureStrikesTheLeaderOnly(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		p := &passage{rig: r, leader: r.follower(), point: "before-fence"}
		p.arm()
		p.leader = r.leader()
		p.arm()
		if got := r.redisCLI(p.leader, "SENTINEL", "SIMULATE-FAILURE", "HELP"); got != "crash-after-election\ncrash-after-promotion" {
			t.Fatalf("SENTINEL SIMULATE-FAILURE HELP: %q", got)
		}
		old := r.redis[0]
		r.granted(p.leader, "handover", name)
		r.moved(old)
		r.settled("1")
		r.onlyPlan("handover", "1")
		if n := len(r.running()); n != len(r.trio.Watchers) {
			t.Fatalf("%d watchers run", n)
		}
		// Nobody strikes at a point that is not there.
		if got := r.redisCLI(p.leader, "SENTINEL", "SIMULATE-FAILURE", "before-breakfast"); got != "ERR Unknown failure simulation specified" {
			t.Fatalf("SENTINEL SIMULATE-FAILURE before-breakfast: %q", got)
		}
	})
}

// resumeTable collects what every passage took.
type resumeTable struct {
	mu   sync.Mutex
	keys []string
	all  map[string][]lasted
}

func (r *resumeTable) add(way, point string, l lasted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := fmt.Sprintf("%-28s %-24s", way, point)
	if r.all == nil {
		r.all = map[string][]lasted{}
	}
	if r.all[key] == nil {
		r.keys = append(r.keys, key)
	}
	r.all[key] = append(r.all[key], l)
}

// String is the table of medians.
func (r *resumeTable) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "leader killed at every step; plan finished or undone after, and longest time without an acknowledged write (medians):\n")
	late := 0
	slices.Sort(r.keys)
	for _, k := range r.keys {
		var ended, gap []time.Duration
		how := map[string]int{}
		for _, l := range r.all[k] {
			ended, gap = append(ended, l.ended), append(gap, l.gap)
			how[l.how]++
			if l.ended > resumeAim {
				late++
			}
		}
		slices.Sort(ended)
		slices.Sort(gap)
		fmt.Fprintf(&b, "%s %7s (worst %7s) %7s  %v\n", k, short(ended[len(ended)/2]), short(ended[len(ended)-1]), short(gap[len(gap)/2]), how)
	}
	fmt.Fprintf(&b, "later than %s: %d", resumeAim, late)
	return b.String()
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
