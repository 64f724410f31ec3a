package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

// operation is one step of a JSON patch (RFC 6902).
type operation struct {
	Op   string `json:"op"`
	Path string `json:"path"`
	// Value is raw so that null can be told from none.
	Value json.RawMessage `json:"value,omitempty"`
}

// patch is a JSON patch; empty when nothing differs.
type patch []operation

// The maps of an object that are written to.
const (
	pathAnnotations = "/metadata/annotations"
	pathLabels      = "/metadata/labels"
	pathSelector    = "/spec/selector"
	pathUID         = "/metadata/uid"
)

// pointer returns the JSON pointer of a key in a map (RFC 6901, section 3).
func pointer(base, key string) string {
	return base + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// quote returns s as JSON, escaped as the API server's own encoder does: the server
// compares the bytes.
func quote(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil { // strings can always be encoded
		return json.RawMessage(`""`)
	}
	return b
}

// ensure creates a map that the object does not have, unless it has got one meanwhile.
func (p *patch) ensure(base string, current map[string]string) {
	if len(current) == 0 {
		*p = append(*p, operation{"test", base, json.RawMessage("null")}, operation{"add", base, json.RawMessage("{}")})
	}
}

// test makes the patch depend on a key having the value that was read, or being absent.
func (p *patch) test(base, key string, current map[string]string) {
	value := json.RawMessage("null")
	if v, ok := current[key]; ok {
		value = quote(v)
	}
	*p = append(*p, operation{"test", pointer(base, key), value})
}

// put sets a key, if it differs.
func (p *patch) put(base, key, value string, current map[string]string) {
	if v, ok := current[key]; !ok || v != value {
		*p = append(*p, operation{"add", pointer(base, key), quote(value)})
	}
}

// drop removes a key, if it is there.
func (p *patch) drop(base, key string, current map[string]string) {
	if _, ok := current[key]; ok {
		*p = append(*p, operation{Op: "remove", Path: pointer(base, key)})
	}
}

func (p patch) encode() []byte {
	b, err := json.Marshal(p)
	if err != nil { // strings and raw JSON of our own making only
		return []byte("[]")
	}
	return b
}

// differs tells whether anything else than tests and empty maps is in the patch.
func (p patch) differs() bool {
	for _, o := range p {
		if o.Op != "test" && string(o.Value) != "{}" {
			return true
		}
	}
	return false
}

// epochText is how an epoch is written on objects.
func epochText(e sentinel.Epoch) string { return strconv.FormatUint(uint64(e), 10) }

// epochOf returns the epoch written on an object, 0 if there is none or if it can't be
// read. A number too big for an epoch can't be passed by any: it is not one.
func epochOf(o metav1.Object) sentinel.Epoch {
	n, err := strconv.ParseUint(o.GetAnnotations()[k8sbind.AnnotationEpoch], 10, 64)
	if err != nil {
		return 0
	}
	return sentinel.Epoch(n)
}

// Reasons for which an object is not written to.
var (
	errNewer      = errors.New("carries a higher epoch")
	errOther      = errors.New("is another object of the same name")
	errNoSelector = errors.New("has no selector, so it can't follow a pod")
)

// newerError says which epoch is in the way.
type newerError struct{ found, ours sentinel.Epoch }

func (e *newerError) Error() string {
	return fmt.Sprintf("carries epoch %s, which is above the committed %s", e.found, e.ours)
}

func (e *newerError) Is(target error) bool { return target == errNewer }

// flip returns what makes a Service follow an instance.
func flip(svc *corev1.Service, epoch sentinel.Epoch, id sentinel.InstanceID) (patch, error) {
	if found := epochOf(svc); found > epoch {
		return nil, &newerError{found, epoch}
	}
	if len(svc.Spec.Selector) == 0 {
		return nil, errNoSelector
	}
	var p patch
	p.ensure(pathAnnotations, svc.Annotations)
	p.test(pathAnnotations, k8sbind.AnnotationEpoch, svc.Annotations)
	p.put(pathAnnotations, k8sbind.AnnotationEpoch, epochText(epoch), svc.Annotations)
	p.put(pathSelector, k8sbind.LabelInstance, string(id), svc.Spec.Selector)
	if _, ok := svc.Spec.Selector[k8sbind.LabelRole]; ok {
		p.put(pathSelector, k8sbind.LabelRole, k8sbind.RoleMaster, svc.Spec.Selector)
	}
	if !p.differs() {
		return nil, nil
	}
	return p, nil
}

// unflip returns what gives a Service back to its manifest. The instance key stays if it
// is all that tells the master from the replicas.
func unflip(svc *corev1.Service, epoch sentinel.Epoch) (patch, error) {
	if found := epochOf(svc); found > epoch {
		return nil, &newerError{found, epoch}
	}
	var p patch
	p.ensure(pathAnnotations, svc.Annotations)
	p.test(pathAnnotations, k8sbind.AnnotationEpoch, svc.Annotations)
	p.drop(pathAnnotations, k8sbind.AnnotationEpoch, svc.Annotations)
	if svc.Spec.Selector[k8sbind.LabelRole] == k8sbind.RoleMaster {
		p.drop(pathSelector, k8sbind.LabelInstance, svc.Spec.Selector)
	}
	if !p.differs() {
		return nil, nil
	}
	return p, nil
}

// labels is what a pod should carry. The zero value of a field leaves it as it is.
type labels struct {
	role  string
	epoch sentinel.Epoch
	reads reads
	// lazy leaves an epoch that is behind alone, when it is all that differs: it can
	// wait until the flip is made.
	lazy bool
}

// reads says what should become of the reads label.
type reads int

const (
	readsLeave reads = iota
	readsYes
	readsNo
)

// label returns what puts labels on a pod with this UID.
func label(pod *corev1.Pod, id sentinel.InstanceID, want labels) (patch, error) {
	if string(pod.UID) != string(id) {
		return nil, errOther
	}
	var p patch
	p = append(p, operation{"test", pathUID, quote(string(id))})
	p.ensure(pathLabels, pod.Labels)
	p.put(pathLabels, k8sbind.LabelInstance, string(id), pod.Labels)
	if want.role == "" {
		return p.orNothing(), nil
	}
	if found := epochOf(pod); found > want.epoch {
		return nil, &newerError{found, want.epoch}
	}
	p.put(pathLabels, k8sbind.LabelRole, want.role, pod.Labels)
	switch want.reads {
	case readsLeave:
	case readsYes:
		p.put(pathLabels, k8sbind.LabelReads, k8sbind.ReadsYes, pod.Labels)
	case readsNo:
		p.drop(pathLabels, k8sbind.LabelReads, pod.Labels)
	}
	if want.lazy && !p.differs() {
		return nil, nil
	}
	p.ensure(pathAnnotations, pod.Annotations)
	p.test(pathAnnotations, k8sbind.AnnotationEpoch, pod.Annotations)
	p.put(pathAnnotations, k8sbind.AnnotationEpoch, epochText(want.epoch), pod.Annotations)
	return p.orNothing(), nil
}

func (p patch) orNothing() patch {
	if !p.differs() {
		return nil
	}
	return p
}
