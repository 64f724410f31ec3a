package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// errRefused is what a client sees of an API server that is down.
var errRefused = errors.New("dial tcp: connect: connection refused")

// call is one request to the API server.
type call struct {
	verb, resource, namespace, name string
	body                            string
	from                            string // the client's user agent
}

func (c call) write() bool { return c.verb != "get" }

func (c call) String() string { return c.verb + " " + c.resource + " " + c.name }

// server is an API server in memory, called through client-go without a network. It
// applies patches with the library that the real one uses, and answers 422 for a
// refused test. Every version of an object is kept, so that a cache can lag.
type server struct {
	mu       sync.Mutex
	version  int
	versions map[string][]version // by resource/namespace/name
	calls    []call               // all that were carried out or refused
	accepted []call               // writes that were carried out
	// intercept may block, return an error (no connection) or a status code other
	// than 0 instead of carrying the call out.
	intercept func(*http.Request, call) (int, error)
	// after is called when a write was carried out, without the lock.
	after func(call)
}

type version struct {
	at   time.Time
	data []byte // nil: deleted
}

func newServer() *server { return &server{versions: map[string][]version{}} }

func (s *server) client(t *testing.T, agent string, qps float32) kubernetes.Interface {
	c, err := kubernetes.NewForConfig(&rest.Config{
		Host: "http://api", Transport: s, QPS: qps, Burst: 10, UserAgent: agent,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	})
	require.NoError(t, err)
	return c
}

// RoundTrip carries out one request on the caller's goroutine.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	p := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // api v1 namespaces NS RESOURCE [NAME]
	c := call{namespace: p[3], resource: p[4], body: string(body), from: r.UserAgent()}
	if len(p) > 5 {
		c.name = p[5]
	}
	c.verb = map[string]string{http.MethodGet: "get", http.MethodPatch: "patch", http.MethodPost: "create"}[r.Method]
	s.mu.Lock()
	intercept := s.intercept
	s.mu.Unlock()
	if intercept != nil {
		code, err := intercept(r, c)
		if err != nil {
			return nil, err
		}
		if code != 0 {
			s.mu.Lock()
			s.calls = append(s.calls, c)
			s.mu.Unlock()
			return answer(r, code, status(code, "intercepted")), nil
		}
	}
	code, out := s.serve(c)
	if s.after != nil && code < 300 && c.write() {
		s.after(c)
	}
	return answer(r, code, out), nil
}

func (s *server) serve(c call) (int, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	if c.verb == "create" {
		var e corev1.Event
		if err := json.Unmarshal([]byte(c.body), &e); err != nil {
			return 400, status(400, err.Error())
		}
		if s.current(objectKey(c.resource, c.namespace, e.Name)) != nil {
			return 409, reasoned(409, metav1.StatusReasonAlreadyExists)
		}
		c.name = e.Name
		s.accepted = append(s.accepted, c)
		return 201, s.store(c.resource, &e)
	}
	old := s.current(objectKey(c.resource, c.namespace, c.name))
	if old == nil {
		return 404, status(404, "not found")
	}
	if c.verb == "get" {
		return 200, old
	}
	p, err := jsonpatch.DecodePatch([]byte(c.body))
	if err != nil {
		return 400, status(400, err.Error())
	}
	patched, err := p.Apply(old)
	if err != nil {
		return 422, status(422, err.Error())
	}
	o := blank(c.resource)
	if err := json.Unmarshal(patched, o); err != nil {
		return 422, status(422, err.Error())
	}
	s.accepted = append(s.accepted, c)
	return 200, s.store(c.resource, o)
}

// store keeps a new version. The caller holds the lock.
func (s *server) store(resource string, o metav1.Object) []byte {
	s.version++
	o.SetResourceVersion(fmt.Sprint(s.version))
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	k := objectKey(resource, o.GetNamespace(), o.GetName())
	s.versions[k] = append(s.versions[k], version{time.Now(), b})
	return b
}

func (s *server) current(key string) []byte {
	v := s.versions[key]
	if len(v) == 0 {
		return nil
	}
	return v[len(v)-1].data
}

func (s *server) at(key string, when time.Time) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for i, v := range s.versions[key] {
		if i == 0 || !v.at.After(when) {
			b = v.data
		}
	}
	return b
}

func blank(resource string) metav1.Object {
	if resource == pods {
		return &corev1.Pod{}
	}
	return &corev1.Service{}
}

func status(code int, message string) []byte {
	reason := map[int]metav1.StatusReason{
		403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound, 409: metav1.StatusReasonConflict,
		422: metav1.StatusReasonInvalid,
	}[code]
	b, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   "Failure", Code: int32(code), Reason: reason, Message: message,
	})
	return b
}

func reasoned(code int, reason metav1.StatusReason) []byte {
	b, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(code), Reason: reason,
	})
	return b
}

func answer(r *http.Request, code int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: code, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// edit changes an object as somebody else would.
func edit[T metav1.Object](s *server, resource, name string, o T, change func(T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := json.Unmarshal(s.current(objectKey(resource, "db", name)), o); err != nil {
		panic(err)
	}
	change(o)
	s.store(resource, o)
}

func (s *server) editPod(name string, change func(*corev1.Pod)) {
	edit(s, pods, name, &corev1.Pod{}, change)
}

func (s *server) editService(name string, change func(*corev1.Service)) {
	edit(s, services, name, &corev1.Service{}, change)
}

// add creates an object.
func (s *server) add(resource string, o metav1.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(resource, o)
}

// refuse makes calls fail that match, until the returned function is called.
func (s *server) refuse(match func(call) bool, code int, err error) (end func()) {
	s.setIntercept(func(_ *http.Request, c call) (int, error) {
		if match(c) {
			return code, err
		}
		return 0, nil
	})
	return func() { s.setIntercept(nil) }
}

// hang makes calls wait that match, until they are cancelled.
func (s *server) hang(match func(call) bool) {
	s.setIntercept(func(r *http.Request, c call) (int, error) {
		if match(c) {
			<-r.Context().Done()
			return 0, r.Context().Err()
		}
		return 0, nil
	})
}

func (s *server) setIntercept(f func(*http.Request, call) (int, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// writes returns what was written since the last time, Events apart.
func (s *server) writes() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.accepted {
		if c.resource != events {
			list = append(list, c.String())
		}
	}
	s.accepted, s.calls = nil, nil
	return list
}

// asked counts the calls that match, refused ones included.
func (s *server) asked(match func(call) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if match(c) {
			n++
		}
	}
	return n
}

// events returns the Events in the order in which they were created.
func (s *server) events() (list []corev1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.accepted {
		if c.resource == events {
			var e corev1.Event
			if err := json.Unmarshal([]byte(c.body), &e); err != nil {
				panic(err)
			}
			list = append(list, e)
		}
	}
	return list
}

// lagging is an informer cache that is behind the server.
type lagging struct {
	s   *server
	lag time.Duration
}

func (l *lagging) Pod(namespace, name string) *corev1.Pod {
	b := l.s.at(objectKey(pods, namespace, name), time.Now().Add(-l.lag))
	if b == nil {
		return nil
	}
	o := &corev1.Pod{}
	if err := json.Unmarshal(b, o); err != nil {
		panic(err)
	}
	return o
}

func (l *lagging) Service(namespace, name string) *corev1.Service {
	b := l.s.at(objectKey(services, namespace, name), time.Now().Add(-l.lag))
	if b == nil {
		return nil
	}
	o := &corev1.Service{}
	if err := json.Unmarshal(b, o); err != nil {
		panic(err)
	}
	return o
}
