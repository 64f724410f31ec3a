package publish

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func isEvent(c call) bool { return c.resource == events }

func numbered(i int) Event {
	return Event{
		Object: Object{"StatefulSet", "db", "redis", "uid-redis"}, Type: corev1.EventTypeNormal,
		Reason: "SwitchMaster", Message: fmt.Sprint("epoch ", i),
	}
}

func messages(list []corev1.Event) (m []string) {
	for _, e := range list {
		m = append(m, e.Message)
	}
	return m
}

func TestEventsShowWhatAndWhen(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		back := r.s.refuse(isEvent, 0, errRefused)
		happened := time.Now()
		r.p.Event(numbered(13))
		after(time.Minute)
		back()
		after(time.Second)
		list := r.s.events()
		require.Len(t, list, 1)
		e := list[0]
		require.True(t, e.FirstTimestamp.Time.Equal(happened.Truncate(time.Second)))
		require.True(t, e.LastTimestamp.Time.Equal(happened.Truncate(time.Second)))
		require.True(t, e.EventTime.Time.Equal(happened.Truncate(time.Microsecond)))
		require.Equal(t, corev1.ObjectReference{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: "db", Name: "redis", UID: "uid-redis"}, e.InvolvedObject)
		require.Equal(t, []string{"db", "Normal", "SwitchMaster", "epoch 13"}, []string{e.Namespace, e.Type, e.Reason, e.Message})
		require.True(t, strings.HasPrefix(e.Name, "redis."))
		// What the API server asks of an Event with an eventTime.
		require.NotEmpty(t, e.ReportingController)
		require.NotEmpty(t, e.ReportingInstance)
		require.NotEmpty(t, e.Action)
	})
}

func TestEventsKeepTheirOrderAndTheOldestAreDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		back := r.s.refuse(isEvent, 0, errRefused)
		var want []string
		for i := range 300 {
			r.p.Event(numbered(i))
			if i >= 300-eventQueue {
				want = append(want, fmt.Sprint("epoch ", i))
			}
		}
		after(10 * time.Second)
		require.Less(t, r.s.asked(isEvent)+len(r.failed()), 25, "new Events don't hammer a lost API")
		back()
		after(2 * time.Second)
		require.Equal(t, want, messages(r.s.events()))
		require.EqualValues(t, 300-eventQueue, r.p.EventsDropped())
		require.Equal(t, 1, r.logged("too many Events wait: the oldest are dropped"))
		r.p.Event(numbered(1000))
		synctest.Wait()
		require.Contains(t, messages(r.s.events()), "epoch 1000")
	})
}

func TestAnEventWhoseAnswerIsLostIsWrittenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		lost := 0
		r.s.setIntercept(func(_ *http.Request, c call) (int, error) {
			if isEvent(c) && lost < 3 {
				lost++
				r.s.serve(c)
				return 0, errRefused
			}
			return 0, nil
		})
		for i := range 3 {
			r.p.Event(numbered(i))
		}
		after(10 * time.Second)
		require.Equal(t, []string{"epoch 0", "epoch 1", "epoch 2"}, messages(r.s.events()))
	})
}

func TestAnEventThatIsRefusedHoldsUpNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.refuse(func(c call) bool { return strings.Contains(c.body, "epoch 0") }, http.StatusForbidden, nil)
		r.p.Event(numbered(0))
		r.p.Event(numbered(1))
		synctest.Wait()
		require.Equal(t, []string{"epoch 1"}, messages(r.s.events()))
		require.EqualValues(t, 1, r.p.EventsDropped())
		require.Equal(t, []string{"create events"}, r.failed())
	})
}

func TestEventsComeAfterTheFlip(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.setIntercept(func(_ *http.Request, c call) (int, error) {
			time.Sleep(100 * time.Millisecond) // a slow API
			return 0, nil
		})
		var order []string
		r.s.after = func(c call) { order = append(order, c.resource) }
		r.p.Set(orders(13, 1))
		time.Sleep(50 * time.Millisecond)
		r.p.Event(numbered(13))
		after(10 * time.Second)
		require.Equal(t, []string{pods, services, pods, pods, pods, events}, order)
	})
}

func TestOnlyALeaderReports(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		back := r.s.refuse(isEvent, 0, errRefused)
		r.p.Event(numbered(1))
		synctest.Wait()
		r.resign()
		back()
		r.p.Event(numbered(2))
		after(10 * time.Minute)
		require.Empty(t, r.s.events())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r.p.Lead(ctx)
		after(2 * time.Second)
		require.Equal(t, []string{"epoch 1"}, messages(r.s.events()))
		cancel()
		synctest.Wait()
	})
}

func TestAnEventOlderThanAnHourIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		back := r.s.refuse(isEvent, 0, errRefused)
		r.p.Event(numbered(1))
		after(61 * time.Minute)
		back()
		r.p.Event(numbered(2))
		after(2 * time.Second)
		require.Equal(t, []string{"epoch 2"}, messages(r.s.events()))
		require.EqualValues(t, 1, r.p.EventsDropped())
	})
}

func TestALongMessageIsCutBetweenRunes(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		e := numbered(1)
		e.Message = strings.Repeat("ä", 2000)
		e.Object.Name = strings.Repeat("x", 253)
		r.p.Event(e)
		synctest.Wait()
		list := r.s.events()
		require.Len(t, list, 1)
		require.LessOrEqual(t, len(list[0].Message), eventMessage)
		require.NotContains(t, list[0].Message, "�")
		require.LessOrEqual(t, len(list[0].Name), 253)
	})
}
