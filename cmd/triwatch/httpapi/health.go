package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// livez answers whether the process lives, which is that its loop makes passes.
// Quorum and Redis do not matter here: a restart would not mend them.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	last := s.opt.Source.LastPass()
	if last.Before(s.made) {
		last = s.made
	}
	if age := s.opt.Now().Sub(last); age > s.opt.LoopTimeout {
		lines(w, http.StatusServiceUnavailable, []string{fmt.Sprintf("the loop's last pass was %v ago", age.Round(time.Millisecond))})
		return
	}
	lines(w, http.StatusOK, []string{"ok"})
}

// readyz answers whether this watcher takes part.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if why := unready(s.opt.Source.Cluster()); len(why) > 0 {
		lines(w, http.StatusServiceUnavailable, why)
		return
	}
	lines(w, http.StatusOK, []string{"ok"})
}

func unready(c ClusterInfo) []string {
	var why []string
	if c.Superseded {
		why = append(why, "superseded: this watcher belongs to an older generation of the cluster and has stopped acting")
	}
	if c.Removed {
		why = append(why, "removed: the cluster does not count this watcher any more")
	}
	if c.Stuck != "" {
		why = append(why, "stuck: "+c.stuckText())
	}
	if c.LeaderID == "" {
		why = append(why, "no leader: the watchers have no quorum, or have not elected yet")
	}
	if !c.Voter {
		why = append(why, "no vote: this watcher is not a voting member yet")
	}
	if !c.CaughtUp {
		why = append(why, "not caught up: committed entries are still to be applied")
	}
	if c.Waiting != "" && c.Waiting != c.Stuck && len(why) > 0 {
		why = append(why, "waiting: "+c.Waiting)
	}
	return why
}

// Healthy reports whether a master in that state takes writes, as far as known,
// and is protected.
func Healthy(state string) bool {
	switch state {
	case "ok", "degraded", "suspect", "handover", "observed", "paused", "released":
		return true
	}
	return false // down, held, failover, unadopted, unknown
}

// healthz answers how all masters are.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.opt.ViewTimeout)
	defer cancel()
	views, own, err := s.opt.Source.Views(ctx)
	if err != nil {
		lines(w, http.StatusServiceUnavailable, []string{"the watcher does not answer: " + err.Error()})
		return
	}
	status := http.StatusOK
	var text []string
	st := newStanding(s.opt.Source.Cluster(), own)
	if st.Stale {
		text = append(text, "stale: "+st.StaleReason)
	}
	text = append(text, st.Outdated...)
	if !st.HasQuorum {
		status = http.StatusServiceUnavailable
	}
	for _, v := range views {
		if !Healthy(v.State) {
			status = http.StatusServiceUnavailable
		}
		line := v.Name + ": " + v.State
		if v.Note != "" {
			line += ": " + v.Note
		}
		text = append(text, line)
	}
	if len(views) == 0 {
		text = append(text, "no master is watched")
	}
	lines(w, status, text)
}

func lines(w http.ResponseWriter, status int, text []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, l := range text {
		_, _ = fmt.Fprintln(w, l)
	}
}
