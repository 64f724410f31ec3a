package process

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/redisproc"
)

// arm has the leader kill itself at the point.
func (p *passage) arm() {
	p.t.Helper()
	c := p.leader.Client()
	defer c.Close() //nolint:errcheck // nothing is pending
	cmd := redis.NewStatusCmd(p.t.Context(), "SENTINEL", "SIMULATE-FAILURE", p.point)
	p.check(c.Process(p.t.Context(), cmd))
	if cmd.Val() != "OK" {
		p.t.Fatalf("SENTINEL SIMULATE-FAILURE %s: %q", p.point, cmd.Val())
	}
}

// judge looks at what was done: one new master for an epoch, each made once, the old
// one fenced before. It returns how the plan ended, in a word.
func (p *passage) judge(master *redisproc.Server) string {
	p.t.Helper()
	h, err := p.rig.leader().History(p.t.Context(), name)
	p.check(err)
	made := map[string]int{} // by address: how often the records say that it was made master
	undone, how := 0, "nothing begun"
	next := p.epoch
	for _, rec := range slices.Backward(h) {
		if rec.EpochNumber <= p.epoch || rec.Kind == "held" {
			continue
		}
		if next++; rec.EpochNumber != next {
			p.t.Errorf("%s, %s: epoch %d follows %d: %+v", p.way.name, p.point, rec.EpochNumber, next-1, rec)
		}
		switch rec.Kind {
		case "failover", "handover":
			made[rec.To.Address]++
			how = rec.Kind + " finished"
			if rec.Kind == "handover" && !rec.Fenced {
				p.t.Errorf("%s, %s: not fenced: %+v", p.way.name, p.point, rec)
			}
		case "aborted":
			undone++
			how = "undone"
		default:
			p.t.Errorf("%s, %s: history has %+v", p.way.name, p.point, rec)
		}
	}
	if next > p.epoch+1 {
		how = fmt.Sprintf("%d plans, %s", next-p.epoch, how)
	}
	if none := p.way.repairs || p.point == "before-propose-begin" && p.way.kept; none != (next == p.epoch) {
		p.t.Errorf("%s, %s: history has %d plans: %s", p.way.name, p.point, next-p.epoch, how)
	}
	p.promotions(made, undone)
	if want := made[master.Addr()] > 0; want != (master != p.old) {
		p.t.Errorf("%s, %s: %s is master, history says %v", p.way.name, p.point, master.Addr(), made)
	}
	return how
}

// promotions compares what the history says with what every Redis says that it did.
func (p *passage) promotions(made map[string]int, undone int) {
	p.t.Helper()
	var all []change
	for _, s := range p.redis {
		all = append(all, p.changes(s)...)
	}
	if p.struck != nil {
		all = append(all, change{p.when, p.struck, toNothing})
	}
	slices.SortStableFunc(all, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), int(a.to)-int(b.to)) })
	count := map[*redisproc.Server]int{}
	writable := map[*redisproc.Server]bool{}
	if !p.way.lost() {
		writable[p.old] = true
	}
	for _, c := range all {
		delete(writable, c.server)
		if c.to != toMaster {
			continue
		}
		count[c.server]++
		if writable[c.server] = true; len(writable) > 1 {
			p.t.Errorf("%s, %s: two masters at a time: %v", p.way.name, p.point, all)
		}
	}
	for _, s := range p.redis {
		want := made[s.Addr()]
		if (s == p.old || s == p.struck) && count[s] <= want+undone {
			continue // it got its writes back, or died as a master that nobody was told of
		}
		if count[s] != want {
			p.t.Errorf("%s, %s: %s was made master %d times, the history says %d: %v", p.way.name, p.point, s.Addr(), count[s], want, all)
		}
	}
}

// role is what a Redis was made.
type role int

const (
	toNothing role = iota
	toFenced
	toReplica
	toMaster
)

// change is one line of a Redis' log.
type change struct {
	at     time.Time
	server *redisproc.Server
	to     role
}

func (c change) String() string {
	return fmt.Sprintf("%s %s %s", c.at.Format("05.000"), c.server.Addr(), [...]string{"killed", "fenced", "replica", "master"}[c.to])
}

// changes are the roles that a Redis was given since the passage began. It writes down
// every command that changed something, to the millisecond.
func (p *passage) changes(s *redisproc.Server) []change {
	p.t.Helper()
	b, err := os.ReadFile(s.LogFile())
	p.check(err)
	var out []change
	for line := range strings.Lines(string(b[p.logs[s]:])) {
		to := toMaster
		switch {
		case strings.Contains(line, "REPLICAOF 127.0.0.1:0 enabled"):
			to = toFenced
		case strings.Contains(line, "REPLICAOF ") && strings.Contains(line, " enabled"):
			to = toReplica
		case !strings.Contains(line, "MASTER MODE enabled"):
			continue
		}
		f := strings.Fields(line) // 123:M 23 Nov 2026 06:39:04.963 * ...
		if len(f) < 5 {
			p.t.Fatalf("the log of redis has %q", line)
		}
		at, err := time.ParseInLocation("2 Jan 2006 15:04:05.000", strings.Join(f[1:5], " "), time.Local)
		p.check(err)
		out = append(out, change{at, s, to})
	}
	return out
}

func (p *passage) logEnd(s *redisproc.Server) int64 {
	p.t.Helper()
	st, err := os.Stat(s.LogFile())
	p.check(err)
	return st.Size()
}

// agreed checks that everybody, the watcher that is back among them, still says the
// same once all is well again.
func (p *passage) agreed(master *redisproc.Server) {
	p.t.Helper()
	p.wait("all watchers agree", func() error {
		for _, w := range p.running() {
			a, err := w.MasterAddr(p.t.Context(), name)
			if err != nil {
				return err
			}
			if a != master.Addr() {
				return fmt.Errorf("%s says %s, it was %s", w.Name, a, master.Addr())
			}
		}
		if len(p.running()) != len(p.trio.Watchers) {
			return errors.New("not all run")
		}
		return nil
	})
	for _, s := range p.others(master) {
		p.follows(s, master)
	}
}
