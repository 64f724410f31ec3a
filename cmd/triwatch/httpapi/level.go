package httpapi

import "fmt"

// stuckText says why this watcher does not act although it is there.
func (c ClusterInfo) stuckText() string {
	if c.NeedsLevel > 0 {
		return fmt.Sprintf("this watcher runs an older build (level %d, the cluster needs %d) and has stopped acting: upgrade it", c.Knows, c.NeedsLevel)
	}
	return "this watcher does not understand the log and has stopped acting: " + c.Stuck
}

// IsOutdated reports whether a voter is known to run a build that does not understand
// the committed level. It counts for majorities and does not act.
func (c ClusterInfo) IsOutdated(p PeerInfo) bool {
	return p.Voter && p.Level > 0 && p.Level < max(c.Level, c.NeedsLevel)
}

// outdated has a sentence for each other voter that is outdated.
func (c ClusterInfo) outdated() []string {
	var out []string
	for _, p := range c.Peers {
		if c.IsOutdated(p) && !p.Self {
			out = append(out, fmt.Sprintf("watcher %s runs an older build (level %d, the cluster needs %d) and does not act: upgrade it",
				c.nameOf(p.ID, p.Addr), p.Level, max(c.Level, c.NeedsLevel)))
		}
	}
	return out
}
