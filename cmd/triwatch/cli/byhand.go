package cli

import (
	"fmt"
	"net"
	"slices"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// byHand prints what a person can do while there is no quorum, and what triwatch
// does when it is back. Commands are printed for every master that does not serve.
// With a quorum it prints nothing.
func (s *session) byHand(st httpapi.Standing, masters []httpapi.Master) {
	if st.HasQuorum {
		return
	}
	if st.Outside {
		s.printf("\nWhat helps: ask another watcher with --http-addr; the others may well have a quorum.\n")
		return
	}
	majority := st.Watchers/2 + 1
	s.printf("\nWhat helps: bring watchers back until %d of %d are in touch (triwatch peers shows them).\n", majority, st.Watchers)
	s.printf("triwatch then acts by itself: it checks all anew, and replaces a master that is gone.\n")
	for _, m := range masters {
		if len(masters) > 1 && httpapi.Healthy(m.State) {
			continue
		}
		s.byHandOne(m)
	}
}

func (s *session) byHandOne(m httpapi.Master) {
	if i := slices.IndexFunc(m.Instances, func(i httpapi.Instance) bool { return i.Master && i.Health == "up" }); i >= 0 {
		s.printf("\n%s: the master %s answers here. Nothing has to be done by hand; only a failover would not happen.\n", clean(m.Name), clean(full(m.Current)))
		return
	}
	best := bestReplica(m)
	if best == nil {
		s.printf("\n%s: no replica is known here that could be made master. Bring %s back with its data.\n", clean(m.Name), clean(full(m.Current)))
		return
	}
	s.printf("\n%s: if that cannot wait, act by hand (redis-cli may need --user and -a):\n", clean(m.Name))
	s.printf("  1. Stop every watcher. One that finds a quorum again holds to the committed master (%s, epoch %s):\n", clean(m.Current.Address), m.Epoch)
	s.printf("     it makes any other master read-only and decides anew, or leaves one that is used alone until triwatch adopt.\n")
	s.printf("  2. Make sure that the old master takes no writes: stop it, or cut it off from its clients.\n")
	s.printf("  3. Make the best replica master, and let the others follow it:\n")
	var rows [][]string
	rows = append(rows, []string{cliOf(best.Ref) + " REPLICAOF NO ONE", "# " + why(*best)})
	for _, i := range m.Instances {
		if i.ID == best.ID || i.Master {
			continue
		}
		rows = append(rows, []string{cliOf(i.Ref) + " " + follow(best.Ref), "# " + state(i)})
	}
	rows = append(rows, []string{cliOf(m.Current) + " " + follow(best.Ref), "# the old master, when it is back: it loses what it alone has"})
	table(s.Out, "       ", rows)
	s.printf("  4. Send the clients to %s: the watchers do not.\n", clean(best.Address))
	s.printf("  5. Before the watchers start again, on each of them: move its data directory away, and write\n")
	host, port := split(best.Address)
	s.printf("       sentinel monitor %s %s %s %d\n", clean(m.Name), clean(host), clean(port), m.Quorum)
	s.printf("     in its file. They then take the new master as they find it, and act again.\n")
}

// bestReplica is the one that triwatch would choose, else the one with the most
// data among those that answer.
func bestReplica(m httpapi.Master) *httpapi.Instance {
	var best *httpapi.Instance
	for n := range m.Instances {
		i := &m.Instances[n]
		switch {
		case i.Master || i.Down || i.Offset == nil || i.Priority == 0:
		case i.WouldBeChosen:
			return i
		case best == nil || *i.Offset > *best.Offset:
			best = i
		}
	}
	return best
}

func why(i httpapi.Instance) string {
	return fmt.Sprintf("%s: offset %d, the best seen from here", i.Name, *i.Offset)
}

func state(i httpapi.Instance) string {
	if i.Down {
		return i.Name + ": when it is back"
	}
	return i.Name
}

func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, "6379"
	}
	return host, port
}

func cliOf(r httpapi.Ref) string {
	host, port := split(r.Address)
	return "redis-cli -h " + host + " -p " + port
}

func follow(r httpapi.Ref) string {
	host, port := split(r.Address)
	return "REPLICAOF " + host + " " + port
}
