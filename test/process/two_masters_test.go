package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

// own writes keys that only this server has.
func (r *rig) own(s *redisproc.Server, n int) {
	r.t.Helper()
	r.do(s, "EVAL", "for i=1,tonumber(ARGV[1]) do redis.call('SET','own:'..i,i) end", "0", strconv.Itoa(n))
}

// detached makes a replica a master by hand and writes to it before the watchers can
// have seen that: all of it is sent at once.
func (r *rig) detached(s *redisproc.Server, n int) {
	r.t.Helper()
	c := r.session(s, 5*time.Second)
	c.Append("REPLICAOF", "NO", "ONE")
	for i := range n {
		c.Append("SET", fmt.Sprint("own:", i), "1")
	}
	if err := c.Flush(); err != nil {
		r.t.Fatal(err)
	}
	for range n + 1 {
		reply, err := c.Receive()
		if err = errors.Join(err, reply.Err()); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestReplicaMadeMasterByHand(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		master, replica := r.redis[0], r.redis[1]
		r.fill(master, 1000)
		r.do(replica, "REPLICAOF", "NO", "ONE")
		r.recorded("repaired", "a second master", "fenced in place")
		r.follows(replica, master)
		r.steady(2)
		r.filled(replica, 1000)
		r.noPlans()
	})
}

func TestReplicaMadeMasterByHandAndWrittenTo(t *testing.T) {
	for how, keep := range map[string]bool{"given up": false, "kept": true} {
		t.Run(how, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := start(t, setup{})
				master, replica := r.redis[0], r.redis[1]
				r.fill(master, 1000)
				r.detached(replica, 50)
				r.says("degraded", replica.Addr(), "somebody made it master", "bytes of writes of its own", "a person must decide", "adopt "+name)
				r.recorded("held", "somebody made it master")
				r.stays("nobody's writes are thrown away", 3*r.downAfter, func() error {
					r.hasKeys(replica, 1050)
					r.hasKeys(master, 1000)
					return errors.Join(r.has(replica, "role", "slave"), r.has(master, "role", "master"), r.untouched())
				})
				if keep {
					r.cliOK(r.leader(), "adopt", name, "--to", replica.Addr(), "--force", "--yes")
					r.oneMaster(replica)
				} else {
					r.cliOK(r.leader(), "adopt", name, "--to", master.Addr(), "--force", "--yes")
					r.oneMaster(master)
				}
				r.steady(2)
				for _, s := range r.redis {
					want := 1000
					if keep {
						want = 1050
					}
					r.hasKeys(s, want)
				}
			})
		})
	}
}

// What was written to a replica that somebody had made a master is another branch: its
// offset is no reason to choose it.
func TestMasterDiesBesideAReplicaThatWasMadeMasterByHand(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		master, branch, replica := r.redis[0], r.redis[1], r.redis[2]
		r.fill(master, 1000)
		r.detached(branch, 500)
		r.says("degraded", "somebody made it master")
		master.Kill()
		if got := r.moved(master); got != replica {
			t.Fatalf("%s is master", got.Addr())
		}
		r.filled(replica, 1000)
		r.hasKeys(branch, 1500)
		r.says("somebody made it master")
	})
}

func TestMasterMadeAReplicaByHand(t *testing.T) {
	t.Run("of one that is a replica", func(t *testing.T) {
		scenario(t, func(t *T) {
			r := start(t, setup{})
			r.fill(r.redis[0], 1000)
			r.do(r.redis[0], "REPLICAOF", "127.0.0.1", strconv.Itoa(r.redis[1].Port()))
			r.wait("it is master again", func() error { return r.has(r.redis[0], "role", "master") })
			r.steady(2)
			r.oneMaster(r.redis[0])
			for _, s := range r.redis {
				r.filled(s, 1000)
			}
		})
	})
	t.Run("of one that was made master, by a script", func(t *testing.T) {
		scenario(t, func(t *T) {
			r := start(t, setup{})
			old, next := r.redis[0], r.redis[1]
			r.fill(old, 1000)
			r.script(next)
			r.says("degraded", "which is a master: somebody else moved it, a person must decide")
			r.recorded("held", "somebody else moved it")
			r.own(next, 10)
			r.stays("it is left alone", 3*r.downAfter, func() error {
				return errors.Join(r.has(next, "role", "master"), r.has(old, "role", "slave"), r.has(r.redis[2], "role", "slave"), r.untouched())
			})
			r.cliOK(r.leader(), "adopt", name)
			r.steady(2)
			r.oneMaster(next)
			r.recorded("adopted", "chosen by a person")
			for _, s := range r.redis {
				r.filled(s, 1000)
				r.hasKeys(s, 1010)
			}
			// And it is looked after again.
			next.Kill()
			r.moved(next)
		})
	})
}

// script moves the master as an operator's script does, all at once.
func (r *rig) script(next *redisproc.Server) {
	r.t.Helper()
	port := strconv.Itoa(next.Port())
	var all []func()
	for _, s := range r.redis {
		c := r.session(s, 5*time.Second)
		args := []string{"REPLICAOF", "127.0.0.1", port}
		if s == next {
			args = []string{"REPLICAOF", "NO", "ONE"}
			all = append([]func(){func() { r.ask(c, args...) }}, all...)
			continue
		}
		all = append(all, func() { r.ask(c, args...) })
	}
	for _, f := range all {
		f()
	}
}

func TestReplicaOfAReplica(t *testing.T) {
	t.Run("is set right", func(t *testing.T) {
		scenario(t, func(t *T) {
			r := start(t, setup{})
			r.fill(r.redis[0], 1000)
			r.do(r.redis[2], "REPLICAOF", "127.0.0.1", strconv.Itoa(r.redis[1].Port()))
			r.follows(r.redis[2], r.redis[0])
			r.steady(2)
			r.noPlans()
		})
	})
	t.Run("and the master dies", func(t *testing.T) {
		scenario(t, func(t *T) {
			r := start(t, setup{})
			old := r.redis[0]
			r.fill(old, 1000)
			r.do(r.redis[2], "REPLICAOF", "127.0.0.1", strconv.Itoa(r.redis[1].Port()))
			old.Kill()
			next := r.moved(old)
			for _, s := range r.others(old) {
				if s != next {
					r.follows(s, next)
				}
				r.filled(s, 1000)
			}
			r.settled("1")
			r.onlyPlan("failover", "1")
		})
	})
	t.Run("that nobody told of is found when its master is promoted", func(t *testing.T) {
		scenario(t, func(t *T) {
			r := start(t, setup{replicas: 1})
			r.fill(r.redis[0], 1000)
			o := redisproc.Options{Port: given.redis(t), Dir: filepath.Join(t.TempDir(), "leaf"), ReplicaOf: r.redis[1].Addr()}
			if err := os.MkdirAll(o.Dir, 0o750); err != nil {
				t.Fatal(err)
			}
			leaf, err := redisproc.Start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(leaf.Stop)
			r.follows(leaf, r.redis[1])
			r.stays("it is no business of triwatch's", 2*r.downAfter, func() error {
				return r.has(leaf, "master_port", strconv.Itoa(r.redis[1].Port()))
			})
			r.redis[0].Kill()
			r.moved(r.redis[0])
			r.follows(leaf, r.redis[1])
			r.filled(leaf, 1000)
			r.says(leaf.Addr(), "would be chosen")
		})
	})
}

// Two masters after a partition: the old one went on taking writes where nobody else
// could hear it. What it took is what a failover costs, and is counted, not kept.
func TestTwoMastersAfterAStandstillOfTheOld(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		old := r.redis[0]
		r.fill(old, 1000)
		if err := old.Freeze(); err != nil {
			t.Fatal(err)
		}
		next := r.moved(old)
		r.own(next, 10)
		if err := old.Thaw(); err != nil {
			t.Fatal(err)
		}
		r.follows(old, next)
		r.steady(2)
		r.oneMaster(next)
		r.onlyPlan("failover", "1")
		for _, s := range r.redis {
			r.filled(s, 1000)
			r.hasKeys(s, 1010)
		}
	})
}
