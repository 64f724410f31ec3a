package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/sentinel/resp"
	"github.com/triwatch/triwatch/test/redisproc"
)

// unreached are the points that no configuration of a process leads to, and why.
var unreached = map[string]string{
	"before-pause-writes": "no directive switches pausing on", "after-pause-writes": "no directive switches pausing on",
	"before-unpause": "no directive switches pausing on", "after-unpause": "no directive switches pausing on",
}

// way is one way of a plan, and the points that it comes by.
type way struct {
	name   string
	points []string
	// prepare comes before the leader is armed; nil is nothing.
	prepare func(*rig)
	// begin sets it off. The leader that is asked may be gone before it answers.
	begin func(*passage)
	// strike is what happens besides, as soon as the leader is dead; nil is nothing.
	strike func(*passage)
	// mend lets everybody live again afterwards; nil if all do.
	mend func(*passage)
	// moves is set if the master is another one afterwards, however early the leader
	// dies; kept if no acknowledged write may be missing; repairs if no plan is needed.
	moves, kept, repairs bool
}

// lost reports whether the master is lost at the beginning.
func (w way) lost() bool { return w.moves && !w.kept }

// both are the points before and after each step.
func both(steps ...string) []string {
	var out []string
	for _, s := range steps {
		if proposal, ok := strings.CutPrefix(s, "propose-"); ok {
			out = append(out, "before-"+s, "after-commit-"+proposal)
			continue
		}
		out = append(out, "before-"+s, "after-"+s)
	}
	return out
}

func ways() []way {
	kill, revive := func(p *passage) { p.old.Kill() }, func(p *passage) { p.revive(p.old) }
	return []way{
		{name: "failover", moves: true, begin: kill, mend: revive, points: both("propose-begin", "promote")},
		{name: "failover past the promotion", moves: true, begin: kill, mend: revive, points: both("replicate", "propose-promoted", "propose-done")},
		{name: "failover of a frozen master", moves: true, begin: func(p *passage) { p.check(p.old.Freeze()) },
			mend: func(p *passage) { p.check(p.old.Thaw()) }, points: []string{"before-fence", resp.CrashAfterElection, resp.CrashAfterPromotion}},
		{name: "handover", kept: true, begin: func(p *passage) { p.handOver() },
			points: both("propose-begin", "fence", "await", "propose-promoting", "promote")},
		{name: "handover past the promotion", moves: true, kept: true, begin: func(p *passage) { p.handOver() },
			points: both("propose-promoted", "replicate", "kill-clients", "propose-done")},
		{name: "handover that is undone", kept: true, mend: func(p *passage) { p.check(p.frozen.Thaw()) },
			begin:  func(p *passage) { p.frozen = p.others(p.old)[0]; p.handOver() },
			points: append(both("propose-abort", "unfence"), "after-fence")},
		{name: "handover whose candidate dies", kept: true, begin: func(p *passage) { p.wish.To = p.others(p.old)[0].Addr(); p.handOver() },
			strike: (*passage).killCandidate, mend: func(p *passage) { p.revive(p.struck) },
			points: []string{"after-fence", "before-promote", "after-promote"}},
		{name: "failover whose candidate dies", moves: true, prepare: (*rig).preferOne, begin: kill, strike: (*passage).killCandidate,
			mend: func(p *passage) { p.revive(p.old); p.revive(p.struck) }, points: []string{"before-promote", "after-promote", "before-propose-promoted"}},
		{name: "handover whose watchers all die", kept: true, begin: func(p *passage) { p.handOver() }, strike: (*passage).restartAll,
			points: []string{"after-fence", "before-promote", "after-promote", "after-commit-promoted"}},
		{name: "old master comes back", kept: true, repairs: true, prepare: (*rig).loseFirst,
			begin: func(p *passage) { p.revive(p.redis[0]) }, points: both("fence", "replicate", "kill-clients")},
	}
}

// preferOne gives one replica another priority than the rest, so that it is known who
// will be the candidate.
func (r *rig) preferOne() {
	r.t.Helper()
	var best *redisproc.Server
	for _, i := range r.state(r.leader()).Instances {
		if !i.Master && best == nil {
			best = r.at(i.Address)
		}
	}
	for _, s := range r.redis {
		priority := "100"
		if s == best {
			priority = "10"
		}
		r.do(s, "CONFIG", "SET", "replica-priority", priority)
	}
	r.wait(best.Addr()+" is preferred", func() error {
		for _, i := range r.state(r.leader()).Instances {
			if i.WouldBeChosen && r.at(i.Address) == best && i.Priority == 10 {
				return nil
			}
		}
		return errors.New("it would not be chosen")
	})
}

// loseFirst has the first Redis, which is a master by its command line, be the master
// and die, and waits until another one is in its place.
func (r *rig) loseFirst() {
	r.t.Helper()
	first := r.redis[0]
	if r.has(first, "role", "master") != nil {
		r.granted(r.leader(), "handover", name, "--to", first.Addr())
		r.steady(len(r.redis) - 1)
	}
	first.Kill()
	next := r.moved(first)
	for _, s := range r.others(first) {
		if s != next {
			r.follows(s, next)
		}
	}
	r.wait("no open plan", func() error {
		for _, w := range r.running() {
			if m := r.state(w); m.Plan != nil {
				return errors.New(w.Name + " shows a plan")
			}
		}
		return nil
	})
}

// killCandidate takes away the one that the plan is about.
func (p *passage) killCandidate() {
	if p.struck = p.at(p.wish.To); p.struck == nil {
		p.struck = p.chosen
	}
	p.struck.Kill()
	p.when = time.Now()
}

// restartAll is a power failure of all watchers: the plan is on their disks only.
func (p *passage) restartAll() {
	for _, w := range p.running() {
		w.Kill()
	}
	for _, w := range p.trio.Watchers {
		p.check(w.Start())
	}
}

// revive starts a killed Redis as it was started first, with nothing in it but what it
// gets from its master.
func (p *passage) revive(s *redisproc.Server) {
	p.t.Helper()
	p.check(s.Restart(p.t.Context(), redisproc.RestartOptions{}))
}

// handOver asks the leader for a handover over HTTP, again while it does not know yet
// who is attached, and until it is gone. To one that is frozen it is asked for while
// nobody knows that it is.
func (p *passage) handOver() {
	stop, goOn := func() error { return nil }, func() error { return nil }
	if p.frozen != nil {
		p.wish.To, stop, goOn = p.frozen.Addr(), p.frozen.Freeze, p.frozen.Thaw
	}
	body, err := json.Marshal(p.wish)
	p.check(err)
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan struct{})
	p.cancel = func() { cancel(); <-done }
	p.t.Cleanup(p.cancel)
	p.check(stop())
	go func() {
		defer close(done)
		for {
			why, again := p.post(ctx, body)
			if !again {
				p.t.Logf("the leader %s", why)
				return
			}
			err := goOn()
			select {
			case <-ctx.Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
			if err = errors.Join(err, stop()); err != nil {
				p.t.Error(err)
				return
			}
		}
	}()
}

// post sends one request and says whether it is to be sent again.
func (p *passage) post(ctx context.Context, body []byte) (why string, again bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.leader.HTTP()+"/v1/masters/"+name+"/handover", bytes.NewReader(body))
	if err != nil {
		return err.Error(), false
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "did not answer: " + err.Error(), false
	}
	defer res.Body.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(res.Body)
	return fmt.Sprintf("answered %s %s %v", res.Status, text, err), strings.Contains(string(text), httpapi.CodeNoReplica) || strings.Contains(string(text), httpapi.CodeNotLeader)
}
