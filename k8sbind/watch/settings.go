package watch

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

// Defaults where they are not those of sentinel.DefaultConfig: Kubernetes tells
// sooner than a host would that an instance is gone for good.
const (
	defaultDownAfter       = 5 * time.Second
	defaultFailoverTimeout = 60 * time.Second

	minDownAfter = 50 * time.Millisecond
	maxDuration  = 24 * time.Hour
	maxPriority  = math.MaxInt32
	maxSyncs     = 1000
)

// settings are what the annotations of a StatefulSet say.
type settings struct {
	config           sentinel.Config
	port             int // 0: as the pod says
	secret           string
	paused           bool
	fence            bool
	holdUnfenced     bool
	announceHostname bool
	outside          Outside
}

func (p *pass) settings(s *appsv1.StatefulSet) settings {
	r := p.reader(kindStatefulSet, s)
	def := sentinel.DefaultConfig()
	c := def
	c.Quorum, c.PauseWrites = p.quorum, true
	c.DownAfter = read(r, k8sbind.AnnotationDownAfter, defaultDownAfter, "", duration(minDownAfter))
	c.FailoverTimeout = read(r, k8sbind.AnnotationFailoverTimeout, defaultFailoverTimeout, "", duration(minDownAfter))
	c.ParallelSyncs = read(r, k8sbind.AnnotationParallelSyncs, def.ParallelSyncs, "", number(1, maxSyncs))
	c.MaxLoss = read(r, k8sbind.AnnotationMaxLoss, def.MaxLoss, "1Mi", quantity)
	c.CrashWaits = read(r, k8sbind.AnnotationOnCrash, "failover", "", oneOf("failover", "wait")) == "wait"

	mode := p.mode(s)
	c.Observe, c.Paused = mode == "observe", mode == "paused"
	return settings{
		config:           p.fitting(s, c),
		port:             read(r, k8sbind.AnnotationPort, 0, "container's port", number(1, math.MaxUint16)),
		secret:           read(r, k8sbind.AnnotationAuthSecret, "", "absence of a password", secretName),
		paused:           mode == "paused",
		fence:            read(r, k8sbind.AnnotationFence, "off", "", oneOf("on", "off")) == "on",
		holdUnfenced:     read(r, k8sbind.AnnotationUnfenced, "allow", "", oneOf("allow", "hold")) == "hold",
		announceHostname: read(r, k8sbind.AnnotationAnnounce, "ip", "", oneOf("ip", "hostname")) == "hostname",
		outside:          readOutside(r),
	}
}

// mode reads what triwatch may do. One that can't be read is not replaced by a
// good value: whoever edits it away from act wants writes to end.
func (p *pass) mode(s *appsv1.StatefulSet) string {
	text, ok := s.Annotations[k8sbind.AnnotationMode]
	if !ok {
		return "act"
	}
	mode, err := oneOf("act", "observe", "paused")(text)
	if err != nil {
		p.problem(kindStatefulSet, s, ReasonInvalidAnnotation, "annotation %s: %v; triwatch observes and writes nothing until it is", k8sbind.AnnotationMode, err)
		return "observe"
	}
	return mode
}

// fitting returns c, or c with the relation between its settings put right.
func (p *pass) fitting(s *appsv1.StatefulSet, c sentinel.Config) sentinel.Config {
	err := c.Validate()
	if err == nil {
		p.configs[s.UID] = c
		return c
	}
	instead, from := "the defaults", sentinel.Config{DownAfter: defaultDownAfter, FailoverTimeout: defaultFailoverTimeout}
	if good, ok := p.configs[s.UID]; ok {
		instead, from = "the last good values", good
	}
	p.problem(kindStatefulSet, s, ReasonInvalidSettings, "annotations %s and %s: %v; %s %v and %v are used", k8sbind.AnnotationDownAfter,
		k8sbind.AnnotationFailoverTimeout, err, instead, from.DownAfter, from.FailoverTimeout)
	c.DownAfter, c.FailoverTimeout = from.DownAfter, from.FailoverTimeout
	return c
}

// reader reads the annotations of one object.
type reader struct {
	pass *pass
	kind string
	obj  named
	good map[string]string
}

func (p *pass) reader(kind string, o named) *reader { return &reader{p, kind, o, p.good[o.GetUID()]} }

// read returns the value of one annotation, or in its place the last good value or
// the default, and then reports why. Words name the default where printing it
// would say nothing.
func read[T any](r *reader, key string, def T, words string, parse func(string) (T, error)) T {
	text, ok := r.obj.GetAnnotations()[key]
	if !ok {
		delete(r.good, key)
		return def
	}
	v, err := parse(text)
	if err == nil {
		if r.good == nil {
			r.good = map[string]string{}
			r.pass.good[r.obj.GetUID()] = r.good
		}
		r.good[key] = text
		return v
	}
	if words == "" {
		words = fmt.Sprint(def)
	}
	instead := "the default, " + words + ","
	if last, ok := r.good[key]; ok {
		if was, errLast := parse(last); errLast == nil {
			def, instead = was, "the last good value, "+last+","
			if strings.Contains(last, "://") { // it may hold a secret
				instead = "the last good value"
			}
		}
	}
	r.pass.problem(r.kind, r.obj, ReasonInvalidAnnotation, "annotation %s: %v; %s is used", key, err, instead)
	return def
}

func duration(least time.Duration) func(string) (time.Duration, error) {
	return durationUpTo(least, maxDuration)
}

func durationUpTo(least, most time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration with a unit, such as 500ms or 5s", text)
		}
		if d < least || d > most {
			return 0, fmt.Errorf("%v is not between %v and %v", d, least, most)
		}
		return d, nil
	}
}

func number(least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", text, least, most)
		}
		return n, nil
	}
}

// quantity reads a number of bytes in Kubernetes' notation.
func quantity(text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of bytes such as 1Mi", text)
	}
	n, ok := q.AsInt64()
	if !ok || n < 0 {
		return 0, fmt.Errorf("%q is not a whole number of bytes from 0 to 8Ei", text)
	}
	return n, nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
		}
		return text, nil
	}
}

func secretName(text string) (string, error) {
	if len(validation.IsDNS1123Subdomain(text)) > 0 {
		return "", fmt.Errorf("%q is not the name of a Secret", text)
	}
	return text, nil
}

// knownKey reports whether an annotation of ours means something on a kind of
// object, and the kind on which it does, "" if on none.
func knownKey(kind, key string) (bool, string) {
	home := ""
	switch key {
	case k8sbind.AnnotationEpoch, k8sbind.AnnotationRaftID: // written by triwatch itself
		return true, kind
	case k8sbind.AnnotationWatch, k8sbind.AnnotationPort, k8sbind.AnnotationDownAfter, k8sbind.AnnotationFailoverTimeout,
		k8sbind.AnnotationParallelSyncs, k8sbind.AnnotationOnCrash, k8sbind.AnnotationMaxLoss, k8sbind.AnnotationMode,
		k8sbind.AnnotationFence, k8sbind.AnnotationUnfenced, k8sbind.AnnotationAuthSecret, k8sbind.AnnotationAnnounce, k8sbind.AnnotationWebhook,
		k8sbind.AnnotationWebhookTimeout, k8sbind.AnnotationBefore, k8sbind.AnnotationBeforeTimeout, k8sbind.AnnotationBeforeFailure:
		home = kindStatefulSet
	case k8sbind.AnnotationServe:
		home = kindService
	case k8sbind.AnnotationPriority:
		home = kindPod
	}
	return home == kind, home
}

// unknownKeys reports annotations of ours that nobody reads where they stand.
func (p *pass) unknownKeys(kind string, o named) {
	for _, key := range slices.Sorted(maps.Keys(o.GetAnnotations())) {
		if !strings.HasPrefix(key, k8sbind.Prefix) {
			continue
		}
		known, home := knownKey(kind, key)
		switch {
		case known:
		case home != "":
			p.problem(kind, o, ReasonUnknownAnnotation, "annotation %s means nothing on a %s, it belongs on a %s; it is ignored", key, kind, home)
		default:
			p.problem(kind, o, ReasonUnknownAnnotation, "annotation %s is not known; it is ignored", key)
		}
	}
}
