package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// replaced takes all three watchers away by force, so that no SIGTERM helps, and measures
// until new ones watch again.
func (w *watched) replaced(ctx context.Context, v values) error {
	_, _, _, err := w.under(ctx, v, func(before lab.Status) error {
		old, err := w.set.WatcherPods(ctx)
		if err != nil {
			return err
		}
		gone := map[string]bool{}
		struck := time.Now()
		for _, p := range old {
			gone[p.Name] = true
			if err := w.remove(ctx, w.set.Namespace, p.Name, 0); err != nil {
				return err
			}
		}
		running, again, err := w.again(ctx, gone, before)
		if err != nil {
			return err
		}
		// Two can watch before the third one runs.
		v[vAgain] = max(0, again.Sub(running).Seconds())
		v[vReplaced] = again.Sub(struck).Seconds()
		return nil
	})
	return err
}

// again waits until the containers of three new watchers run, and until one of them says that it
// has a quorum and that the master is as it was. containerd's files say what runs: the API
// server learns it later, which would make the time look shorter.
func (w *watched) again(ctx context.Context, gone map[string]bool, before lab.Status) (running, again time.Time, err error) {
	run := map[string]bool{}
	err = lab.Wait(ctx, patience, "new watchers to watch", func(ctx context.Context) (string, error) {
		list, err := w.lab.Client().CoreV1().Pods(w.set.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=triwatch"})
		if err != nil {
			return "", err
		}
		var said []string
		for _, p := range list.Items {
			if gone[p.Name] {
				continue
			}
			if !run[p.Name] {
				if _, err := w.lab.PodPID(w.set.Namespace, p.Name, "triwatch"); err == nil {
					run[p.Name] = true
				}
			}
			text, ok := w.watching(ctx, p, before)
			if ok && again.IsZero() {
				again = time.Now()
			}
			said = append(said, p.Name+": "+text)
		}
		if len(run) >= 3 && running.IsZero() {
			running = time.Now()
		}
		if !running.IsZero() && !again.IsZero() {
			return "", nil
		}
		return fmt.Sprintf("%d run; %s", len(run), strings.Join(said, "; ")), nil
	})
	return running, again, err
}

// watching asks one watcher. Only one that is in a quorum and knows the master counts.
func (w *watched) watching(ctx context.Context, p corev1.Pod, before lab.Status) (string, bool) {
	if p.Status.PodIP == "" {
		return "no address", false
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	st, err := w.set.StatusOf(ctx, p.Status.PodIP)
	if err != nil {
		return err.Error(), false
	}
	ok := st.HasQuorum && !st.Stale && st.Master.State == "ok" && st.Master.Current.ID == before.Master.Current.ID
	return fmt.Sprintf("quorum %t, stale %t, %s", st.HasQuorum, st.Stale, st.Master.State), ok
}
