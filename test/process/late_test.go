package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
)

// late is a command of a leader that is stopped before it is sent, and goes on when
// others have moved the master twice.
type late struct {
	point string
	// begin sets the plan off at whose step the leader stops.
	begin func(ctx context.Context, r *rig, leader *trio.Watcher)
	// undone is set if the plan is undone, not finished, by the others.
	undone bool
	// back moves the master back to the one that the command is for, else it is moved on.
	back bool
	// lands is set if it is sent all the same.
	lands bool
}

func lates() map[string]late {
	kill := func(_ context.Context, r *rig, _ *trio.Watcher) { r.redis[0].Kill() }
	handOver := func(ctx context.Context, r *rig, l *trio.Watcher) { r.askLater(ctx, l) }
	return map[string]late{
		"promote":                   {point: "sending-promote", begin: kill, lands: true},
		"promote, held back":        {point: "before-promote", begin: kill},
		"replicate":                 {point: "sending-replicate", begin: kill, lands: true},
		"fence of a replica":        {point: "sending-fence", begin: handOver, lands: true},
		"fence of the master":       {point: "sending-fence", begin: handOver, lands: true, back: true},
		"fence of the master, held": {point: "before-fence", begin: handOver, back: true},
		"writes given back":         {point: "sending-unfence", undone: true, lands: true},
		"writes given back, held":   {point: "before-unfence", undone: true},
	}
}

// TestLateCommandOfADeposedLeaderDoesNoHarm holds the leader up between the proof that
// it leads and a write, until another leader has finished the plan and made another
// master: what it then sends must leave one master, all data, and the same epochs.
func TestLateCommandOfADeposedLeaderDoesNoHarm(t *testing.T) {
	for what, c := range lates() {
		t.Run(strings.ReplaceAll(what, " ", "_"), func(t *testing.T) {
			scenario(t, func(t *T) { start(t, setup{}).heldUp(c) })
		})
	}
}

func (r *rig) heldUp(c late) {
	leader, old := r.leader(), r.redis[0]
	r.armWith(leader, "stop-"+c.point)
	all := r.trio.Watchers
	defer func() {
		leader.Proc().Signal(syscall.SIGCONT) //nolint:errcheck // it may run
		r.trio.Watchers = all
	}()
	var frozen *redisproc.Server
	if c.undone {
		for _, i := range r.state(leader).Instances {
			if i.WouldBeChosen {
				frozen = r.at(i.Address)
			}
		}
		if err := frozen.Freeze(); err != nil {
			r.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	if frozen == nil {
		c.begin(ctx, r, leader)
	} else { // the one that does not catch up
		go r.cli(leader, "handover", name, "--to", frozen.Addr())
	}
	r.wait("the leader stops", func() error {
		if !leader.Proc().Stopped() {
			return errors.New("it runs")
		}
		return nil
	})
	r.trio.Watchers = slices.DeleteFunc(slices.Clone(all), func(w *trio.Watcher) bool { return w == leader })
	if frozen != nil {
		if err := frozen.Thaw(); err != nil {
			r.t.Fatal(err)
		}
	}
	master := r.without(c, old)
	l := r.load(writer.Options{})
	before := r.lastEpoch()
	cancel() // nobody asks the leader again
	if err := leader.Proc().Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
	r.trio.Watchers = all
	r.wait("what was held up is sent, or is not", func() error {
		_, after, _ := strings.Cut(leader.Tail(400), "this watcher stops itself")
		want := map[bool]string{true: "redis write\t", false: "redis write not sent"}[c.lands]
		for line := range strings.Lines(after) {
			if strings.Contains(line, want) && strings.Contains(line, c.point[strings.IndexByte(c.point, '-')+1:]) {
				r.t.Logf("late: %s", strings.TrimSpace(line))
				return nil
			}
		}
		return fmt.Errorf("the watcher does not say %q", want)
	})
	l.more(300)
	r.pass(1500 * time.Millisecond) // what lands late is set right, and stays so
	r.one(master, before)
	l.keptAll(master)
}

// without is what the others do meanwhile: they end the plan, and move the master once
// more, to another than the plan named.
func (r *rig) without(c late, old *redisproc.Server) *redisproc.Server {
	r.t.Helper()
	next := old
	if c.undone {
		r.wait("the handover is undone", func() error {
			for _, rec := range r.records() {
				if rec.Kind == "aborted" {
					return r.has(old, "role", "master")
				}
			}
			return errors.New("it is not")
		})
	} else {
		next = r.moved(old)
		r.settled("1")
	}
	r.wait("all who live follow", func() error { return r.allFollow(next) })
	var to *redisproc.Server
	for _, s := range r.others(next) {
		if s.Running() && (to == nil || c.back && s == old) {
			to = s
		}
	}
	r.granted(r.leader(), "handover", name, "--to", to.Addr())
	r.wait(to.Addr()+" is master, all follow", func() error { return r.allFollow(to) })
	r.settled("2")
	return to
}

// allFollow returns an error unless one server is a master and all others that run
// follow it.
func (r *rig) allFollow(master *redisproc.Server) error {
	err := r.has(master, "role", "master")
	for _, s := range r.followersLeft(master) {
		err = errors.Join(err, r.has(s, "role", "slave"), r.has(s, "master_port", fmt.Sprint(master.Port())), r.has(s, "master_link_status", "up"))
	}
	return err
}

func (r *rig) followersLeft(master *redisproc.Server) []*redisproc.Server {
	return slices.DeleteFunc(r.others(master), func(s *redisproc.Server) bool { return !s.Running() })
}

// one waits until all watchers tell the same master and epoch as before, and it is the
// only one.
func (r *rig) one(master *redisproc.Server, epoch uint64) {
	r.t.Helper()
	r.wait("one master, the same as before", func() error {
		for _, w := range r.running() {
			m, _, err := w.Master(r.t.Context(), name)
			if err != nil {
				return err
			}
			if m.Current.Address != master.Addr() || m.EpochNumber != epoch || m.Plan != nil {
				return fmt.Errorf("%s tells %s of epoch %s, plan %+v; it was %s of %d", w.Name, m.Current.Address, m.Epoch, m.Plan, master.Addr(), epoch)
			}
		}
		return r.allFollow(master)
	})
}

func (r *rig) lastEpoch() uint64 { return r.state(r.leader()).EpochNumber }

// armWith has a watcher do what SENTINEL SIMULATE-FAILURE calls a word.
func (r *rig) armWith(w *trio.Watcher, word string) {
	r.t.Helper()
	c := w.Client()
	defer c.Close() //nolint:errcheck // nothing is pending
	cmd := redis.NewStatusCmd(r.t.Context(), "SENTINEL", "SIMULATE-FAILURE", word)
	if err := c.Process(r.t.Context(), cmd); err != nil || cmd.Val() != "OK" {
		r.t.Fatalf("SENTINEL SIMULATE-FAILURE %s: %q %v", word, cmd.Val(), err)
	}
}

// askLater asks for a handover again and again until the leader does not answer any
// more; nobody waits for its answer.
func (r *rig) askLater(ctx context.Context, w *trio.Watcher) {
	r.t.Helper()
	c := w.Client()
	r.t.Cleanup(func() { c.Close() }) //nolint:errcheck // the answer may still be awaited
	done := make(chan struct{})
	r.t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil && !w.Proc().Stopped() {
			c.Process(ctx, redis.NewStatusCmd(ctx, "SENTINEL", "FAILOVER", name)) //nolint:errcheck // asked again
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()
}
