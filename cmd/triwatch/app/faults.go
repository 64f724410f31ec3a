package app

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/triwatch/triwatch/sentinel/resp"
	"github.com/triwatch/triwatch/sentinel/runner"
	"go.uber.org/zap"
)

// faultPoint finds the point that a word of SENTINEL SIMULATE-FAILURE means: one of
// Sentinel's two, or any of ours.
func faultPoint(word string) (point string, ok bool) {
	switch word = strings.ToLower(word); word {
	case resp.CrashAfterElection:
		return runner.AfterElection, true
	case resp.CrashAfterPromotion:
		return runner.AfterPromotion, true
	}
	at := strings.TrimPrefix(word, stopPrefix)
	known := slices.ContainsFunc(runner.Points(), func(p runner.Point) bool { return p.Name == at })
	return word, known || at != word && runner.Sending(at)
}

// stopPrefix before a point has the process stopped there (SIGSTOP), not killed: when it
// goes on, what it sends is late.
const stopPrefix = "stop-"

// SimulateFailure implements resp.Backend. The process ends at the first of the
// points that it comes by as a leader; a follower stays armed until it leads or is
// disarmed.
func (b *backend) SimulateFailure(words []string) (armed int) {
	var points []string
	for _, w := range words {
		p, ok := faultPoint(w)
		if !ok {
			break
		}
		points = append(points, p)
	}
	log := b.a.log.Named("faults")
	if len(points) == 0 {
		b.a.run.SetFault(nil)
		return 0
	}
	log.Warn("failure simulation: this watcher will kill itself", zap.Strings("points", points))
	var once atomic.Bool
	b.a.run.SetFault(func(point, master string) {
		if slices.Contains(points, stopPrefix+point) && once.CompareAndSwap(false, true) {
			log.Warn("failure simulation: this watcher stops itself", zap.String("point", point), zap.String("master", master))
			if err := stopSelf(); err != nil {
				log.Error("failure simulation: this watcher cannot stop itself and goes on", zap.Error(err))
			}
			return
		}
		if slices.Contains(points, point) && once.CompareAndSwap(false, true) {
			die(log, point, master)
		}
	})
	return len(points)
}

// die ends the process as a crash would: nothing is handed over, flushed or said to
// the others. It does not return, so that the step at which it strikes is not taken.
func die(log *zap.Logger, point, master string) {
	log.Warn("failure simulation: this watcher kills itself", zap.String("point", point), zap.String("master", master))
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		log.Error("failure simulation: this watcher cannot kill itself and goes on", zap.Error(err))
		return
	}
	select {} // the kernel has the last word
}
