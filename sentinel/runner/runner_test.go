package runner

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// rig is one runner with adapters that remember what they were asked. It lives in
// a synctest bubble: waiting costs nothing and is exact.
type rig struct {
	*Runner
	mu       sync.Mutex
	did      []sentinel.Do
	watched  []sentinel.Watch
	proposed []sentinel.Command
	frames   map[sentinel.WatcherID][]string
	events   []sentinel.Event
	leader   sentinel.WatcherID
	index    uint64

	verifyErr error
	verifies  int
	outcome   sentinel.Outcome
	doing     func(context.Context, sentinel.Do) sentinel.Done
}

func newRig(t *testing.T) *rig {
	r := &rig{frames: map[sentinel.WatcherID][]string{}, outcome: sentinel.OutcomeOK}
	start := time.Now()
	r.Runner = New(Options{Redis: r, Cluster: r, Logger: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)),
		Clock:  func() sentinel.Time { return time.Since(start) },
		Events: func(e sentinel.Event) { r.mu.Lock(); r.events = append(r.events, e); r.mu.Unlock() }})
	r.Start()
	return r
}

func (r *rig) Watch(w sentinel.Watch) { r.mu.Lock(); r.watched = append(r.watched, w); r.mu.Unlock() }

func (r *rig) ProbeNow(sentinel.ProbeNow) {}

func (r *rig) Do(ctx context.Context, d sentinel.Do) sentinel.Done {
	r.mu.Lock()
	r.did = append(r.did, d)
	f := r.doing
	r.mu.Unlock()
	if f != nil {
		return f(ctx, d)
	}
	return sentinel.Done{Result: sentinel.OutcomeFailed, Detail: "made to fail"}
}

func (r *rig) Propose(_ context.Context, b []byte) (sentinel.Outcome, error) {
	c, err := sentinel.DecodeCommand(b)
	if err != nil {
		return sentinel.OutcomeFailed, err
	}
	r.mu.Lock()
	r.proposed = append(r.proposed, c)
	r.index++
	i, out := r.index, r.outcome
	r.mu.Unlock()
	if out != sentinel.OutcomeOK {
		return out, errors.New("made to fail")
	}
	r.Applied(i, c)
	return out, nil
}

func (r *rig) Verify(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verifies++
	return r.verifyErr
}

func (r *rig) Send(to sentinel.WatcherID, b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames[to] = append(r.frames[to], string(b))
	return nil
}

func (r *rig) Broadcast(b []byte) { r.Send("*", b) } //nolint:errcheck // never fails

func (r *rig) Leader() sentinel.WatcherID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leader
}

func (r *rig) writes() []sentinel.Do {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]sentinel.Do(nil), r.did...)
}

func (r *rig) sent(to sentinel.WatcherID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.frames[to], "\n")
}

var one, two = sentinel.Addr{Host: "10.0.0.1", Port: 6379}, sentinel.Addr{Host: "10.0.0.2", Port: 6379}

func monitor() sentinel.Command {
	cfg := sentinel.DefaultConfig()
	cfg.DownAfter = time.Second
	return sentinel.Command{Type: sentinel.CmdMonitor, Master: "orders", Config: &cfg,
		At: sentinel.Assignment{Instance: sentinel.InstanceID(one.String()), Addr: one}}
}

// lead makes the rig the leader of a trio that watches one adopted master.
func (r *rig) lead(ctx context.Context) {
	r.Member(sentinel.Membership{Me: "a", Voters: []sentinel.WatcherID{"a", "b", "c"}})
	r.Input(sentinel.Wanted{Monitors: []sentinel.Command{monitor()}})
	r.Lead(ctx, 1)
	synctest.Wait()
	r.Input(r.probe(one, sentinel.RoleMaster))
	synctest.Wait()
}

// probe is what a healthy instance answers at this moment.
func (r *rig) probe(a sentinel.Addr, role sentinel.Role) sentinel.Probe {
	i := sentinel.Info{RunID: "run" + a.Host, ReplID: "id", Role: role, Offset: 100, Keys: 3, Priority: 100, ReadOnly: true, Full: true}
	if role == sentinel.RoleMaster {
		i.Replicas = []sentinel.Attached{{Addr: two, Online: true, Offset: 100}}
	} else {
		i.Master, i.LinkUp = one, true
	}
	return sentinel.Probe{Master: "orders", Instance: sentinel.InstanceID(a.String()), Addr: a, Reply: sentinel.ReplyOK, Asked: r.opt.Clock(), Info: &i}
}

func TestMasterOfTheFileIsProposedAndWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		if at, ok := r.Served("orders"); !ok || at.Addr != one {
			t.Fatalf("served %v %v, want %v", at, ok, one)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		var kinds []string
		for _, c := range r.proposed {
			kinds = append(kinds, string(c.Type))
		}
		if got := strings.Join(kinds, " "); !strings.HasPrefix(got, "monitor adopt") {
			t.Fatalf("proposed %q, want monitor, then adopt", got)
		}
		if len(r.watched) == 0 || r.watched[0].Targets[0].Addr != one {
			t.Fatalf("watched %+v, want %v", r.watched, one)
		}
	})
}

func TestNothingIsWrittenUnlessTheLeadershipIsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		r.verifyErr = errors.New("deposed")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		// The verification that came with the leadership and the commits is used up.
		time.Sleep(verifiedFor + time.Millisecond)
		before := len(r.writes())
		for range 8 { // the instance's setting is tuned again and again, each time after a pause
			r.Input(r.probe(one, sentinel.RoleMaster))
			time.Sleep(600 * time.Millisecond)
		}
		if got := r.writes()[before:]; len(got) != 0 {
			t.Fatalf("wrote %+v without a verified leadership", got)
		}
		r.mu.Lock()
		asked := r.verifies
		r.verifyErr = nil
		r.mu.Unlock()
		if asked == 0 {
			t.Fatal("nobody asked whether this watcher leads: the test shows nothing")
		}
		r.Input(r.probe(one, sentinel.RoleMaster))
		time.Sleep(1100 * time.Millisecond)
		r.Input(r.probe(one, sentinel.RoleMaster))
		synctest.Wait()
		if len(r.writes()) == before {
			t.Fatal("nothing was written once the leadership was verified")
		}
	})
}

func TestLosingTheLeadershipCancelsWritesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		cancelled := make(chan struct{})
		r.doing = func(ctx context.Context, d sentinel.Do) sentinel.Done {
			<-ctx.Done()
			close(cancelled)
			return sentinel.Done{Result: sentinel.OutcomeUnknown}
		}
		ctx, cancel := context.WithCancel(context.Background())
		r.lead(ctx)
		if len(r.writes()) != 1 {
			t.Fatalf("%d writes under way, want the one that tunes the master", len(r.writes()))
		}
		cancel()
		<-cancelled
		synctest.Wait()
		before := len(r.writes())
		r.Input(r.probe(one, sentinel.RoleMaster))
		time.Sleep(5 * time.Second)
		if n := len(r.writes()); n != before {
			t.Fatalf("%d writes after the leadership was lost", n-before)
		}
	})
}

func TestFollowerPassesARequestOnAndReturnsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		follower, leader := newRig(t), newRig(t)
		defer follower.Stop()
		defer leader.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		leader.lead(ctx)
		follower.leader = "a"
		got := make(chan sentinel.Answer, 1)
		go func() {
			a, err := follower.Request(ctx, sentinel.Request{Master: "nobody", Kind: sentinel.RequestHandover})
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
		synctest.Wait()
		leader.Message("b", []byte(follower.sent("a")))
		synctest.Wait()
		follower.Message("a", []byte(leader.sent("b")))
		if a := <-got; a.Code != "NOMASTER" || !strings.Contains(a.Detail, "nobody") {
			t.Fatalf("answer %+v, want a refusal that names the master", a)
		}
	})
}

func TestRequestWithoutALeaderSaysThatThereIsNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		a, err := r.Request(context.Background(), sentinel.Request{Master: "orders", Kind: sentinel.RequestFailover})
		if err != nil || a.Code != "NOQUORUM" {
			t.Fatalf("answer %+v, error %v, want NOQUORUM", a, err)
		}
	})
}

func TestViewsComeFromTheLeaderOrAreMarkedAsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		follower, leader := newRig(t), newRig(t)
		defer follower.Stop()
		defer leader.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		leader.lead(ctx)
		follower.leader = "a"
		type reply struct {
			views []sentinel.View
			own   bool
		}
		ask := func(limit time.Duration) chan reply {
			out := make(chan reply, 1)
			go func() {
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				v, own, err := follower.LeaderViews(ctx)
				if err != nil {
					t.Error(err)
				}
				out <- reply{v, own}
			}()
			return out
		}
		first := ask(time.Minute)
		synctest.Wait()
		leader.Message("b", []byte(follower.sent("a")))
		synctest.Wait()
		follower.Message("a", []byte(leader.sent("b")))
		if got := <-first; got.own || len(got.views) != 1 || got.views[0].Name != "orders" || !got.views[0].Leading {
			t.Fatalf("got %+v, want the leader's view", got)
		}
		if got := <-ask(time.Second); !got.own || len(got.views) != 0 {
			t.Fatalf("got %+v from a leader that does not answer, want this watcher's own view", got)
		}
	})
}

func TestPassSendsOneFrameHoweverManyMasters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.Member(sentinel.Membership{Me: "a", Voters: []sentinel.WatcherID{"a", "b", "c"}})
		var all []sentinel.Command
		for _, name := range []string{"m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"} {
			c := monitor()
			c.Master = name
			all = append(all, c)
		}
		r.Input(sentinel.Wanted{Monitors: all})
		r.Lead(ctx, 1)
		time.Sleep(10 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		asks := strings.Count(strings.Join(r.frames["*"], ""), `"m":"m5"`)
		if asks < 10 || len(r.frames["*"]) > 3*asks {
			t.Fatalf("%d frames for %d asks about each of eight masters", len(r.frames["*"]), asks)
		}
	})
}

func TestUnreadableMessageIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		r.Message("b", []byte("{"))
		r.Message("b", []byte(`{"p":[{"m":"orders","at":{"epoch":9}}]}`)) // of a master that is not known
		if v, err := r.Views(context.Background()); err != nil || len(v) != 0 {
			t.Fatalf("views %v, error %v after messages that mean nothing here", v, err)
		}
	})
}

func TestPushIsBelievedBeforeTheLogShowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		r.Applied(1, monitor())
		r.Message("b", []byte(`{"p":[{"m":"orders","at":{"epoch":1,"instance":"10.0.0.2:6379","addr":{"host":"10.0.0.2","port":6379}}}]}`))
		r.Message("b", []byte(`{"p":[{"m":"orders","at":{"epoch":1,"instance":"10.0.0.1:6379","addr":{"host":"10.0.0.1","port":6379}}}]}`))
		synctest.Wait()
		if at, _ := r.Served("orders"); at.Addr != two {
			t.Fatalf("served %v, want the pushed %v, and no second answer for one epoch", at.Addr, two)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		n := 0
		for _, e := range r.events {
			if e.Name == sentinel.EventSwitchMaster {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%d +switch-master events, want 1", n)
		}
	})
}
