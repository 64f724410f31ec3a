package faults

import (
	"slices"
	"strings"
)

// Roles is who is what at a moment; the targets of events are resolved against it.
type Roles struct {
	// Redis and Watchers are all members, in order.
	Redis, Watchers []string
	// Master and Leader are members; Leader is "" if nobody leads.
	Master, Leader string
}

// Resolve turns targets into members, each once. A word that is no role is taken for
// a member's name.
func (r Roles) Resolve(targets string) []string {
	var out []string
	for t := range strings.SplitSeq(targets, ",") {
		for _, name := range r.one(t) {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func (r Roles) one(target string) []string {
	var replicas []string
	for _, name := range r.Redis {
		if name != r.Master {
			replicas = append(replicas, name)
		}
	}
	switch target {
	case "":
		return nil
	case "master":
		return []string{r.Master}
	case "replica":
		return replicas[:1]
	case "other":
		return replicas[1:2]
	case "replicas":
		return replicas
	case "redis":
		return r.Redis
	case "watchers":
		return r.Watchers
	case "all": // but the clients, who go on
		return slices.Concat(r.Redis, r.Watchers)
	case "leader":
		return r.Watchers[max(0, slices.Index(r.Watchers, r.Leader)):][:1]
	case "follower":
		i := max(0, slices.Index(r.Watchers, r.Leader))
		return []string{r.Watchers[(i+1)%len(r.Watchers)]}
	}
	return []string{target}
}
