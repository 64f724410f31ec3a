package watch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

// view is what a pass reads. Lists may come in any order.
type view interface {
	statefulSets() []*appsv1.StatefulSet
	services() []*corev1.Service
	podsOf(namespace string, owner types.UID) []*corev1.Pod
	secret(namespace, name string) (*corev1.Secret, secretState)
}

// deriver turns a view into a snapshot. It remembers only what the objects do not
// tell: good values, and since when something has been seen. It has no lock.
type deriver struct {
	quorum int
	settle time.Duration

	good      map[types.UID]map[string]string // last readable value of each setting
	configs   map[types.UID]sentinel.Config   // last that fit together
	passwords map[types.UID]credentials
	ending    map[types.UID]ending
	since     map[Problem]time.Time
}

type credentials struct{ user, password string }

func newDeriver(quorum int, settle time.Duration) *deriver {
	return &deriver{
		quorum:    quorum,
		settle:    settle,
		good:      map[types.UID]map[string]string{},
		configs:   map[types.UID]sentinel.Config{},
		passwords: map[types.UID]credentials{},
		ending:    map[types.UID]ending{},
		since:     map[Problem]time.Time{},
	}
}

// derived is the outcome of a pass.
type derived struct {
	snapshot Snapshot
	next     time.Time // when a pass is due although nothing changes; zero if never
	related  map[object]bool
}

// pass is one derivation.
type pass struct {
	*deriver
	view     view
	now      time.Time
	out      derived
	problems map[Problem]bool
	seen     map[types.UID]bool // of every object that was looked at
	// names has the owner of each master's name.
	names map[string]*appsv1.StatefulSet
}

func (d *deriver) derive(v view, now time.Time, unsure bool) derived {
	p := &pass{deriver: d, view: v, now: now, problems: map[Problem]bool{}, seen: map[types.UID]bool{}}
	p.out.related = map[object]bool{}
	p.out.snapshot.Unsure = unsure
	p.claimNames()
	services := p.servicesByMaster()
	for _, name := range slices.Sorted(maps.Keys(p.names)) {
		if m, ok := p.master(name, p.names[name], services[name]); ok {
			p.out.snapshot.Masters = append(p.out.snapshot.Masters, m)
		} else {
			p.out.snapshot.Unsure = true
		}
	}
	p.out.snapshot.Problems = p.settled()
	d.forget(p.seen)
	return p.out
}

// due asks for a pass at t at the latest.
func (p *pass) due(t time.Time) {
	if p.out.next.IsZero() || t.Before(p.out.next) {
		p.out.next = t
	}
}

// claimNames finds the StatefulSets that are ours. Of several with one name the
// oldest has it, which every watcher finds out in the same way.
func (p *pass) claimNames() {
	claims := map[string][]*appsv1.StatefulSet{}
	for _, s := range p.view.statefulSets() {
		p.seen[s.UID] = true
		p.unknownKeys(kindStatefulSet, s)
		name, ok := s.Annotations[k8sbind.AnnotationWatch]
		if !ok {
			continue
		}
		if !validName(name) {
			p.problem(kindStatefulSet, s, ReasonInvalidAnnotation, "annotation %s: %q is not a master's name (letters, digits, '.', '_' and '-'); "+
				"the StatefulSet is not watched", k8sbind.AnnotationWatch, name)
			continue
		}
		claims[name] = append(claims[name], s)
	}
	p.names = map[string]*appsv1.StatefulSet{}
	for name, all := range claims {
		slices.SortFunc(all, func(a, b *appsv1.StatefulSet) int {
			return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		first := all[0]
		p.names[name] = first
		for _, other := range all[1:] {
			p.problem(kindStatefulSet, other, ReasonDuplicateName, "annotation %s: the name %s belongs to the older StatefulSet %s/%s; this one is not watched until it has a name of its own",
				k8sbind.AnnotationWatch, name, first.Namespace, first.Name)
		}
		if len(all) > 1 {
			var others []string
			for _, other := range all[1:] {
				others = append(others, other.Namespace+"/"+other.Name)
			}
			p.problem(kindStatefulSet, first, ReasonDuplicateName, "annotation %s: the name %s is also on %s, which came later; this StatefulSet keeps it",
				k8sbind.AnnotationWatch, name, strings.Join(others, " and "))
		}
	}
}

// validName accepts what Sentinel accepts as a master's name.
func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// master describes one StatefulSet. False is returned while the password of a
// master that was not handed out before is still awaited: probes without it would
// say that the instances refuse it.
func (p *pass) master(name string, s *appsv1.StatefulSet, services []served) (Master, bool) {
	set := p.settings(s)
	m := Master{
		Name: name, Namespace: s.Namespace, StatefulSet: s.Name, UID: s.UID,
		Paused: set.paused, Fence: set.fence, HoldUnfenced: set.holdUnfenced, AnnounceHostname: set.announceHostname, Outside: set.outside,
		Governing: s.Spec.ServiceName,
		Pods:      map[sentinel.InstanceID]string{},
	}
	inv := &m.Inventory
	inv.Owner = m.Namespace + "/" + m.StatefulSet
	set.config.HoldUnfenced = set.holdUnfenced
	inv.Master, inv.Config, inv.Fence, inv.Expected = name, set.config, set.fence, 1
	if s.Spec.Replicas != nil {
		inv.Expected = int(*s.Spec.Replicas)
	}
	if inv.Expected < 2 {
		p.problem(kindStatefulSet, s, ReasonNoReplica, "spec.replicas is %d: there is no replica that could take over, so a lost master stays lost; set it to 2 or more", inv.Expected)
	}
	if set.announceHostname && s.Spec.ServiceName == "" {
		p.problem(kindStatefulSet, s, ReasonInvalidSettings, "annotation %s: hostname needs spec.serviceName, the headless Service that gives pods their names; clients are told addresses",
			k8sbind.AnnotationAnnounce)
	}
	p.addPods(&m, s, set)
	for _, sv := range services {
		m.Services = append(m.Services, Service{Namespace: sv.service.Namespace, Name: sv.service.Name, Role: sv.role})
		if sv.role == k8sbind.RoleMaster {
			inv.Serves = true
			inv.Floor = max(inv.Floor, p.epoch(kindService, sv.service))
		}
	}
	if !inv.Serves {
		p.problem(kindStatefulSet, s, ReasonNoService, "no Service of namespace %s has the annotation %s: %s/%s; clients of the Sentinel port follow the master, nothing else does",
			s.Namespace, k8sbind.AnnotationServe, name, k8sbind.RoleMaster)
	}
	creds, ok := p.credentials(s, set.secret)
	m.User, m.Password = creds.user, creds.password
	return m, ok
}

// credentials returns the user and password of a StatefulSet; false while they are
// awaited and no earlier ones are known.
func (p *pass) credentials(s *appsv1.StatefulSet, name string) (credentials, bool) {
	known, had := p.passwords[s.UID]
	if name == "" {
		p.passwords[s.UID] = credentials{}
		return credentials{}, true
	}
	instead := "no password is used meanwhile"
	if had {
		instead = "what was known before stays in use"
	}
	why := ""
	secret, state := p.view.secret(s.Namespace, name)
	switch state {
	case secretPending:
		return known, had
	case secretPresent:
		if password, ok := secret.Data[secretPassword]; ok {
			known = credentials{user: string(secret.Data[secretUser]), password: string(password)}
			p.passwords[s.UID] = known
			return known, true
		}
		why = "has no key " + secretPassword
	case secretAbsent:
		why = "does not exist"
	case secretUnreadable, secretUnknown:
		why = "cannot be read (is it named in the Role?)"
	}
	p.problem(kindStatefulSet, s, ReasonMissingSecret, "annotation %s: Secret %s/%s %s; %s", k8sbind.AnnotationAuthSecret, s.Namespace, name, why, instead)
	return known, true
}

// epoch returns the epoch that is written on an object, zero if there is none.
func (p *pass) epoch(kind string, o named) sentinel.Epoch {
	text, ok := o.GetAnnotations()[k8sbind.AnnotationEpoch]
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		p.problem(kind, o, ReasonInvalidAnnotation, "annotation %s: %q is not an epoch (a decimal number); it is written by triwatch and not meant to be edited, and is ignored here",
			k8sbind.AnnotationEpoch, text)
		return 0
	}
	return sentinel.Epoch(n)
}

// named is the part of an object that problems are about.
type named interface {
	GetNamespace() string
	GetName() string
	GetAnnotations() map[string]string
	GetUID() types.UID
}

func (p *pass) problem(kind string, o named, reason, format string, args ...any) {
	p.problems[Problem{Namespace: o.GetNamespace(), Kind: kind, Name: o.GetName(), Reason: reason, Message: fmt.Sprintf(format, args...)}] = true
}

// settled returns the problems that people should hear of, sorted. Those between
// two objects wait, because one kubectl apply does not write them at one moment.
func (p *pass) settled() []Problem {
	var out []Problem
	for pr := range p.problems {
		since, ok := p.since[pr]
		if !ok {
			since = p.now
			p.since[pr] = since
		}
		until := since
		switch pr.Reason {
		case ReasonNoService, ReasonUnknownMaster, ReasonMissingSecret:
			until = since.Add(p.settle)
		}
		if p.now.Before(until) {
			p.due(until)
			continue
		}
		out = append(out, pr)
	}
	maps.DeleteFunc(p.since, func(pr Problem, _ time.Time) bool { return !p.problems[pr] })
	slices.SortFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return out
}

// forget drops what is remembered of objects that no longer exist.
func (d *deriver) forget(seen map[types.UID]bool) {
	gone := func(uid types.UID) bool { return !seen[uid] }
	maps.DeleteFunc(d.good, func(uid types.UID, _ map[string]string) bool { return gone(uid) })
	maps.DeleteFunc(d.configs, func(uid types.UID, _ sentinel.Config) bool { return gone(uid) })
	maps.DeleteFunc(d.passwords, func(uid types.UID, _ credentials) bool { return gone(uid) })
	maps.DeleteFunc(d.ending, func(uid types.UID, _ ending) bool { return gone(uid) })
}

func sortedObjects(set map[object]struct{}) []object {
	return slices.SortedFunc(maps.Keys(set), func(a, b object) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
}
