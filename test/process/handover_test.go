package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
)

func TestSentinelFailoverThroughAFollowerIsAHandoverThatLosesNothing(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		h, all := r.listen(), r.running()
		l := r.load(writer.Options{Rate: 6000})
		old := r.redis[0]
		r.handover(r.follower())
		next := r.moved(old)
		l.more(1000)
		r.switched(h, all, old, next)
		r.follows(old, next)
		r.settled("1")
		rec := r.onlyPlan("handover", "1")
		if !rec.Fenced || rec.LostBytes == nil || *rec.LostBytes != 0 || rec.WaitedMS <= 0 {
			t.Fatalf("history has %+v", rec)
		}
		l.keptAll(next)
		// The data of the old master is taken on, not copied anew.
		if got := r.do(next, "INFO", "stats"); !strings.Contains(got, "sync_full:0\r\n") {
			t.Fatalf("a full sync was needed: %s", got)
		}
	})
}

func TestCommandsOfPeople(t *testing.T) {
	scenario(t, func(t *T) {
		// Without persistence the check would rightly find a problem.
		r := start(t, setup{redis: redisproc.Options{Args: []string{"--appendonly", "yes"}}})
		w := r.follower()
		first, second, third := r.redis[0], r.redis[1], r.redis[2]
		l := r.load(writer.Options{})

		got := r.granted(w, "handover", name, "--to", third.Addr())
		if !strings.Contains(got.out, "epoch 1") || !strings.Contains(got.out, third.Addr()+" is master") || got.err != "" {
			t.Fatalf("handover: %q %q", got.out, got.err)
		}
		if next := r.moved(first); next != third {
			t.Fatalf("moved to %s, asked for %s", next.Addr(), third.Addr())
		}
		r.settled("1")
		r.steady(2)
		var granted httpapi.Granted
		got = r.granted(w, "handover", name, "--to", second.Addr(), "-o", "json")
		if json.Unmarshal([]byte(got.out), &granted) != nil || granted.Epoch != "2" || granted.Result != "ok" {
			t.Fatalf("handover -o json: %s", got.out)
		}
		r.moved(third)
		r.settled("2")
		r.steady(2)
		l.keptAll(second)

		second.Kill()
		next := r.moved(second)
		r.settled("3")
		if err := second.Restart(t.Context(), redisproc.RestartOptions{Empty: true}); err != nil {
			t.Fatal(err)
		}
		r.steady(2)

		// Of a master that lives, a failover is a handover.
		got = r.granted(w, "failover", name, "--yes")
		if !strings.Contains(got.err, "this will be a handover") || !strings.Contains(got.out, "epoch 4") {
			t.Fatalf("failover: exit status %d\n%s%s", got.code, got.out, got.err)
		}
		r.moved(next)
		r.settled("4")
		r.steady(2)
		r.peopleRead()
	})
}

// granted runs a command that moves the master, again while nobody leads or the leader
// does not know yet who is attached to it, and returns what it prints.
func (r *rig) granted(w *trio.Watcher, args ...string) output {
	r.t.Helper()
	var got output
	what := "triwatch " + strings.Join(args, " ")
	r.wait(what+" is granted", func() error {
		got = r.cli(w, args...)
		if got.code == 3 || got.code == 4 && strings.Contains(got.err, "NOGOODSLAVE") {
			return errors.New(got.err)
		}
		if got.code != 0 {
			r.t.Fatalf("%s: exit status %d\n%s%s", what, got.code, got.out, got.err)
		}
		return nil
	})
	return got
}

// peopleRead looks at everything that only shows.
func (r *rig) peopleRead() {
	r.t.Helper()
	w := r.follower()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"status"}, []string{"MASTER", name + "  ", "ok", "2/2", "3/3"}},
		{[]string{"status", name}, []string{name + "  ok  epoch 4  master ", "(handover)", "3 of 3 agree", "acting: yes", "would be chosen"}},
		{[]string{"history", name}, []string{"failover", "handover", "adopted", "CLIENTS WAITED"}},
		{[]string{"history", name, "3"}, []string{"3 failover ", "evidence", "chosen", "promoted"}},
		{[]string{"check", name}, []string{"if the master died now: ", "no problems"}},
		{[]string{"peers"}, []string{"leader", "this watcher", "3 of 3 voters in touch"}},
	} {
		out := r.cliOK(w, c.args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				r.t.Errorf("triwatch %s shows no %q:\n%s", strings.Join(c.args, " "), want, out)
			}
		}
		var any any
		if got := r.cliJSON(w, &any, c.args...); got.code != 0 {
			r.t.Errorf("triwatch %s -o json: exit status %d", strings.Join(c.args, " "), got.code)
		}
	}
	var h httpapi.History
	r.cliJSON(w, &h, "history", name)
	var kinds []string
	for _, rec := range h.Records {
		kinds = append(kinds, rec.Kind+rec.Epoch)
	}
	if got := strings.Join(kinds, " "); !strings.HasPrefix(got, "handover4 failover3 handover2 handover1 adopted") {
		r.t.Errorf("history: %s", got)
	}
}

func TestHandoverWithoutAReplicaInSyncIsRefused(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		master := r.redis[0]
		l := r.load(writer.Options{})
		for _, s := range r.redis[1:] {
			if err := s.Freeze(); err != nil {
				t.Fatal(err)
			}
		}
		w := r.follower()

		// Nobody knows yet that they are frozen: it is begun, not caught up, and undone.
		got := r.cli(w, "handover", name)
		if got.code != 4 || got.err == "" {
			t.Fatalf("handover: exit status %d\n%s%s", got.code, got.out, got.err)
		}
		r.wait("the master takes writes again", func() error {
			if got, err := master.Do(t.Context(), "SET", "after", "1"); err != nil || got.Str != "OK" {
				return fmt.Errorf("SET: %v %v", got, err)
			}
			return nil
		})
		l.more(100)

		r.wait("the replicas are held down", func() error {
			for _, i := range r.state(r.leader()).Instances {
				if !i.Master && !i.Down {
					return fmt.Errorf("%s is %s", i.Address, i.Health)
				}
			}
			return nil
		})
		if got := r.redisCLI(w, "SENTINEL", "FAILOVER", name); got != "NOGOODSLAVE No suitable replica to promote" {
			t.Fatalf("SENTINEL FAILOVER: %q", got)
		}
		before := l.Snapshot().Dials
		got = r.cli(w, "handover", name)
		if got.code != 4 || !strings.Contains(got.err, "NOGOODSLAVE") || !strings.Contains(got.err, "down") {
			t.Fatalf("handover: exit status %d\n%s%s", got.code, got.out, got.err)
		}
		var failure httpapi.Failure
		if got := r.cliJSON(w, &failure, "handover", name); got.code != 4 || failure.Code != httpapi.CodeNoReplica {
			t.Fatalf("handover -o json: exit status %d, %+v", got.code, failure)
		}
		l.more(100)
		if after := l.Snapshot().Dials; after != before {
			t.Fatalf("a refused handover cost %d connections", after-before)
		}
		if err := r.has(master, "role", "master"); err != nil {
			t.Fatal(err)
		}
		for _, s := range r.redis[1:] {
			if err := s.Thaw(); err != nil {
				t.Fatal(err)
			}
		}
		r.steady(2)
		for _, rec := range r.plans() {
			if rec.Kind != "aborted" {
				t.Fatalf("history has %+v", rec)
			}
		}
		l.keptAll(master)
	})
}

func TestSentinelConfIsRewrittenAndRedisSentinelGoesOnWithIt(t *testing.T) {
	scenario(t, func(t *T) {
		if _, err := redisproc.LookupBinary("redis-sentinel"); err != nil {
			t.Skip(err)
		}
		r := start(t, setup{})
		r.redis[0].Kill()
		next := r.moved(r.redis[0])
		r.settled("1")
		r.inFile(next, "1")
		w := r.trio.Watchers[0]
		myid := r.redisCLI(w, "SENTINEL", "MYID")
		var others []string
		for _, o := range r.trio.Watchers[1:] {
			others = append(others, fmt.Sprintf("sentinel known-sentinel %s 127.0.0.1 %d %s", name, o.Port, r.redisCLI(o, "SENTINEL", "MYID")))
		}
		var text string
		r.wait("the file is complete", func() error {
			b, err := os.ReadFile(w.Conf())
			if err != nil {
				return err
			}
			text = string(b)
			for _, want := range append(others, "sentinel myid "+myid, "sentinel current-epoch 1", "sentinel known-replica "+name+" 127.0.0.1 "+strconv.Itoa(r.redis[0].Port())) {
				if !strings.Contains(text, want+"\n") {
					return fmt.Errorf("it has no line %q:\n%s", want, text)
				}
			}
			return nil
		})

		r.trio.Stop()
		s, err := redisproc.Start(t.Context(), redisproc.Options{Dir: w.Dir, Port: w.Port, SentinelConf: text})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		reply, err := s.Do(t.Context(), "SENTINEL", "MASTER", name)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(reply.Strings(), " ")
		for _, want := range []string{"ip 127.0.0.1 port " + strconv.Itoa(next.Port()), "config-epoch 1", "num-other-sentinels 2", "quorum 2", "down-after-milliseconds 1000"} {
			if !strings.Contains(got, want) {
				t.Errorf("redis-sentinel does not say %q: %s", want, got)
			}
		}
		if got := r.do(s, "SENTINEL", "MYID"); got != myid {
			t.Errorf("redis-sentinel is %s, the watcher was %s", got, myid)
		}
		if err := r.has(next, "role", "master"); err != nil {
			t.Error(err)
		}
	})
}

func TestWatchersOfOneFileRewriteNothingWhileNothingChanges(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{replicas: 1})
		r.inFile(r.redis[0], "0")
		w := r.trio.Watchers[0]
		var was os.FileInfo
		r.wait("the file rests", func() error {
			now, err := os.Stat(w.Conf())
			if err != nil {
				return err
			}
			if time.Since(now.ModTime()) < 2*time.Second {
				return errors.New("it was written a moment ago")
			}
			was = now
			return nil
		})
		r.stays("it is not written", 6*time.Second, func() error {
			now, err := os.Stat(w.Conf())
			if err == nil && !now.ModTime().Equal(was.ModTime()) {
				err = errors.New("it was written again")
			}
			return err
		})
	})
}
