package process

import (
	"fmt"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

// Everything dies at once, and comes back in this or that order. Whoever has most
// must end up as the master, and nobody's data may be taken by one who has less.

// saved gives every server a file of its own age: the master and the last replica have
// all keys, the first replica half of them.
func (r *rig) saved(half, all int) {
	r.t.Helper()
	r.fill(r.redis[0], half)
	r.do(r.redis[1], "SAVE")
	r.fill(r.redis[0], all)
	r.do(r.redis[2], "SAVE")
	r.do(r.redis[0], "SAVE")
}

func TestAllRestartedAndTheNewestCopyComesLastButInTime(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{}, nil, nil)
		r.steady(2)
		r.saved(500, 1000)
		r.killAll()
		r.back(r.redis[1])
		r.says("down", "waiting for", r.redis[2].Addr(), "may have more")
		r.back(r.redis[2])
		r.says("down", "waiting for", r.redis[0].Addr(), "may have more")
		if err := r.untouched(); err != nil {
			t.Fatal(err)
		}
		r.filled(r.redis[1], 500)
		r.filled(r.redis[2], 1000)
		r.back(r.redis[0])
		r.steady(2)
		r.oneMaster(r.redis[0])
		for _, s := range r.redis {
			r.filled(s, 1000)
		}
		r.recorded("restarted", "1000 keys", "it stays master")
		r.noPlans()
	})
}

// noPlans checks that the history has no plan.
func (r *rig) noPlans() {
	r.t.Helper()
	if p := r.plans(); len(p) != 0 {
		r.t.Fatalf("history has plans: %+v", p)
	}
}

func TestAllRestartedAndTheNewestCopyComesTooLate(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{failoverTimeout: 3 * time.Second}, nil, nil)
		r.steady(2)
		old, older, newer := r.redis[0], r.redis[1], r.redis[2]
		r.fill(old, 500)
		r.do(older, "SAVE")
		r.fill(old, 800)
		r.do(newer, "SAVE")
		r.fill(old, 1000)
		r.do(old, "SAVE")
		r.killAll()
		r.back(older)
		r.back(newer)
		if got := r.moved(old); got != newer {
			t.Fatalf("%s is master, not %s, which has most of those that are there", got.Addr(), newer.Addr())
		}
		r.follows(older, newer)
		r.filled(older, 800)
		r.settled("1")
		rec := r.onlyPlan("failover", "1")
		late := false
		for _, l := range rec.LeftOut {
			late = late || l.Address == old.Addr() && containsAll(l.Why, []string{"in time", "may have more"})
		}
		if !late {
			t.Fatalf("history does not tell who was not waited for: %+v", rec)
		}

		// A master by its own command line, with more than the master has.
		r.back(old)
		r.says("degraded", "came back too late", "1000 keys", "a person must decide", "adopt")
		r.recorded("held", "came back too late")
		r.stays("nobody's data is taken", 3*r.downAfter, func() error {
			r.filled(old, 1000)
			r.filled(newer, 800)
			return r.has(old, "role", "slave")
		})
		got := r.cli(r.leader(), "adopt", name, "--to", old.Addr())
		if got.code != 4 {
			t.Fatalf("adopt without --force: exit status %d\n%s%s", got.code, got.out, got.err)
		}
		r.cliOK(r.leader(), "adopt", name, "--to", old.Addr(), "--force", "--yes")
		r.oneMaster(old)
		r.steady(2)
		for _, s := range r.redis {
			r.hasKeys(s, 1000)
		}
	})
}

func TestAllRestartedFromAppendOnlyFiles(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{failoverTimeout: 3 * time.Second, redis: redisproc.Options{Args: []string{"--appendonly", "yes"}}}, nil, nil)
		r.steady(2)
		r.fill(r.redis[0], 1000)
		r.killAll()
		// Their files do not tell their lineage: without the master nobody can be chosen.
		r.back(r.redis[2])
		r.back(r.redis[1])
		r.says("down", "no replica may be promoted")
		r.back(r.redis[0])
		r.steady(2)
		r.oneMaster(r.redis[0])
		for _, s := range r.redis {
			r.filled(s, 1000)
		}
		r.noPlans()

		// And where the master does not come back, a person decides.
		r.killAll()
		r.back(r.redis[1])
		r.back(r.redis[2])
		r.says("down", "no replica may be promoted")
		r.cliOK(r.leader(), "adopt", name, "--to", r.redis[2].Addr(), "--force", "--yes")
		r.wait("it is master", func() error { return r.has(r.redis[2], "role", "master") })
		r.follows(r.redis[1], r.redis[2])
		r.filled(r.redis[1], 1000)
		r.recorded("adopted", "chosen by a person", "1000 keys")
	})
}

func TestAllRestartedEmpty(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{failoverTimeout: 2 * time.Second}, nil, nil)
		r.steady(2)
		r.fill(r.redis[0], 1000)
		r.killAll()
		r.back(r.redis[1])
		r.back(r.redis[2])
		r.says("down", "no replica may be promoted")
		r.stays("an empty one is not promoted while the master may have data", 2*r.downAfter, r.untouched)
		r.back(r.redis[0])
		r.steady(2)
		r.oneMaster(r.redis[0])
		r.recorded("restarted", "0 keys")
		r.fill(r.redis[0], 10)
	})
}

// born makes every instance a replica of nobody by its command line.
func born(_ *rig, _ int, o *redisproc.Options) { o.ReplicaOf = "127.0.0.1:0" }

// known names the replicas, which nobody follows yet, to the watchers.
func known(r *rig) string {
	text := ""
	for _, s := range r.redis[1:] {
		text += fmt.Sprintf("sentinel known-replica %s 127.0.0.1 %d\n", name, s.Port())
	}
	return text
}

func TestAllBornReplicasRestarted(t *testing.T) {
	for how, order := range map[string][]int{"master first": {0, 1, 2}, "master last": {1, 2, 0}, "master in between": {2, 0, 1}} {
		t.Run(how, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := brought(t, setup{}, born, known)
				r.steady(2)
				r.saved(500, 1000)
				r.killAll()
				for _, i := range order {
					r.back(r.redis[i])
				}
				r.steady(2)
				for _, s := range r.redis {
					r.filled(s, 1000)
				}
				r.oneMaster(r.redis[0])
				r.noPlans()
			})
		})
	}
}

func TestAllBornReplicasRestartedAndTheMasterEmpty(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{}, born, known)
		r.steady(2)
		r.saved(500, 1000)
		r.killAll()
		r.blank(r.redis[0])
		r.back(r.redis[1])
		r.back(r.redis[2])
		if got := r.moved(r.redis[0]); got != r.redis[2] {
			t.Fatalf("%s is master, not the one with most", got.Addr())
		}
		r.steady(2)
		for _, s := range r.redis {
			r.filled(s, 1000)
		}
	})
}

// A replica whose file makes it a master, as ordinal 0 of the common StatefulSet after a
// failover.
func TestAllRestartedAndAReplicaBootsAsMaster(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{}, nil, nil)
		r.steady(2)
		old := r.redis[0]
		r.fill(old, 1000)
		r.cliOK(r.leader(), "handover", name, "--to", r.redis[1].Addr())
		r.steady(2)
		for _, s := range r.redis {
			r.do(s, "SAVE")
		}
		r.killAll()
		r.back(old) // a master by its command line, and so are those that follow it
		r.back(r.redis[1])
		r.back(r.redis[2])
		r.wait("all have their data, and one is master", func() error {
			for _, s := range r.redis {
				r.filled(s, 1000)
			}
			return nil
		})
		r.says("master")
	})
}

func TestEverythingRestartedWithTheWatchers(t *testing.T) {
	for how, order := range map[string][]int{"master first": {0, 1, 2}, "master last": {1, 2, 0}} {
		t.Run(how, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := brought(t, setup{}, nil, nil)
				r.steady(2)
				r.saved(500, 1000)
				for _, w := range r.trio.Watchers {
					w.Kill()
				}
				r.killAll()
				for n, i := range order {
					r.back(r.redis[i])
					if err := r.trio.Watchers[n].Start(); err != nil {
						t.Fatal(err)
					}
				}
				r.steady(2)
				r.oneMaster(r.redis[0])
				for _, s := range r.redis {
					r.filled(s, 1000)
				}
				r.noPlans()
			})
		})
	}
}
