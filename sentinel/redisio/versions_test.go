package redisio_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
)

var us = redisio.Credentials{User: "triwatch", Password: "pw"}

// rights waits for what a probe finds out.
func (r *rig) rights(from sentinel.Time) *sentinel.Rights {
	r.t.Helper()
	return r.until("rights", from, func(h heard) bool { return h.Rights != nil }).Rights
}

// each runs a test against every dialect.
func each(t *testing.T, f func(t *testing.T, p *player, r *rig)) {
	for _, d := range dialects() {
		t.Run(d.name, func(t *testing.T) {
			p, r := play(t, d), newRig(t)
			r.pool.SetCredentials("orders", us)
			f(t, p, r)
		})
	}
}

func lacks(r *sentinel.Rights) []string {
	var out []string
	for _, m := range r.Missing {
		text := m.Right.String()
		if m.Gone {
			text += " gone"
		}
		out = append(out, text)
	}
	return out
}

func TestWhoMayDoAllLacksNothingOnAnyVersion(t *testing.T) {
	each(t, func(t *testing.T, p *player, r *rig) {
		r.watch(playerTarget(p))
		got := r.rights(0)
		if len(got.Missing) != 0 || got.ReadOnly != sentinel.SettingOn || got.Unsure || got.User != "triwatch" {
			t.Errorf("found %+v", got)
		}
		found, err := redisio.Check(t.Context(), p.addr(), us, nil)
		if err != nil || len(found.Problems)+len(found.Warnings) != 0 {
			t.Errorf("check: %+v %v", found, err)
		}
	})
}

func TestEveryStepWorksOnAnyVersion(t *testing.T) {
	each(t, func(t *testing.T, p *player, r *rig) {
		do := func(op sentinel.Op, to sentinel.Addr) sentinel.Done {
			return r.pool.Do(t.Context(), sentinel.Do{ID: 1, Op: op, Master: "orders", Instance: "redis-0", Addr: p.addr(), To: to, Value: "1", Timeout: time.Second})
		}
		to := sentinel.Addr{Host: "10.0.0.7", Port: 6379}
		for _, step := range []struct {
			op     sentinel.Op
			role   sentinel.Role
			master sentinel.Addr
		}{
			{sentinel.OpSetPing, 0, sentinel.Addr{}}, {sentinel.OpPauseWrites, 0, sentinel.Addr{}},
			{sentinel.OpFence, sentinel.RoleReplica, sentinel.FenceAddr}, {sentinel.OpFence, sentinel.RoleReplica, sentinel.FenceAddr},
			{sentinel.OpUnfence, sentinel.RoleMaster, sentinel.Addr{}}, {sentinel.OpFence, sentinel.RoleReplica, sentinel.FenceAddr},
			{sentinel.OpReplicate, sentinel.RoleReplica, to}, {sentinel.OpReplicate, sentinel.RoleReplica, to},
			{sentinel.OpPromote, sentinel.RoleMaster, sentinel.Addr{}}, {sentinel.OpUnpause, 0, sentinel.Addr{}}, {sentinel.OpKillClients, 0, sentinel.Addr{}},
		} {
			done := do(step.op, to)
			if done.Result != sentinel.OutcomeOK {
				t.Fatalf("%s: %s %s", step.op, done.Result, done.Detail)
			}
			if step.role != 0 && (done.Info == nil || done.Info.Role != step.role || done.Info.Master != step.master) {
				t.Errorf("%s: %+v", step.op, done.Info)
			}
		}
	})
}

func TestWhatTheUserMayNotSendIsFoundOnAnyVersion(t *testing.T) {
	each(t, func(t *testing.T, p *player, r *rig) {
		p.denied = []string{"replicaof", "slaveof", "client|kill", "config|rewrite"}
		p.rules = "+@all -@dangerous +info +acl +command +client +client|pause +client|unpause +config|get +config|set"
		want := []string{"REPLICAOF", "CLIENT KILL", "CONFIG REWRITE"}
		if !p.d.subcommands { // its rules cannot allow less of a command than all
			p.denied = []string{"replicaof", "slaveof", "client|kill"}
			p.rules = "-@all +@pubsub +ping +info +acl +command +config +client|pause +client|unpause"
			want = want[:2]
		}
		r.watch(playerTarget(p))
		if got := r.rights(0); !slices.Equal(lacks(got), want) || got.Unsure {
			t.Errorf("lacks %v, unsure %t", lacks(got), got.Unsure)
		}
		found, err := redisio.Check(t.Context(), p.addr(), us, nil)
		if err != nil || len(found.Problems) != 1 || !strings.Contains(found.Problems[0], "user triwatch may not send REPLICAOF") {
			t.Errorf("check: %+v %v", found, err)
		}
		if !strings.Contains(strings.Join(found.Warnings, "\n"), "may not send CLIENT KILL") {
			t.Errorf("check warns of %q", found.Warnings)
		}
		done := r.pool.Do(t.Context(), sentinel.Do{ID: 1, Op: sentinel.OpFence, Master: "orders", Instance: "redis-0", Addr: p.addr()})
		if done.Result != sentinel.OutcomeRefused || !strings.HasPrefix(done.Detail, "NOPERM") {
			t.Errorf("fence: %s %s", done.Result, done.Detail)
		}
	})
}

func TestCommandsThatAreRenamedAwayAreFoundOnAnyVersion(t *testing.T) {
	each(t, func(t *testing.T, p *player, r *rig) {
		p.gone = []string{"replicaof", "slaveof", "client"}
		r.watch(playerTarget(p))
		want := []string{"REPLICAOF gone", "CLIENT KILL gone", "CLIENT PAUSE gone", "CLIENT UNPAUSE gone"}
		if got := r.rights(0); !slices.Equal(lacks(got), want) {
			t.Errorf("lacks %v", lacks(got))
		}
		done := r.pool.Do(t.Context(), sentinel.Do{ID: 1, Op: sentinel.OpPromote, Master: "orders", Instance: "redis-0", Addr: p.addr()})
		if done.Result != sentinel.OutcomeOK { // a master already: nothing is sent
			t.Errorf("promote: %s %s", done.Result, done.Detail)
		}
		done = r.pool.Do(t.Context(), sentinel.Do{ID: 2, Op: sentinel.OpFence, Master: "orders", Instance: "redis-0", Addr: p.addr()})
		if done.Result != sentinel.OutcomeRefused || !strings.HasPrefix(done.Detail, "ERR unknown command") {
			t.Errorf("fence: %s %s", done.Result, done.Detail)
		}
	})
}

func TestSlaveofDoesInThePlaceOfReplicaofOnAnyVersion(t *testing.T) {
	for _, gone := range []bool{true, false} {
		each(t, func(t *testing.T, p *player, r *rig) {
			if gone {
				p.gone = []string{"replicaof"}
			} else {
				p.denied, p.rules = []string{"replicaof"}, "+@all -replicaof"
			}
			r.watch(playerTarget(p))
			if got := r.rights(0); len(got.Missing) != 0 {
				t.Errorf("lacks %v", lacks(got))
			}
			done := r.pool.Do(t.Context(), sentinel.Do{ID: 1, Op: sentinel.OpFence, Master: "orders", Instance: "redis-0", Addr: p.addr()})
			if done.Result != sentinel.OutcomeOK || !done.Info.Fenced() {
				t.Errorf("fence: %s %s", done.Result, done.Detail)
			}
		})
	}
}

func TestWhoMayNotAskHasTheBenefitOfTheDoubtAndAsksOncePerConnection(t *testing.T) {
	each(t, func(t *testing.T, p *player, r *rig) {
		p.denied, p.rules = []string{"acl"}, "+@all -acl"
		p.gone = []string{"client"}
		r.watch(playerTarget(p))
		got := r.rights(0)
		if want := []string{"CLIENT KILL gone", "CLIENT PAUSE gone", "CLIENT UNPAUSE gone"}; !slices.Equal(lacks(got), want) || !got.Unsure {
			t.Errorf("lacks %v, unsure %t", lacks(got), got.Unsure)
		}
		n := p.asked("ACL ")
		from := r.now()
		r.pool.ProbeNow(sentinel.ProbeNow{Master: "orders", Instance: "redis-0", Rights: true})
		r.rights(from)
		if again := p.asked("ACL "); n == 0 || again != n {
			t.Errorf("asked %d times, then %d", n, again)
		}
		p.set(func() { p.denied = []string{"acl", "command", "config"} })
		from = r.now()
		r.pool.ProbeNow(sentinel.ProbeNow{Master: "orders", Instance: "redis-0", Rights: true})
		r.until("an answer to INFO", from, func(h heard) bool { return h.Info != nil && h.Asked >= from && h.Reply == sentinel.ReplyOK })
	})
}

func TestReplicaReadOnlyOfAMasterIsFoundOnAnyVersion(t *testing.T) {
	each(t, func(t *testing.T, p *player, r *rig) {
		p.readOnly = "no"
		r.watch(playerTarget(p))
		if got := r.rights(0); got.ReadOnly != sentinel.SettingOff {
			t.Errorf("found %+v", got)
		}
		found, err := redisio.Check(t.Context(), p.addr(), us, nil)
		if err != nil || len(found.Problems) != 1 || !strings.Contains(found.Problems[0], "replica-read-only is off") {
			t.Errorf("check: %+v %v", found, err)
		}
	})
}

func TestWhoIsBusyOrLoadingIsNotAskedWhatIsAllowed(t *testing.T) {
	for _, reply := range []string{"BUSY Redis is busy running a script.", "LOADING Redis is loading the dataset in memory"} {
		p, r := play(t, dialects()[1]), newRig(t)
		p.ping = reply
		r.watch(playerTarget(p))
		r.until("a second of answers", time.Second, func(h heard) bool { return h.Reply.Alive() })
		if n := p.asked("ACL ") + p.asked("COMMAND "); n != 0 {
			t.Errorf("%s: asked %d times", reply, n)
		}
		p.set(func() { p.ping = "" })
		r.rights(0)
	}
}

func TestAQuestionThatIsNotAnsweredDelaysNoSignOfLife(t *testing.T) {
	p, r := play(t, dialects()[1]), newRig(t)
	p.mute = "acl"
	tgt := playerTarget(p)
	r.watch(tgt)
	r.eventually("the question", func() (string, bool) { return "", p.asked("ACL ") > 0 })
	from := r.now()
	r.until("a second of answers", from+time.Second, func(h heard) bool { return h.Reply == sentinel.ReplyOK })
	last := from
	for _, h := range r.probes() {
		if h.at < from {
			continue
		}
		if h.Reply != sentinel.ReplyOK || h.Lost {
			t.Errorf("it was taken for ill: %v", h)
		}
		if gap := h.at - last; gap > 5*tgt.Ping {
			t.Errorf("nothing was heard for %v", gap)
		}
		last = h.at
	}
	if n := p.asked("ACL DRYRUN TRIWATCH REPLICAOF") + p.asked("ACL DRYRUN DEFAULT REPLICAOF"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestConnectionThatEndsWithinTheQuestionIsLost(t *testing.T) {
	p, r := play(t, dialects()[1]), newRig(t)
	p.mute = "acl"
	tgt := playerTarget(p)
	tgt.Ping = 5 * time.Second
	r.watch(tgt)
	r.eventually("the question", func() (string, bool) { return "", p.asked("ACL ") > 0 })
	from := r.now()
	p.stop()
	h := r.until("lost", from, func(h heard) bool { return h.Lost })
	if took := h.at - from; h.Reply != sentinel.ReplyRefused || took > time.Second {
		t.Errorf("after %v: %v", took, h)
	}
}
