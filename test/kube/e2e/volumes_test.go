package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// What is on volumes is never thrown away, in whatever order the pods come back.
func TestVolumes(t *testing.T) {
	if err := shared.MakeVolumes(t.Context(), 3, "1Gi", "test"); err != nil {
		t.Fatal(err)
	}
	s := stage(t, "volumes", "overlays/persistent", "")
	t.Run("container killed", func(t *testing.T) { s.in(t).containerKilled() })
	t.Run("all deleted at once", func(t *testing.T) { s.in(t).allDeleted(true) })
	t.Run("the newest comes last", func(t *testing.T) { s.in(t).newestLast() })
}

// Without volumes there is nothing to keep when all are deleted; Redis serves again.
func TestAllPodsDeletedWithoutVolumes(t *testing.T) {
	stage(t, "ephemeral", "overlays/all", "").allDeleted(false)
}

func (s *scene) allDeleted(kept bool) {
	before := s.well(3)
	keys := s.fill(before)
	for _, i := range before.Master.Instances {
		s.written(i.Name)
	}
	began := time.Now()
	s.deleteRedis()
	after := s.well(3)
	s.Logf("all pods deleted at once: well again after %.1f s", time.Since(began).Seconds())
	if kept {
		s.kept(after, keys)
	}
	l := s.begin()
	s.lossless(s.end("afterwards", l))
}

// deleteRedis deletes all Redis pods and waits until they are gone. kubectl's own
// --wait goes by name once it watches, and so for ever waits for the pod that the
// StatefulSet makes in the place of one that went away just before.
func (s *scene) deleteRedis() {
	old, err := s.RedisPods(s.ctx)
	s.do(err)
	s.kubectl("delete", "pod", "-l", "app=redis", "--wait=false")
	for _, p := range old {
		s.do(lab.Wait(s.ctx, patience, p.Name+" to go", func(ctx context.Context) (string, error) {
			now, err := s.Client().CoreV1().Pods(s.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) || err == nil && now.UID != p.UID {
				return "", nil
			}
			return fmt.Sprintf("it is %s and was deleted at %v", now.Status.Phase, now.DeletionTimestamp), err
		}))
	}
}

// written waits until a pod's Redis has handed all to its append-only file, if it has
// one: that outlives the process, and only a machine that dies takes what is not synced.
func (s *scene) written(pod string) {
	s.do(lab.Wait(s.ctx, patience, pod+" to write its append-only file", func(ctx context.Context) (string, error) {
		info, err := s.Redis(ctx, pod, "INFO", "persistence")
		if err != nil {
			return "", err
		}
		if strings.Contains(info, "aof_enabled:0") || strings.Contains(info, "aof_buffer_length:0\r") {
			return "", nil
		}
		return info, nil
	}))
}

// newestLast writes what only the master has, ends everything, and holds the master's
// pod back: nobody else may be made master meanwhile.
func (s *scene) newestLast() {
	before := s.well(3)
	master := before.Master.Current.Name
	pods, err := s.RedisPods(s.ctx)
	s.do(err)
	for _, p := range pods {
		if p.Name != master {
			s.do(s.KillInContainer(s.ctx, s.Namespace, p.Name, "redis", syscall.SIGSTOP))
		}
	}
	words := []string{"MSET"}
	var newest []string
	for i := range 100 {
		newest = append(newest, fmt.Sprintf("newest-%d", i))
		words = append(words, newest[i], "here")
	}
	_, err = s.Redis(s.ctx, master, words...)
	s.do(err)
	s.written(master)
	// The StatefulSet makes no new pod while the old one is there in name.
	s.kubectl("patch", "pod", master, "--type=merge", "-p", `{"metadata":{"finalizers":["test.triwatch.io/hold"]}}`)
	s.kubectl("delete", "pod", "-l", "app=redis", "--force", "--grace-period=0", "--wait=false")
	// Its preStop would leave it time to hand over to the new pods.
	s.do(s.KillInContainer(s.ctx, s.Namespace, master, "redis", syscall.SIGKILL))
	s.do(lab.Wait(s.ctx, patience, "the watchers to wait for the newest", func(ctx context.Context) (string, error) {
		out, err := s.Kubectl(ctx, "-n", s.Namespace, "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}")
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(out) {
			// Once its grace is over, the pod that is held back counts as gone.
			named := strings.Contains(line, master+", which may have more") || strings.Contains(line, "1 more, which may have more")
			if named && strings.HasPrefix(line, "Waiting:") {
				return "", nil
			}
		}
		return "no such Event", nil
	}))
	held, err := s.Status(s.ctx)
	s.do(err)
	if held.Master.EpochNumber != before.Master.EpochNumber {
		s.Errorf("epoch %d was begun while the newest data was away", held.Master.EpochNumber)
	}
	s.kubectl("patch", "pod", master, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	after := s.well(3)
	s.kept(after, newest)
}
