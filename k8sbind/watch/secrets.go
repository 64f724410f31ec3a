package watch

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// The keys of an auth-secret.
const (
	secretUser     = "username"
	secretPassword = "password"
)

// secretState says what is known of a Secret. Zero is unknown: not asked.
type secretState int

const (
	secretUnknown secretState = iota
	// secretPending means that the first answer is still awaited.
	secretPending
	// secretUnreadable means that the call fails.
	secretUnreadable
	// secretAbsent means that there is no such Secret.
	secretAbsent
	// secretPresent means that it is in the cache.
	secretPresent
)

// String returns the word that people read.
func (s secretState) String() string {
	switch s {
	case secretPending:
		return "pending"
	case secretUnreadable:
		return "unreadable"
	case secretAbsent:
		return "absent"
	case secretPresent:
		return "present"
	case secretUnknown:
		return "unknown"
	}
	return "unknown"
}

// secretSet keeps one informer for each Secret that is named in an annotation, so
// that the Role may name them too. It is used by the loop alone.
type secretSet struct {
	w    *Watcher
	ctx  context.Context // of the pass under way
	open map[object]*openSecret
}

type openSecret struct {
	source *source
	cancel context.CancelFunc
	used   bool // asked for in the pass under way
}

// begin and end enclose a pass: what no pass asks for any longer is closed.
func (s *secretSet) begin(ctx context.Context) {
	s.ctx = ctx
	for _, o := range s.open {
		o.used = false
	}
}

func (s *secretSet) end() {
	for key, o := range s.open {
		if !o.used {
			o.cancel()
			delete(s.open, key)
		}
	}
}

// get returns a Secret, and opens an informer for it when there is none.
func (s *secretSet) get(namespace, name string) (*corev1.Secret, secretState) {
	key := object{namespace, "Secret", name}
	o, ok := s.open[key]
	if !ok {
		core := s.w.opts.Client.CoreV1().Secrets(namespace)
		o = &openSecret{source: newSource(s.w, "secrets", namespace, &corev1.Secret{},
			fields.OneTermEqualSelector("metadata.name", name).String(), calls[*corev1.SecretList]{core.List, core.Watch})}
		var ctx context.Context
		ctx, o.cancel = context.WithCancel(s.ctx)
		s.open[key] = o
		o.source.run(ctx)
	}
	o.used = true
	if found := get[*corev1.Secret](o.source, namespace, name); found != nil {
		return found, secretPresent
	}
	switch {
	case o.source.informer.HasSynced():
		return nil, secretAbsent
	case o.source.failed.Load():
		return nil, secretUnreadable
	default:
		return nil, secretPending
	}
}
