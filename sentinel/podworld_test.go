package sentinel_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// pods is the part of the modelled Kubernetes that the core hears of: who exists.
type pods struct {
	all      []*pod
	past     []*pod
	expected int
	serves   bool
	floor    sentinel.Epoch
	made     int
	others   []sentinel.Inventory // other masters' pods
	owner    string
}

// pod is one pod of the modelled StatefulSet. Its ID is the address of its Redis.
type pod struct {
	r        *fakeRedis
	name     string
	data     string
	deleting bool
	patience time.Duration
	prio     int
	noAddr   bool
}

// enlist makes pods of all Redis instances, named as they are.
func (w *world) enlist(expected int, serves bool) {
	w.pods = &pods{expected: expected, serves: serves}
	for _, r := range w.set.all {
		w.pods.all = append(w.pods.all, &pod{r: r, name: r.name, data: "volume-" + r.name, prio: -1})
	}
}

func (p *pods) of(r *fakeRedis) *pod {
	for _, x := range slices.Concat(p.all, p.past) {
		if x.r == r {
			return x
		}
	}
	return nil
}

// announce tells every watcher who exists.
func (w *world) announce() {
	inv := sentinel.Inventory{Master: masterName, Config: w.cfg, Owner: w.pods.owner, Expected: w.pods.expected, Serves: w.pods.serves, Floor: w.pods.floor}
	sorted := slices.Clone(w.pods.all)
	slices.SortStableFunc(sorted, func(a, b *pod) int { return strings.Compare(a.name, b.name) })
	for _, p := range sorted {
		addr := p.r.addr
		if p.noAddr {
			addr = sentinel.Addr{}
		}
		inv.Instances = append(inv.Instances, sentinel.Instance{ID: sentinel.InstanceID(p.r.addr.String()), Addr: addr, Name: p.name,
			Ordinal: int(p.name[1] - '1'), Data: p.data, Deleting: p.deleting, Patience: p.patience, Priority: p.prio})
	}
	for _, wt := range w.ws {
		wt.step(sentinel.Inventories{All: append([]sentinel.Inventory{inv}, w.pods.others...)})
	}
}

// kube carries out the words about pods:
//
//	pods [expected=3] [serves] [ephemeral]   instead of a file, before start
//	delete r1 [1200ms]                       its pod is being deleted; patience
//	gone r1                                  its pod exists no longer
//	replace r1 by r4 [keys=N] [offset=N]     a new pod of r1's name and volume, born without a master
//	flip                                     the Service follows
//	floor N                                  an epoch is found on the Service
func (s *script) kube(word string, args []string) error {
	w := s.w
	switch word {
	case "pods":
		w.enlist(3, slices.Contains(args, "serves"))
		if slices.Contains(args, "ephemeral") {
			for _, p := range w.pods.all {
				p.data = ""
			}
		}
		return nil
	case "flip":
		w.leader.step(sentinel.Flipped{Master: masterName, Epoch: w.committed().Master.Epoch, Service: "redis-master"})
		return nil
	case "floor":
		_, err := fmt.Sscan(args[0], &w.pods.floor)
		w.announce()
		return err
	}
	p := w.pods.of(w.set.get(args[0]))
	if p == nil {
		return fmt.Errorf("no pod of %s", args[0])
	}
	switch word {
	case "delete":
		p.deleting = true
		if len(args) > 1 {
			p.patience, _ = time.ParseDuration(args[1])
		}
	case "gone":
		w.pods.past = append(w.pods.past, p)
		w.pods.all = slices.DeleteFunc(w.pods.all, func(x *pod) bool { return x == p })
	case "replace":
		w.pods.all = slices.DeleteFunc(w.pods.all, func(x *pod) bool { return x == p })
		if err := s.redis(append([]string{args[2]}, args[3:]...)); err != nil {
			return err
		}
		r := w.set.get(args[2])
		r.replicaOf(sentinel.FenceAddr)
		if r.keys > 0 && slices.Contains(args, "same") {
			r.replID, r.replID2 = p.r.replID, ""
		}
		w.pods.all = append(w.pods.all, &pod{r: r, name: p.name, data: p.data, prio: -1})
	default:
		return fmt.Errorf("no such word")
	}
	w.announce()
	return nil
}
