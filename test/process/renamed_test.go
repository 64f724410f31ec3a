package process

import (
	"fmt"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/test/redisproc"
)

// Redis whose configuration renames what watchers need is handed over and failed over all
// the same when sentinel.conf, or SENTINEL SET, says the names.
func TestRenamedCommands(t *testing.T) {
	names := map[string]string{"CONFIG": "cfg-7f3a", "REPLICAOF": "follow-7f3a", "SLAVEOF": "serve-7f3a", "CLIENT": "speak"}
	var args, lines, set []string
	for old, to := range names {
		args = append(args, "--rename-command", old, to)
		if old == "CLIENT" {
			set = append(set, "rename-command", old, to)
			continue
		}
		lines = append(lines, fmt.Sprintf("sentinel rename-command %s %s %s\n", name, strings.ToLower(old), to))
	}
	scenario(t, func(t *T) {
		r := start(t, setup{redis: redisproc.Options{Args: args}, conf: strings.Join(lines, "")})
		r.wait("what is renamed away without a word is missed", func() error {
			if got := r.state(r.leader()).Note; !strings.Contains(got, "CLIENT") {
				return fmt.Errorf("note %q", got)
			}
			return nil
		})
		r.asked(r.follower(), append([]string{"SENTINEL", "SET", name}, set...)...)
		r.wait("nothing is missed any more", func() error {
			if got := r.state(r.leader()).Note; got != "" {
				return fmt.Errorf("note %q", got)
			}
			return nil
		})
		r.fill(r.redis[0], 100)
		first := r.next(func(*redisproc.Server) { r.asked(r.follower(), "SENTINEL", "FAILOVER", name) })
		r.settled("1")
		r.filled(first, 100)
		r.steady(2)
		second := r.next((*redisproc.Server).Kill)
		r.settled("2")
		r.filled(second, 100)
		for _, w := range r.running() {
			if text := w.Tail(10000); strings.Contains(text, "7f3a") {
				t.Fatalf("%s has a new name of its file, which keeps people out, in its log", w.Name)
			}
		}
	})
}
