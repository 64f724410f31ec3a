package publish

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Object is what an Event is about.
type Object struct {
	Kind, Namespace, Name string
	UID                   types.UID
}

// Event is one thing that happened, as kubectl get events shows it.
type Event struct {
	Object Object
	// Type is corev1.EventTypeNormal or corev1.EventTypeWarning.
	Type string
	// Reason is a word in CamelCase, Message a sentence.
	Reason, Message string
	// At is when it happened; zero means now.
	At time.Time
}

// What bounds Events.
const (
	eventQueue   = 256
	eventLife    = time.Hour   // the API server's own default for keeping Events
	eventPatient = time.Second // how long an Event lets labels and flips go first
	eventMessage = 1024        // the API server's limit, in bytes
	eventName    = 200         // of the object's name in the Event's own
	controller   = "triwatch.io/triwatch"
)

// reporter writes Events one after the other, after everything else.
type reporter struct {
	p       *Publisher
	wake    chan struct{}
	dropped atomic.Uint64
	// number makes names unique that fall into one nanosecond. It begins at random, so
	// that two watchers don't make the same.
	number atomic.Uint32

	mu    sync.Mutex
	queue []*corev1.Event
	away  bool // dropping was logged
	// writers counts the passes that write; calm is closed when there are none.
	writers int
	calm    chan struct{}
}

func newReporter(p *Publisher) *reporter {
	calm := make(chan struct{})
	close(calm)
	r := &reporter{p: p, wake: make(chan struct{}, 1), calm: calm}
	r.number.Store(rand.Uint32())
	return r
}

func (r *reporter) poke() { poke(r.wake) }

// Event queues an Event and returns at once. It is discarded when this watcher does not
// lead, so that three watchers don't report the same. Events are written in order, each
// once. The oldest is dropped when 256 wait, or when it is older than an hour.
func (p *Publisher) Event(e Event) {
	if p.leading() == nil || p.stop.Err() != nil {
		return
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	p.reports.push(p.reports.build(e))
}

// EventsDropped returns how many Events were dropped since New.
func (p *Publisher) EventsDropped() uint64 { return p.reports.dropped.Load() }

// build makes the object that is created. Its name is made here, so that a second
// attempt after a lost answer can't create a second Event.
func (r *reporter) build(e Event) *corev1.Event {
	version := "v1"
	if e.Object.Kind == "StatefulSet" {
		version = "apps/v1"
	}
	name := e.Object.Name
	if len(name) > eventName {
		name = strings.TrimRight(name[:eventName], "-.")
	}
	message := e.Message
	if len(message) > eventMessage {
		message = strings.ToValidUTF8(message[:eventMessage-3], "") + "..."
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: e.Object.Namespace,
			Name:      fmt.Sprintf("%s.%x%04x", name, e.At.UnixNano(), uint16(r.number.Add(1))),
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: version, Kind: e.Object.Kind, Namespace: e.Object.Namespace, Name: e.Object.Name, UID: e.Object.UID,
		},
		Type: e.Type, Reason: e.Reason, Message: message, Action: e.Reason, Count: 1,
		Source:         corev1.EventSource{Component: r.p.o.Reporter},
		FirstTimestamp: metav1.NewTime(e.At), LastTimestamp: metav1.NewTime(e.At),
		// Seconds alone would not keep the steps of one flip in order.
		EventTime:           metav1.NewMicroTime(e.At),
		ReportingController: controller, ReportingInstance: r.p.o.Reporter,
	}
}

func (r *reporter) push(e *corev1.Event) {
	r.mu.Lock()
	r.queue = append(r.queue, e)
	lost := len(r.queue) > eventQueue
	first := lost && !r.away
	if lost {
		r.queue = r.queue[1:]
		r.away = true
	}
	r.mu.Unlock()
	if lost {
		r.dropped.Add(1)
	}
	if first {
		r.p.log.Warn("too many Events wait: the oldest are dropped", zap.Int("queue", eventQueue))
	}
	r.poke()
}

// head returns the oldest Event that is still worth writing.
func (r *reporter) head() *corev1.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		e := r.queue[0]
		if time.Since(e.EventTime.Time) < eventLife {
			return e
		}
		r.queue = r.queue[1:]
		r.dropped.Add(1)
	}
	return nil
}

// pop removes an Event that was dealt with, unless it has been dropped meanwhile.
func (r *reporter) pop(e *corev1.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) > 0 && r.queue[0] == e {
		r.queue = r.queue[1:]
	}
	r.away = r.away && len(r.queue) > 0
}

// writing counts passes that write.
func (r *reporter) writing(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writers == 0 && n > 0 {
		r.calm = make(chan struct{})
	}
	r.writers += n
	if r.writers == 0 {
		close(r.calm)
	}
}

// patience waits until no pass writes, but not for long.
func (r *reporter) patience() {
	r.mu.Lock()
	calm := r.calm
	r.mu.Unlock()
	t := time.NewTimer(eventPatient)
	defer t.Stop()
	select {
	case <-calm:
	case <-t.C:
	case <-r.p.stop.Done():
	}
}

func (r *reporter) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := time.Duration(0)
	for {
		select {
		case <-r.p.stop.Done():
			return
		case <-r.wake:
			if retry > 0 {
				continue // new Events don't make a lost API come back
			}
		case <-timer.C:
		}
		if r.drain() {
			retry = 0
			continue
		}
		retry = min(max(2*retry, retryFirst), retryLast)
		timer.Reset(retry)
	}
}

// drain writes Events until none is left or one fails that should be tried again. It
// returns true when there is nothing to try again.
func (r *reporter) drain() bool {
	verified := time.Time{}
	for e := r.head(); e != nil; e = r.head() {
		r.patience()
		lead := r.p.leading()
		if lead == nil || r.p.stop.Err() != nil {
			return true // Lead wakes it
		}
		ctx, cancel := context.WithCancel(lead)
		end := context.AfterFunc(r.p.stop, cancel)
		ok := r.write(ctx, e, &verified)
		end()
		cancel()
		if !ok {
			return false
		}
		r.pop(e)
	}
	return true
}

// write creates one Event, and tells whether it is dealt with.
func (r *reporter) write(ctx context.Context, e *corev1.Event, verified *time.Time) bool {
	if time.Since(*verified) > verifyLasts {
		if err := r.p.verify(ctx); err != nil {
			return false
		}
		*verified = time.Now()
	}
	call, cancel := context.WithTimeout(ctx, labelTimeout)
	defer cancel()
	_, err := r.p.o.Client.CoreV1().Events(e.Namespace).Create(call, e, metav1.CreateOptions{})
	switch {
	case err == nil, apierrors.IsAlreadyExists(err): // written by an attempt whose answer was lost
		r.p.works("create", events, e.Namespace, "")
		return true
	case ctx.Err() != nil, limited(err):
		return false
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsNotFound(err):
		r.dropped.Add(1)
		r.p.complain("", "create", events, e.Namespace, "", err, "the Event is dropped")
		return true
	}
	r.p.complain("", "create", events, e.Namespace, "", err, "trying again")
	return false
}
