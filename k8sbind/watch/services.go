package watch

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/triwatch/triwatch/k8sbind"
)

// served is a Service with the role that it serves.
type served struct {
	service *corev1.Service
	role    string
}

type labelSet = labels.Set

// servicesByMaster finds the Services that follow a master, by its name and each
// sorted by theirs.
func (p *pass) servicesByMaster() map[string][]served {
	out := map[string][]served{}
	for _, s := range p.view.services() {
		p.seen[s.UID] = true
		p.unknownKeys(kindService, s)
		text, ok := s.Annotations[k8sbind.AnnotationServe]
		if !ok {
			continue
		}
		p.out.related[object{s.Namespace, kindService, s.Name}] = true
		name, role, ok := strings.Cut(text, "/")
		if !ok || !validName(name) || (role != k8sbind.RoleMaster && role != k8sbind.RoleReplica) {
			p.problem(kindService, s, ReasonInvalidAnnotation, "annotation %s: %q is not NAME/%s or NAME/%s; the Service is left alone",
				k8sbind.AnnotationServe, text, k8sbind.RoleMaster, k8sbind.RoleReplica)
			continue
		}
		owner, ok := p.names[name]
		if !ok || owner.Namespace != s.Namespace {
			p.problem(kindService, s, ReasonUnknownMaster, "annotation %s: %q: no StatefulSet of namespace %s has the name %s by its annotation %s; the Service is left alone",
				k8sbind.AnnotationServe, text, s.Namespace, name, k8sbind.AnnotationWatch)
			continue
		}
		if p.selects(s, role) {
			out[name] = append(out[name], served{s, role})
		}
	}
	for _, all := range out {
		slices.SortFunc(all, func(a, b served) int { return cmp.Compare(a.service.Name, b.service.Name) })
	}
	return out
}

// selects checks a Service's selector, and reports whether the Service can follow
// at all.
func (p *pass) selects(s *corev1.Service, role string) bool {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		p.problem(kindService, s, ReasonRoleNotSelected, "annotation %s: a Service of type ExternalName has no selector and cannot follow a master; it is left alone", k8sbind.AnnotationServe)
		return false
	}
	has := s.Spec.Selector[k8sbind.LabelRole]
	switch {
	case role == k8sbind.RoleMaster && has != k8sbind.RoleMaster:
		p.problem(kindService, s, ReasonRoleNotSelected, "the selector lacks %s: %s; the Service follows the master all the same while triwatch adds %s, "+
			"but selects every pod whenever that is taken off: add it to the manifest", k8sbind.LabelRole, k8sbind.RoleMaster, k8sbind.LabelInstance)
	case role == k8sbind.RoleReplica && has != k8sbind.RoleReplica && s.Spec.Selector[k8sbind.LabelReads] != k8sbind.ReadsYes:
		p.problem(kindService, s, ReasonRoleNotSelected, "the selector has neither %s: %s nor %s: %s; the Service selects the master too, and replicas that are not fit for reading: add one to the manifest",
			k8sbind.LabelReads, k8sbind.ReadsYes, k8sbind.LabelRole, k8sbind.RoleReplica)
	}
	return true
}
