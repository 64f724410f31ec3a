package raftsim

import (
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

// scene is a world without goroutines, in which a log is applied by hand.
type scene struct {
	*world
	regs  []*sentinel.Registry // by watcher
	index uint64
}

func newScene(t *testing.T) *scene {
	s := &scene{world: newWorld(setup{})}
	for range s.nodes {
		s.regs = append(s.regs, sentinel.NewRegistry())
	}
	s.commit(s.monitor())
	s.commit(sentinel.Command{Type: sentinel.CmdAdopt, Master: name, At: sentinel.Assignment{Instance: s.insts[0].id, Addr: s.insts[0].addr}})
	s.commit(s.plan(1, 1, sentinel.KindFailover))
	s.check.promoting(s.insts[1], s.proc(0), sentinel.Do{Epoch: 1}, false)
	s.check.replicating(s.insts[2], s.proc(0), sentinel.Do{To: s.insts[1].addr}, false)
	if s.bad != "" {
		t.Fatalf("what is right is called wrong: %s", s.bad)
	}
	return s
}

// plan begins one for the n-th instance.
func (s *scene) plan(e sentinel.Epoch, n int, kind sentinel.Kind) sentinel.Command {
	return sentinel.Command{Type: sentinel.CmdBegin, Master: name, Epoch: e, Plan: &sentinel.Plan{Epoch: e, Kind: kind,
		Old: sentinel.Assignment{Instance: s.insts[0].id, Addr: s.insts[0].addr}, New: s.assignment(e, n)}}
}

func (s *scene) assignment(e sentinel.Epoch, n int) sentinel.Assignment {
	return sentinel.Assignment{Epoch: e, Instance: s.insts[n].id, Addr: s.insts[n].addr}
}

func (s *scene) proc(n int) *process { return &process{n: s.nodes[n]} }

// commit applies an entry on every watcher.
func (s *scene) commit(c sentinel.Command) {
	s.index++
	for i := range s.nodes {
		s.apply(i, s.index, c)
	}
}

func (s *scene) apply(i int, index uint64, c sentinel.Command) {
	var before sentinel.Committed
	if m := s.regs[i].Masters[name]; m != nil {
		before = m.Clone()
	}
	res := s.regs[i].Apply(c)
	s.check.applied(s.nodes[i], index, c, res, before, s.regs[i])
}

// TestTheCheckerNotices breaks one invariant at a time.
func TestTheCheckerNotices(t *testing.T) {
	abort := sentinel.Command{Type: sentinel.CmdAbort, Master: name, Epoch: 1}
	for _, c := range []struct {
		what, says string
		do         func(s *scene)
	}{
		{"watchers with different states", "has another state", func(s *scene) {
			s.apply(0, 4, abort)
			s.apply(1, 4, sentinel.Command{Type: sentinel.CmdMembers, Master: name, Removed: []sentinel.InstanceID{s.insts[2].id}})
		}},
		{"an old entry that is new", "applied for the first time after", func(s *scene) { s.apply(0, 9, abort); s.apply(1, 8, abort) }},
		{"an epoch used twice", "was used after", func(s *scene) {
			s.commit(abort)
			for _, r := range s.regs {
				r.Masters[name].Last = 0
			}
			s.commit(s.plan(1, 2, sentinel.KindFailover))
		}},
		{"an epoch with two candidates", "it was begun for", func(s *scene) {
			s.regs[0].Masters[name].Plan.New = s.assignment(1, 2)
			s.check.restored(s.nodes[0], s.index, s.regs[0])
			s.bad = ""
			s.check.planned(s.nodes[0], s.regs[0].Masters[name])
		}},
		{"two open plans", "is open", func(s *scene) {
			before := s.regs[0].Masters[name].Clone()
			after := before.Clone()
			s.check.entry(s.nodes[0], 4, s.plan(2, 2, sentinel.KindFailover), sentinel.Result{Accepted: true}, before, &after)
		}},
		{"an epoch that shrinks", "went from", func(s *scene) {
			before := s.regs[0].Masters[name].Clone()
			before.Last = 7
			s.check.applied(s.nodes[0], 4, abort, sentinel.Result{}, before, s.regs[0])
		}},
		{"a snapshot of nothing", "which nobody has applied", func(s *scene) { s.check.restored(s.nodes[0], 77, s.regs[0]) }},
		{"two leaders of a term", "lead term 3", func(s *scene) { s.check.led(s.nodes[0], 3); s.check.led(s.nodes[1], 3) }},
		{"two masters told for an epoch", "another watcher served", func(s *scene) {
			s.check.serves(s.proc(0), s.assignment(1, 1))
			s.check.serves(s.proc(1), s.assignment(1, 2))
		}},
		{"an older master told", "serves epoch 0 after 1", func(s *scene) {
			p := s.proc(0)
			s.check.serves(p, s.assignment(1, 1))
			s.check.serves(p, s.assignment(0, 0))
		}},
		{"an order without a plan", "not committed", func(s *scene) { s.check.issued(s.proc(0), sentinel.Do{Epoch: 2}) }},
		{"a promotion without a plan", "no committed plan", func(s *scene) { s.check.promoting(s.insts[2], s.proc(0), sentinel.Do{}, false) }},
		{"a handover without a fence", "is not fenced", func(s *scene) {
			s.commit(abort)
			s.commit(s.plan(2, 1, sentinel.KindHandover))
			s.commit(sentinel.Command{Type: sentinel.CmdAdvance, Master: name, Epoch: 2, Phase: sentinel.PhasePromoting})
			s.insts[0].noOne()
			s.check.promoting(s.insts[1], s.proc(0), sentinel.Do{Epoch: 2}, false)
		}},
		{"writes given back in a failover", "gets its writes back", func(s *scene) { s.check.unfencing(s.insts[0], s.proc(0), false) }},
		{"somebody else followed", "is not the master", func(s *scene) {
			s.check.replicating(s.insts[1], s.proc(0), sentinel.Do{To: s.insts[2].addr}, false)
		}},
		{"data replaced by nothing", "is wiped", func(s *scene) { s.insts[2].keys = 5; s.check.wiped(s.insts[2], s.insts[1]) }},
		{"a router that is behind", "the router of", func(s *scene) {
			p := newProcess(s.nodes[0])
			p.router.Step(sentinel.Input{Event: sentinel.Applied{Index: 1, Command: s.monitor()}})
			s.check.agreed([]*process{p})
		}},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			s := newScene(t)
			c.do(s)
			if !strings.Contains(s.bad, c.says) {
				t.Errorf("%s: the checker says %q, not %q", c.what, s.bad, c.says)
			}
		})
	}
}
