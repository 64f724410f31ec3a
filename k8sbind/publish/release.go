package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/triwatch/triwatch/k8sbind"
)

// Release gives the master Services of d back to their manifests and forgets the wish;
// the caller must not Set it again before the master is taken up again. It returns
// when all is done, and may be repeated after an error.
//
// The Service goes on answering: first every pod gets its role, then one patch
// takes the instance out of the selector and the epoch off the Service. The selector's
// triwatch.io/role: master still selects the one master. A Service that does not select
// the role keeps the instance, which is all that tells the master from the replicas.
// What stays on the pods (instance, role, reads, and the epoch, which keeps epochs from
// being used again should triwatch come back) hurts nobody and goes with the pod. A
// pod that replaces the master has no role, and nobody to give it one: whoever takes
// over has to label it or to change the selector.
//
// A read-only wish was never written, so there is nothing to give back. To release a
// paused master, clear ReadOnly.
func (p *Publisher) Release(ctx context.Context, d Desired) error {
	lead := p.leading()
	if lead == nil {
		return fmt.Errorf("release service of %s: %w", d.Master, ErrNotLeading)
	}
	if w := p.forget(d.Master); w != nil {
		select {
		case <-w.done: // nothing puts back what is taken away
		case <-ctx.Done():
			return fmt.Errorf("release service of %s: %w", d.Master, ctx.Err())
		}
	}
	if d.ReadOnly || d.Instance == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(lead, cancel)()
	defer context.AfterFunc(p.stop, cancel)()
	s := &pass{p: p, w: newWorker(p), d: d, ctx: ctx}
	defer s.w.cancel()
	defer s.rest()
	return s.release()
}

func (s *pass) release() error {
	ok := s.labelMaster()
	for _, q := range s.d.Pods {
		standing := s.writePod(q, s.everything(q), s.p.o.Client, labelTimeout)
		ok = ok && (standing == standingSettled || standing == standingGone)
	}
	if !ok {
		return s.unreleased("label pods")
	}
	for _, v := range s.d.Services {
		o := s.p.service(v.Namespace, v.Name)
		if v.Role != k8sbind.RoleMaster || o == nil {
			continue
		}
		_, result := settle(s, o, s.serviceTarget(v, s.p.o.Flips, func(o *corev1.Service) (patch, error) {
			return unflip(o, s.d.Epoch)
		}))
		if result != standingSettled && result != standingGone {
			return s.unreleased("patch service " + v.Name)
		}
	}
	return nil
}

func (s *pass) unreleased(what string) error {
	if err := s.ctx.Err(); err != nil {
		return fmt.Errorf("release service of %s: %s: %w", s.d.Master, what, err)
	}
	why := strings.Join(s.pending, "; ")
	if why == "" {
		why = "not done"
	}
	return fmt.Errorf("release service of %s: %s: %w", s.d.Master, what, errors.New(why))
}
