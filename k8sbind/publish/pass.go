package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/triwatch/triwatch/k8sbind"
)

// pass compares one wish with what is known and writes what differs. It lives for one
// pass only.
type pass struct {
	p     *Publisher
	w     *worker
	d     Desired
	since time.Time
	ctx   context.Context

	verified time.Time // zero until leadership was verified
	busy     bool      // counted among those who write
	failed   bool      // to be tried again
	halt     bool      // a Service carries a higher epoch: no role is ours to write
	pending  []string
}

func (s *pass) run() {
	defer s.rest()
	if s.d.Instance == "" || s.newerService() {
		s.labelPods(instanceOnly)
		return
	}
	flipped := s.labelMaster() && s.flipAll()
	switch {
	case s.halt, !flipped && time.Since(s.since) < labelWait:
		s.labelPods(instanceOnly)
	default:
		s.labelPods(s.everything)
	}
}

// newerService tells whether a master Service is known to carry a higher epoch. Looking
// first keeps a stale leader from writing even the label that comes before the flip.
func (s *pass) newerService() bool {
	for _, svc := range s.d.Services {
		if svc.Role != k8sbind.RoleMaster {
			continue
		}
		o := s.p.service(svc.Namespace, svc.Name)
		if o != nil && epochOf(o) > s.d.Epoch {
			s.raised(services, o.Namespace, o.Name, serviceRef(o), &newerError{epochOf(o), s.d.Epoch})
			s.halt = true
		}
	}
	return s.halt
}

// labelMaster puts the role on the new master, and tells whether it is there.
func (s *pass) labelMaster() bool {
	for _, q := range s.d.Pods {
		if q.ID == s.d.Instance {
			want := labels{role: k8sbind.RoleMaster, epoch: s.d.Epoch, lazy: true}
			return s.writePod(q, want, s.p.o.Flips, flipTimeout) == standingSettled
		}
	}
	s.wait(fmt.Sprintf("the master's pod %s is not in the inventory", s.d.Instance))
	return false
}

// flipAll makes every master Service follow the instance, and tells whether all do.
func (s *pass) flipAll() bool {
	all := true
	for _, svc := range s.d.Services {
		if svc.Role == k8sbind.RoleMaster && s.ctx.Err() == nil && !s.halt {
			all = s.flip(svc) && all
		}
	}
	return all && !s.halt
}

func (s *pass) flip(svc Service) bool {
	o := s.p.service(svc.Namespace, svc.Name)
	if o == nil {
		s.wait(fmt.Sprintf("service %s is not there", svc.Name))
		return true // nothing to wait for
	}
	t := s.serviceTarget(svc, s.p.o.Flips, func(o *corev1.Service) (patch, error) {
		return flip(o, s.d.Epoch, s.d.Instance)
	})
	t.sending = func() { s.trying(svc.Name) }
	o, result := settle(s, o, t)
	switch result {
	case standingNewer:
		s.halt = true
		return false
	case standingSettled:
		if s.d.ReadOnly {
			return true
		}
		if took, first := s.flipped(svc.Name); first {
			s.p.log.Info("service follows the master", zap.String("master", s.d.Master), zap.String("service", svc.Name),
				zap.Stringer("epoch", s.d.Epoch), zap.String("instance", string(s.d.Instance)), zap.Duration("took", took),
				zap.String("resourceVersion", o.ResourceVersion))
			s.p.o.Flipped(s.d.Master, s.d.Epoch, svc.Name, s.d.Instance, took)
		}
		return true
	case standingGone:
		return true
	case standingFailed:
		return false
	}
	return false
}

// labelPods writes to all pods what choose says, on the client that may wait.
func (s *pass) labelPods(choose func(Pod) labels) {
	for _, q := range s.d.Pods {
		if s.ctx.Err() != nil {
			return
		}
		s.writePod(q, choose(q), s.p.o.Client, labelTimeout)
	}
}

func instanceOnly(Pod) labels { return labels{} }

func (s *pass) everything(q Pod) labels {
	want := labels{role: k8sbind.RoleReplica, epoch: s.d.Epoch, reads: readsNo}
	if q.ID == s.d.Instance {
		want.role = k8sbind.RoleMaster
	} else if q.Reads {
		want.reads = readsYes
	}
	return want
}

func (s *pass) writePod(q Pod, want labels, c kubernetes.Interface, timeout time.Duration) standing {
	o := s.p.pod(s.d.Namespace, q.Name)
	if o == nil || string(o.UID) != string(q.ID) {
		if q.ID == s.d.Instance {
			s.wait(fmt.Sprintf("the master's pod %s is not there", q.Name))
		}
		return standingGone // the inventory follows
	}
	t := s.podTarget(q, c, timeout, func(o *corev1.Pod) (patch, error) { return label(o, q.ID, want) })
	t.epoch = want.role != ""
	_, result := settle(s, o, t)
	return result
}

// wait notes what is not yet as it should be, once.
func (s *pass) wait(what string) {
	for _, known := range s.pending {
		if known == what {
			return
		}
	}
	s.pending = append(s.pending, what)
}

func (s *pass) pendingText() string { return strings.Join(s.pending, "; ") }

// raised reports an object that carries a higher epoch than ours.
func (s *pass) raised(resource, namespace, name string, about Object, err error) {
	what := fmt.Sprintf("%s %s %s", strings.TrimSuffix(resource, "s"), name, err)
	s.wait(what)
	if s.d.ReadOnly || !s.p.said.fresh(raisedKey(resource, namespace, name), what) {
		return
	}
	s.p.log.Warn("object carries a higher epoch: left alone until a plan passes it", zap.String("master", s.d.Master),
		zap.String("resource", resource), zap.String("namespace", namespace), zap.String("name", name), zap.Error(err))
	s.p.Event(Event{
		Object: about, Type: corev1.EventTypeWarning, Reason: "EpochAbove",
		Message: fmt.Sprintf("annotation %s: %s; not written to until a plan with a higher epoch. "+
			"Edited by hand, or written by a newer leader?", k8sbind.AnnotationEpoch, err),
	})
}

func raisedKey(resource, namespace, name string) string {
	return "raised/" + objectKey(resource, namespace, name)
}

// verify tells whether this watcher may write now.
func (s *pass) verify(again bool) bool {
	if !again && !s.verified.IsZero() && time.Since(s.verified) < verifyLasts {
		return s.ctx.Err() == nil
	}
	if err := s.p.verify(s.ctx); err != nil {
		s.failed = true
		s.wait("leadership is not verified")
		s.p.log.Debug("leadership is not verified: nothing is written", zap.String("master", s.d.Master), zap.Error(err))
		return false
	}
	s.verified = time.Now()
	if !s.busy {
		s.busy = true
		s.p.reports.writing(1)
	}
	return true
}

// verify asks whether this watcher leads, for a limited time.
func (p *Publisher) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flipTimeout)
	defer cancel()
	if err := p.o.Verify(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// rest ends what verify began.
func (s *pass) rest() {
	if s.busy {
		s.p.reports.writing(-1)
	}
}

// would logs a patch that is not sent, once.
func (s *pass) would(resource, namespace, name string, p patch) {
	if s.p.said.fresh("would/"+objectKey(resource, namespace, name)+string(p.encode()), "") {
		s.p.log.Info("would patch", zap.String("master", s.d.Master), zap.String("resource", resource),
			zap.String("namespace", namespace), zap.String("name", name), zap.ByteString("patch", p.encode()))
	}
}

// isNewer tells a higher epoch from the other reasons not to write.
func isNewer(err error) bool { return errors.Is(err, errNewer) }

func serviceRef(o *corev1.Service) Object {
	return Object{Kind: "Service", Namespace: o.Namespace, Name: o.Name, UID: o.UID}
}

func podRef(o *corev1.Pod) Object {
	return Object{Kind: "Pod", Namespace: o.Namespace, Name: o.Name, UID: o.UID}
}
