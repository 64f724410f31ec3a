package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/triwatch/triwatch/election"
	"github.com/triwatch/triwatch/k8sbind"
)

const (
	annotationID = k8sbind.AnnotationRaftID
	// listLife is how long one fresh list of the pods answers questions.
	listLife = time.Second
	// pastGrace is added to the grace of a pod that is being deleted, after which
	// its containers have been killed on any node that still obeys.
	pastGrace = 10 * time.Second
)

// Announce writes a Raft ID on our own pod, unless it is there. On an error try again.
func (k *Keeper) Announce(ctx context.Context, id election.ID) error {
	meta := map[string]any{"annotations": map[string]string{annotationID: string(id)}}
	if k.opt.UID != "" {
		meta["uid"] = k.opt.UID // another pod of this name is not ours
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return fmt.Errorf("encode announcement: %w", err)
	}
	_, err = k.opt.Client.CoreV1().Pods(k.opt.Namespace).Patch(ctx, k.opt.Pod, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("write annotation %s on own pod %s/%s: %w", annotationID, k.opt.Namespace, k.opt.Pod, err)
	}
	k.mu.Lock()
	k.id = id
	k.mu.Unlock()
	k.log.Info("identity announced", zap.String("id", string(id)), zap.String("pod", k.opt.Pod))
	return nil
}

// Discover returns the peer addresses of the other watchers' pods, sorted, from a
// cache. It fails until the pods have been listed once.
func (k *Keeper) Discover(context.Context) ([]string, error) {
	if !k.informer.HasSynced() {
		return nil, fmt.Errorf("list the watchers' pods in namespace %s: no answer of the API server yet", k.opt.Namespace)
	}
	var addrs []string
	for _, o := range k.informer.GetStore().List() {
		p, ok := o.(*corev1.Pod)
		if !ok || p.Status.PodIP == "" || k.isOwn(p) {
			continue
		}
		if dead, _ := k.ended(p); !dead {
			addrs = append(addrs, net.JoinHostPort(p.Status.PodIP, strconv.Itoa(k.opt.PeerPort)))
		}
	}
	slices.Sort(addrs)
	return slices.Compact(addrs), nil
}

// Leaving is true if our own pod is being deleted, or is there no more. An error
// means that nobody could tell.
func (k *Keeper) Leaving(ctx context.Context) (bool, error) {
	if own := k.ownPod(); own != nil && own.DeletionTimestamp != nil {
		return true, nil
	}
	p, err := k.opt.Client.CoreV1().Pods(k.opt.Namespace).Get(ctx, k.opt.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read own pod %s/%s: %w", k.opt.Namespace, k.opt.Pod, err)
	}
	return p.DeletionTimestamp != nil || !k.isOwn(p), nil
}

// Gone is true if no process with this Raft ID can be running any more, with the
// reason in words either way. An error means that nobody could tell.
func (k *Keeper) Gone(ctx context.Context, id election.ID, addr string) (gone bool, why string, err error) {
	pods, err := k.list(ctx)
	if err != nil {
		return false, "", err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	own := false
	why = "no pod has announced it"
	for i := range pods {
		p := &pods[i]
		own = own || k.isOwn(p)
		announced := p.Annotations[annotationID]
		dead, how := k.ended(p)
		switch {
		case dead && announced == string(id):
			why = fmt.Sprintf("its pod %s %s", p.Name, how)
		case dead:
		case announced == string(id):
			return false, fmt.Sprintf("its pod %s is there", p.Name), nil
		case announced == "" && host != "" && hasIP(p, host):
			return false, fmt.Sprintf("pod %s at %s has not announced who lives in it", p.Name, host), nil
		}
	}
	if !own {
		return false, "", fmt.Errorf("own pod %s is not among those that %q selects in namespace %s: the others can not be told from the missing",
			k.opt.Pod, k.opt.Selector, k.opt.Namespace)
	}
	return true, why, nil
}

func hasIP(p *corev1.Pod, ip string) bool {
	return p.Status.PodIP == ip || slices.ContainsFunc(p.Status.PodIPs, func(a corev1.PodIP) bool { return a.IP == ip })
}

// list returns the watchers' pods as the API server has them now: with no resource
// version given, its answer is that of a quorum of its store.
func (k *Keeper) list(ctx context.Context) ([]corev1.Pod, error) {
	k.listing.Lock()
	defer k.listing.Unlock()
	now := time.Now()
	if !k.asOf.IsZero() && now.Sub(k.asOf) < listLife {
		return k.listed, nil
	}
	l, err := k.opt.Client.CoreV1().Pods(k.opt.Namespace).List(ctx, metav1.ListOptions{LabelSelector: k.opt.Selector})
	if err != nil {
		return nil, fmt.Errorf("list the watchers' pods in namespace %s: %w", k.opt.Namespace, err)
	}
	if l.Continue != "" {
		return nil, errors.New("list the watchers' pods: the API server has given a part only")
	}
	for i := range l.Items {
		k.notePod(&l.Items[i])
	}
	k.listed, k.asOf = l.Items, now
	return l.Items, nil
}

// ended is true if the containers of a pod can not be running any more.
func (k *Keeper) ended(p *corev1.Pod) (ended bool, how string) {
	switch p.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return true, "has ended"
	case corev1.PodPending, corev1.PodRunning, corev1.PodUnknown:
	}
	if p.DeletionTimestamp == nil {
		return false, ""
	}
	k.mu.Lock()
	seen, ok := k.dying[p.UID]
	k.mu.Unlock()
	grace := time.Duration(0)
	if p.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*p.DeletionGracePeriodSeconds) * time.Second
	}
	if !ok || k.now().Sub(seen) < grace+pastGrace {
		return false, ""
	}
	return true, "was deleted and its grace is over"
}

// notePod remembers when a pod was first seen to be deleted.
func (k *Keeper) notePod(o any) {
	p, ok := o.(*corev1.Pod)
	if !ok || p.DeletionTimestamp == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.dying[p.UID]; !ok {
		k.dying[p.UID] = k.now()
	}
}

func (k *Keeper) forgetPod(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	if p, ok := o.(*corev1.Pod); ok {
		k.mu.Lock()
		delete(k.dying, p.UID)
		k.mu.Unlock()
	}
}

func (k *Keeper) isOwn(p *corev1.Pod) bool {
	return p.Name == k.opt.Pod && (k.opt.UID == "" || p.UID == k.opt.UID)
}

// ownPod returns our own pod from the cache, nil if it is not there.
func (k *Keeper) ownPod() *corev1.Pod {
	o, ok, err := k.informer.GetStore().GetByKey(k.opt.Namespace + "/" + k.opt.Pod)
	if err != nil || !ok {
		return nil
	}
	if p, ok := o.(*corev1.Pod); ok && k.isOwn(p) {
		return p
	}
	return nil
}
