package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// While the API server is away the watchers go on: Sentinel clients move at once, the
// Service as soon as it can. And an epoch is never used twice, even if all that the
// watchers know is lost afterwards.
func TestAPIServerIsAway(t *testing.T) {
	s := stage(t, "away", "overlays/all", "")
	before := s.well(3)
	keys := s.fill(before)
	ips := s.watcherIPs()
	l := s.begin()
	s.do(s.StopAPI(s.ctx, syscall.SIGKILL))
	t.Cleanup(func() { // the other tests need it
		if t.Failed() {
			_ = s.StartAPI(context.WithoutCancel(s.ctx)) // it may be there
		}
	})
	s.do(s.KillInContainer(s.ctx, s.Namespace, before.Master.Current.Name, "redis", syscall.SIGKILL))
	var during lab.Status
	s.do(lab.Wait(s.ctx, patience, "a failover without the API", func(ctx context.Context) (string, error) {
		var said []string
		for _, ip := range ips {
			st, err := s.StatusOf(ctx, ip)
			if err == nil && st.Master.EpochNumber > before.Master.EpochNumber && !st.Stale {
				during = st
				return "", nil
			}
			said = append(said, fmt.Sprintf("%s: epoch %d, %s %s, stale %t, %v", ip, st.Master.EpochNumber, st.Master.State, st.Master.Note, st.Stale, err))
		}
		return strings.Join(said, "; "), nil
	}))
	s.do(l.SentinelFlowing(s.ctx, patience))
	s.do(s.StartAPI(s.ctx))
	back := time.Now()
	s.do(l.Flowing(s.ctx, patience))
	s.Logf("the Service follows %.1f s after the API server is back", time.Since(back).Seconds())
	after := s.well(3)
	s.end("API server away during a failover", l)
	s.kept(after, keys)
	if after.Master.EpochNumber != during.Master.EpochNumber {
		s.Errorf("epoch %d was decided without the API, now it is %d", during.Master.EpochNumber, after.Master.EpochNumber)
	}
	s.forceWatchers(3)
	again := s.well(3)
	if again.Master.EpochNumber <= after.Master.EpochNumber {
		s.Errorf("after the watchers were replaced the epoch is %d, it was %d", again.Master.EpochNumber, after.Master.EpochNumber)
	}
	if again.Master.Current.ID != after.Master.Current.ID {
		s.Errorf("replaced watchers took %s for the master, not %s", again.Master.Current.Name, after.Master.Current.Name)
	}
	s.works(again)
}

// watcherIPs are the watchers' addresses, for when the API server cannot be asked.
func (s *scene) watcherIPs() []string {
	s.Helper()
	pods, err := s.WatcherPods(s.ctx)
	s.do(err)
	var ips []string
	for _, p := range pods {
		ips = append(ips, p.Status.PodIP)
	}
	if len(ips) != 3 {
		s.Fatal(fmt.Errorf("%d watchers have addresses", len(ips)))
	}
	return ips
}
