package publish

import (
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The resources that are written.
const (
	pods     = "pods"
	services = "services"
	events   = "events"
)

// memoryLasts is how long an answer of the API outweighs a cache that lags behind it.
// It ends because resource versions can go back: etcd restored from a backup.
const memoryLasts = 5 * time.Second

// memory holds what the API returned for our own calls until the cache has caught up.
// The zero value is empty.
type memory struct {
	mu sync.Mutex
	m  map[string]memo
}

type memo struct {
	object metav1.Object
	at     time.Time
}

func objectKey(resource, namespace, name string) string {
	return resource + "/" + namespace + "/" + name
}

// put remembers an object that the API returned.
func (m *memory) put(resource string, o metav1.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = map[string]memo{}
	}
	k := objectKey(resource, o.GetNamespace(), o.GetName())
	if old, ok := m.m[k]; ok && newer(old.object, o) {
		return // answers of concurrent calls can arrive in any order
	}
	m.m[k] = memo{o, time.Now()}
}

// get returns what is remembered and newer than the cached object, or nil.
func (m *memory) get(resource string, cached metav1.Object) metav1.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := objectKey(resource, cached.GetNamespace(), cached.GetName())
	o, ok := m.m[k]
	if !ok {
		return nil
	}
	if time.Since(o.at) > memoryLasts || !newer(o.object, cached) {
		delete(m.m, k)
		return nil
	}
	return o.object
}

// drop forgets an object that is gone.
func (m *memory) drop(resource, namespace, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, objectKey(resource, namespace, name))
}

// newer tells whether a was written after b. Kubernetes' resource versions are etcd
// revisions, which can be compared as numbers; any that can't are not newer.
func newer(a, b metav1.Object) bool {
	x, errX := strconv.ParseUint(a.GetResourceVersion(), 10, 64)
	y, errY := strconv.ParseUint(b.GetResourceVersion(), 10, 64)
	return errX == nil && errY == nil && x > y
}

// pod returns the newest that is known of a pod, or nil.
func (p *Publisher) pod(namespace, name string) *corev1.Pod {
	cached := p.o.Cache.Pod(namespace, name)
	if cached == nil {
		p.own.drop(pods, namespace, name)
		return nil
	}
	if own, ok := p.own.get(pods, cached).(*corev1.Pod); ok {
		return own
	}
	return cached
}

// service returns the newest that is known of a Service, or nil.
func (p *Publisher) service(namespace, name string) *corev1.Service {
	cached := p.o.Cache.Service(namespace, name)
	if cached == nil {
		p.own.drop(services, namespace, name)
		return nil
	}
	if own, ok := p.own.get(services, cached).(*corev1.Service); ok {
		return own
	}
	return cached
}

// complaints keeps a line from being logged again and again. The zero value is empty.
type complaints struct {
	mu sync.Mutex
	m  map[string]string
}

// fresh tells whether this was not said about key before, and remembers it.
func (c *complaints) fresh(key, what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]string{}
	}
	if said, ok := c.m[key]; ok && said == what {
		return false
	}
	c.m[key] = what
	return true
}

// over tells whether something was said about key, and forgets it.
func (c *complaints) over(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.m[key]
	delete(c.m, key)
	return ok
}
