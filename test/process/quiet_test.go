package process

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer"
)

// shows waits until the master has that reply in every watcher's view.
func (r *rig) shows(reply string) {
	r.t.Helper()
	r.wait("every watcher shows the master as "+reply, func() error {
		for _, w := range r.running() {
			m, _, err := w.Master(r.t.Context(), name)
			if err != nil {
				return err
			}
			if i := m.Instances[0]; !i.Master || i.Reply != reply || i.Down {
				return fmt.Errorf("%s shows %+v", w.Name, i)
			}
		}
		return nil
	})
}

func TestClientsKilledOnAHealthyMaster(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		l := r.load(writer.Options{})
		person := r.session(r.redis[0], 5*time.Second)
		killed := 0
		end := time.Now().Add(3 * r.downAfter)
		r.stays("no plan", 3*r.downAfter, func() error {
			for _, kind := range []string{"normal", "pubsub"} {
				if r.ask(person, "CLIENT", "KILL", "TYPE", kind).Str != "0" {
					killed++
				}
			}
			if time.Until(end) < time.Second {
				return nil // the last second is for what follows from it
			}
			return r.untouched()
		})
		if killed < 5 {
			t.Fatalf("only %d times was anybody there to be killed", killed)
		}
		r.steady(2)
		r.calm()
		l.keptAll(r.redis[0])
	})
}

func TestMaxClientsReachedOnTheMaster(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		person := r.session(r.redis[0], 5*time.Second)
		r.ask(person, "CONFIG", "SET", "maxclients", "1")
		r.ask(person, "CLIENT", "KILL", "TYPE", "normal")
		r.ask(person, "CLIENT", "KILL", "TYPE", "pubsub")
		r.shows("max clients reached")
		r.stays("no plan", 3*r.downAfter, r.untouched)
		r.shows("max clients reached")
		r.ask(person, "CONFIG", "SET", "maxclients", "1000")
		r.steady(2)
		r.calm()
	})
}

// freezeFor freezes a server for a part of down-after, and reports whether the
// machine made no more of it.
func (r *rig) freezeFor(s *redisproc.Server, part float64) bool {
	r.t.Helper()
	span := time.Duration(part * float64(r.downAfter))
	began := time.Now()
	if err := s.Freeze(); err != nil {
		r.t.Fatal(err)
	}
	timer := time.NewTimer(span - time.Since(began))
	<-timer.C
	if err := s.Thaw(); err != nil {
		r.t.Fatal(err)
	}
	return time.Since(began) < span+span/20
}

func TestMasterFrozenForLessThanDownAfter(t *testing.T) {
	for how, loaded := range map[string]bool{"under load": true, "idle": false} {
		t.Run(how, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := start(t, setup{})
				var l *load
				if loaded {
					l = r.load(writer.Options{})
				}
				exact := 0
				for i := range 6 {
					// Each freeze begins at another phase of the watchers' probes, which come four times in down-after.
					r.pass(r.downAfter/4 + time.Duration(i)*r.downAfter/24)
					if r.freezeFor(r.redis[0], 0.7) {
						exact++
					} else {
						t.Log("the machine was busy, this freeze lasted longer")
						if err := r.untouched(); err != nil {
							t.Skip("the machine was too busy to freeze a master for exactly that long")
						}
					}
					r.wait("it answers", func() error { return r.has(r.redis[0], "role", "master") })
				}
				if exact == 0 {
					t.Skip("the machine was too busy to freeze a master for exactly that long")
				}
				r.steady(2)
				r.calm()
				if l != nil {
					l.keptAll(r.redis[0])
				}
			})
		})
	}
}

func TestMasterAsleepForLessThanDownAfter(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{redis: redisproc.Options{Args: []string{"--enable-debug-command", "yes"}}})
		person := r.session(r.redis[0], 10*time.Second)
		for range 3 {
			r.ask(person, "DEBUG", "SLEEP", fmt.Sprint(0.7*r.downAfter.Seconds()))
			r.pass(r.downAfter / 4)
		}
		r.steady(2)
		r.calm()
	})
}

func TestMasterBusyInAScript(t *testing.T) {
	scenario(t, func(t *T) {
		const loop = "while true do end"
		r := start(t, setup{})
		master := r.redis[0]
		runaway := r.session(master, waitLimit)
		kill := func() {
			r.wait("the script can be killed", func() error {
				reply, err := master.Do(t.Context(), "SCRIPT", "KILL")
				return errors.Join(err, reply.Err())
			})
			if reply, err := runaway.Receive(); err != nil || reply.Err() == nil {
				t.Fatalf("the script ended with %+v %v", reply, err)
			}
		}
		run := func(threshold string) {
			r.do(master, "CONFIG", "SET", "busy-reply-threshold", threshold)
			runaway.Append("EVAL", loop, "0")
			if err := runaway.Flush(); err != nil {
				t.Fatal(err)
			}
		}

		// Silent for less than down-after, then ended.
		run("600")
		kill()
		r.pass(r.downAfter / 2)
		if err := r.untouched(); err != nil {
			t.Fatal(err)
		}

		// For several times down-after, in which it says that it is busy.
		run("100")
		r.shows("busy in a script")
		r.stays("no plan", 3*r.downAfter, r.untouched)
		r.shows("busy in a script")
		kill()
		r.steady(2)
		r.calm()
	})
}
