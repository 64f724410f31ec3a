package process

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

// The file and the replicas know the master by a host name, INFO knows everybody by address.
func TestHostNamesAndAddressesAreOneInstance(t *testing.T) {
	scenario(t, func(t *T) {
		byName := func(r *rig, i int, o *redisproc.Options) {
			if i > 0 {
				o.ReplicaOf = "localhost:" + strconv.Itoa(r.redis[0].Port())
			}
		}
		r := brought(t, setup{host: "localhost", conf: "sentinel resolve-hostnames yes\n"}, byName, func(r *rig) string {
			return fmt.Sprintf("sentinel known-replica %s localhost %d\n", name, r.redis[1].Port())
		})
		r.steady(2)
		r.fill(r.redis[0], 100)
		r.instances(r.redis...)
		heard := r.listen()
		old := r.redis[0]
		old.Kill()
		next := r.moved(old)
		r.switched(heard, r.trio.Watchers, old, next)
		r.blank(old)
		r.follows(old, next)
		r.steady(2)
		r.instances(r.redis...)
		r.stays("nobody follows itself", r.downAfter, func() error { return r.has(next, "role", "master") })
		for _, s := range r.redis {
			r.filled(s, 100)
		}

		// Back to the one that has a name, named by its address.
		r.cliOK(r.leader(), "handover", name, "--to", old.Addr())
		r.oneMaster(old)
		r.steady(2)
		r.instances(r.redis...)

		w := r.trio.Watchers[0]
		r.asked(w, "sentinel", "config", "set", "announce-hostnames", "yes")
		r.wait("this watcher announces names, the others do not", func() error {
			for i, w := range r.trio.Watchers {
				want := old.Addr()
				if i == 0 {
					want = "localhost:" + strconv.Itoa(old.Port())
				}
				if got, err := w.MasterAddr(t.Context(), name); err != nil || got != want {
					return fmt.Errorf("%s says %s, not %s: %w", w.Name, got, want, err)
				}
			}
			return nil
		})
	})
}

// instances waits until every watcher tells Sentinel clients of these, each once, by their
// addresses.
func (r *rig) instances(servers ...*redisproc.Server) {
	r.t.Helper()
	var want []string
	for _, s := range servers {
		want = append(want, s.Addr())
	}
	slices.Sort(want)
	r.wait("every watcher knows each instance once", func() error {
		for _, w := range r.trio.Watchers {
			got, err := toldBy(r, w)
			if err != nil {
				return err
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Errorf("%s tells of %q, not of %q", w.Name, got, want)
			}
		}
		return nil
	})
}

func toldBy(r *rig, w *trio.Watcher) ([]string, error) {
	c := w.Client()
	defer c.Close()
	master, err := w.MasterAddr(r.t.Context(), name)
	if err != nil {
		return nil, err
	}
	all, err := c.Replicas(r.t.Context(), name).Result()
	out := []string{master}
	for _, i := range all {
		if i["name"] != i["ip"]+":"+i["port"] {
			return nil, fmt.Errorf("%s calls a replica %q at %s:%s", w.Name, i["name"], i["ip"], i["port"])
		}
		out = append(out, i["name"])
	}
	return out, err
}

// A replica that does not want to be told of takes part in everything else.
func TestReplicaThatIsNotAnnounced(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{}, nil, func(r *rig) string {
			return fmt.Sprintf("sentinel known-replica %s 127.0.0.1 %d\n", name, r.redis[2].Port())
		})
		r.steady(2)
		r.do(r.redis[2], "CONFIG", "SET", "replica-announced", "no")
		r.instances(r.redis[:2]...)
		r.do(r.redis[1], "CONFIG", "SET", "replica-priority", "0")
		r.wait("the other one may not be promoted", func() error {
			for _, i := range r.state(r.leader()).Instances {
				if i.Address == r.redis[1].Addr() && i.Priority == 0 {
					return nil
				}
			}
			return fmt.Errorf("%+v", r.state(r.leader()).Instances)
		})
		r.redis[0].Kill()
		if next := r.moved(r.redis[0]); next != r.redis[2] {
			t.Fatalf("%s is master, not the one that is not announced", next.Addr())
		}
		r.stays("it is master", 100*time.Millisecond, func() error { return r.has(r.redis[2], "role", "master") })
	})
}
