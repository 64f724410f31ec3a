package app

import (
	"fmt"
	"time"

	"github.com/triwatch/triwatch/k8sbind/publish"
	"github.com/triwatch/triwatch/k8sbind/watch"
	"github.com/triwatch/triwatch/sentinel"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// reasons are the events of the core that become Events of Kubernetes, with their
// type. The others are in the log.
var reasons = map[sentinel.EventName]struct{ kind, reason string }{
	sentinel.EventMonitor:       {corev1.EventTypeNormal, "Watching"},
	sentinel.EventUnmonitor:     {corev1.EventTypeNormal, "NotWatched"},
	sentinel.EventAdopted:       {corev1.EventTypeNormal, "MasterAdopted"},
	sentinel.EventSdown:         {corev1.EventTypeWarning, "InstanceDown"},
	sentinel.EventSdownEnd:      {corev1.EventTypeNormal, "InstanceUp"},
	sentinel.EventHeld:          {corev1.EventTypeWarning, "FailoverHeld"},
	sentinel.EventHeldEnd:       {corev1.EventTypeNormal, "FailoverNotHeld"},
	sentinel.EventWould:         {corev1.EventTypeNormal, "WouldFailOver"},
	sentinel.EventNoGoodSlave:   {corev1.EventTypeWarning, "NoReplicaFit"},
	sentinel.EventAborted:       {corev1.EventTypeWarning, "Aborted"},
	sentinel.EventRefused:       {corev1.EventTypeWarning, "Refused"},
	sentinel.EventContested:     {corev1.EventTypeWarning, "Contested"},
	sentinel.EventContestedEnd:  {corev1.EventTypeNormal, "NotContested"},
	sentinel.EventReleased:      {corev1.EventTypeNormal, "Released"},
	sentinel.EventPaused:        {corev1.EventTypeNormal, "Paused"},
	sentinel.EventResumed:       {corev1.EventTypeNormal, "Resumed"},
	sentinel.EventWaiting:       {corev1.EventTypeWarning, "Waiting"},
	sentinel.EventFenced:        {corev1.EventTypeWarning, "Fenced"},
	sentinel.EventReboot:        {corev1.EventTypeNormal, "Restarted"},
	sentinel.EventFaulted:       {corev1.EventTypeWarning, "WriteFailed"},
	sentinel.EventFailoverTimed: {corev1.EventTypeWarning, "Overdue"},
	sentinel.EventFailoverEnd:   {corev1.EventTypeNormal, "Done"},
	sentinel.EventState:         {corev1.EventTypeWarning, "InstanceState"},
	sentinel.EventRights:        {corev1.EventTypeWarning, "InstanceRights"},
	sentinel.EventSelected:      {corev1.EventTypeNormal, "Started"},
	sentinel.EventSwitchMaster:  {corev1.EventTypeNormal, "SwitchMaster"},
	sentinel.EventReconfDone:    {corev1.EventTypeNormal, "ReplicaFollows"},
	sentinel.EventFence:         {corev1.EventTypeNormal, "Fence"},
}

// event takes up an event of the core, in its loop: it must not block.
func (b *binding) event(e sentinel.Event) {
	if e.Name == sentinel.EventSwitchMaster || e.Name == sentinel.EventAdopted {
		b.moved(e)
	}
	r, ok := reasons[e.Name]
	if !ok || !b.a.node.State().Leading {
		return
	}
	select {
	case b.news <- news{e, r.kind, r.reason, time.Now()}:
	default: // the log has it
	}
}

// news is an event on its way to Kubernetes.
type news struct {
	e            sentinel.Event
	kind, reason string
	at           time.Time
}

// tellAll makes Events of the core's events, in their order.
func (b *binding) tellAll() {
	for {
		select {
		case <-b.a.ctx.Done():
			return
		case n := <-b.news:
			b.tell(n.e, n.kind, n.reason, n.at)
		}
	}
}

// moved writes a new master's Service at once; what the runner serves is published
// only after the loop's pass.
func (b *binding) moved(e sentinel.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.snap.Masters {
		if st, known := b.standing[m.Name]; m.Name == e.Master && known && !st.released {
			b.set[m.Name] = true
			b.out.Set(b.desired(m, sentinel.Assignment{Epoch: e.Epoch, Instance: e.Instance}))
		}
	}
}

// tell makes one Event on the StatefulSet.
func (b *binding) tell(e sentinel.Event, kind, reason string, at time.Time) {
	m, ok := b.find(e.Master)
	if !ok {
		m, ok = b.former(e.Master)
	}
	if !ok {
		return
	}
	text := e.Reason
	if name := m.Pods[e.Instance]; name != "" && e.Name != sentinel.EventSwitchMaster && e.Name != sentinel.EventSelected {
		text = name + ": " + text
	}
	if e.Name == sentinel.EventSelected {
		reason, text = b.started(e, m)
	}
	if e.Name == sentinel.EventSwitchMaster {
		text = b.switched(e, text)
	}
	if e.Name == sentinel.EventSdown && b.deleted(m, e.Instance) {
		kind, reason = corev1.EventTypeNormal, "InstanceGone"
	}
	b.out.Event(publish.Event{Object: publish.Object{Kind: "StatefulSet", Namespace: m.Namespace, Name: m.StatefulSet, UID: m.UID}, Type: kind,
		Reason: reason, Message: text, At: at})
}

// deleted reports whether an instance's pod is being deleted or is gone: that it does
// not answer is no news then.
func (b *binding) deleted(m watch.Master, id sentinel.InstanceID) bool {
	pod := b.watcher.Pod(m.Namespace, m.Pods[id])
	return pod == nil || string(pod.UID) != string(id) || pod.DeletionTimestamp != nil
}

// started says who hands over to whom.
func (b *binding) started(e sentinel.Event, m watch.Master) (reason, text string) {
	reason, text = "FailoverStarted", e.Reason
	v, err := b.a.run.View(b.a.ctx, e.Master)
	if err != nil || v == nil || v.Plan == nil {
		return reason, text
	}
	p := v.Plan
	if p.Kind == sentinel.KindHandover {
		reason = "HandoverStarted"
	}
	return reason, fmt.Sprintf("epoch %s: %s -> %s (%s)", p.Epoch, p.Old, p.New, p.Why)
}

// switched says who is master and what it cost.
func (b *binding) switched(e sentinel.Event, text string) string {
	v, err := b.a.run.View(b.a.ctx, e.Master)
	if err != nil || v == nil || v.Plan == nil {
		return text
	}
	switch {
	case v.Plan.Kind == sentinel.KindHandover:
		return text + ", 0 writes lost"
	case v.Plan.Lost >= 0:
		return fmt.Sprintf("%s, at most %d bytes of writes lost", text, v.Plan.Lost)
	}
	return text
}

// tellFlip makes the Event on the Service.
func (b *binding) tellFlip(master string, epoch sentinel.Epoch, service string, instance sentinel.InstanceID, took time.Duration) {
	m, ok := b.find(master)
	if !ok {
		return
	}
	for _, s := range m.Services {
		if s.Name != service {
			continue
		}
		o := publish.Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name}
		if svc := b.watcher.Service(s.Namespace, s.Name); svc != nil {
			o.UID = svc.UID
		}
		b.out.Event(publish.Event{Object: o, Type: corev1.EventTypeNormal, Reason: "ServiceFlipped",
			Message: fmt.Sprintf("epoch %s (%s), %d ms after the promotion", epoch, m.Pods[instance], took.Milliseconds())})
	}
}

// uid finds the UID of an object that a problem names, without which kubectl describe
// does not show the Event.
func (b *binding) uid(p watch.Problem) types.UID {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.snap.Masters {
		if p.Kind == "StatefulSet" && m.Namespace == p.Namespace && m.StatefulSet == p.Name {
			return m.UID
		}
	}
	if p.Kind == "Service" {
		if svc := b.watcher.Service(p.Namespace, p.Name); svc != nil {
			return svc.UID
		}
	}
	if p.Kind == "Pod" {
		if pod := b.watcher.Pod(p.Namespace, p.Name); pod != nil {
			return pod.UID
		}
	}
	return ""
}
