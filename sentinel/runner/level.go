package runner

import (
	"slices"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// sayAgain is the time between two log lines about the same watcher of an older build.
const sayAgain = time.Minute

// Level is the committed level: commands of a higher one are not used yet.
func (r *Runner) Level() int { return int(r.level.Load()) }

// Knows is the level that this watcher tells the others that it knows: where that is
// kept below the build's, no less than is in use already.
func (r *Runner) Knows() int {
	return min(max(r.opt.Hello.Level, r.Level()), sentinel.CommandLevel)
}

func (r *Runner) hello() *Hello {
	h := r.opt.Hello
	h.Level = r.Knows()
	return &h
}

// levelChanged publishes the committed level.
func (r *Runner) levelChanged() {
	now := int64(r.router.Level())
	if was := r.level.Swap(now); was != now {
		r.opt.Logger.Info("level changed: watchers of an older build stop acting from here on", zap.Int64("from", was), zap.Int64("to", now))
	}
}

// complain names the voters that run an older build than the committed level needs,
// if this watcher leads: they count for majorities and do nothing else.
func (r *Runner) complain(now sentinel.Time) {
	if !r.router.Leading() {
		return
	}
	heard := *r.heard.Load()
	for id := range r.behind {
		if h, ok := heard[id]; !ok || h.level() >= r.Level() {
			delete(r.behind, id)
		}
	}
	for _, id := range slices.Sorted(slices.Values(r.router.Voters())) {
		h, ok := heard[id]
		if !ok || h.level() >= r.Level() {
			continue
		}
		if again, said := r.behind[id]; !said || now >= again {
			r.behind[id] = now + sayAgain
			r.opt.Logger.Warn("watcher runs an older build and does not act: upgrade it", zap.String("watcher", string(id)),
				zap.String("version", h.Version), zap.Int("level", h.level()), zap.Int("needed", r.Level()))
		}
	}
}
