package cli_test

import (
	"fmt"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/sentinel"
)

// withPlan lets a handover of orders be under way.
func withPlan(g *rig) {
	v := &g.src.List[1]
	to := v.Instances[1]
	v.State, v.Note = "handover", "epoch 14: handover to 10.244.0.18:6379, fencing"
	v.Plan = &sentinel.Plan{Epoch: 14, Kind: sentinel.KindHandover, Phase: sentinel.PhaseFencing, Old: v.Master,
		New: sentinel.Assignment{Epoch: 14, Instance: to.ID, Addr: to.Addr}}
}

// allReached lets a check find nothing wrong with any instance.
func allReached(g *rig) {
	for _, v := range g.src.List {
		var all []httpapi.Reached
		for _, i := range v.Instances {
			all = append(all, httpapi.Reached{Instance: i.ID, Info: sentinel.Info{Role: i.Role, Version: "7.0.15", Keys: 1000}})
		}
		g.src.Reached[v.Name] = all
	}
}

func notLeader(g *rig) {
	g.src.RemoveErr = fmt.Errorf("remove peer: %w", httpapi.ErrNotLeader)
}
