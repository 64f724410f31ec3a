package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

func newNotifier(t *testing.T, transport http.RoundTripper) *Notifier {
	t.Helper()
	n, err := New(Options{Logger: zap.NewNop(), Registry: prometheus.NewRegistry(), Watcher: func() string { return "w1" }, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(func() { n.Stop(context.Background()) })
	return n
}

func (n *Notifier) counts(kind, result string) int {
	return int(testutil.ToFloat64(n.counted.WithLabelValues(kind, result)))
}

var (
	one = sentinel.Assignment{Epoch: 1, Instance: "a", Addr: sentinel.Addr{Host: "10.0.0.1", Port: 6379}, Name: "redis-0"}
	two = sentinel.Assignment{Epoch: 2, Instance: "b", Addr: sentinel.Addr{Host: "10.0.0.2", Port: 6379}, Name: "redis-1"}
)

func moved(leading bool) sentinel.Event {
	return sentinel.Event{Name: sentinel.EventSwitchMaster, Master: "orders", Payload: "orders 10.0.0.1 6379 10.0.0.2 6379", From: one.Addr, To: two.Addr, Epoch: 2,
		Reason: "epoch 2: redis-1 is master", Leading: leading,
		Move: &sentinel.Move{Kind: sentinel.KindFailover, From: one, To: two, Why: "crash", Lost: 84, Fenced: true}}
}

// scripted collects the arguments that scripts get, and runs nothing.
func (n *Notifier) scripted() func() []string {
	return func() []string {
		var out []string
		for _, p := range n.Pending() {
			out = append(out, strings.Join(p.Argv, "|"))
		}
		return out
	}
}

func TestScriptsGetSentinelsArguments(t *testing.T) {
	n, err := New(Options{Logger: zap.NewNop(), Registry: prometheus.NewRegistry(), Watcher: func() string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	n.Configure(Target{}, map[string]Target{"orders": {NotificationScript: "/n", ClientReconfigScript: "/r"}, "carts": {ClientReconfigScript: "/c"}})
	n.Event(sentinel.Event{Name: sentinel.EventSdown, Master: "orders", Payload: "master orders 10.0.0.1 6379"})
	n.Event(sentinel.Event{Name: sentinel.EventSlave, Master: "orders", Payload: "not a warning"})
	n.Event(sentinel.Event{Name: sentinel.EventSdown, Master: "other", Payload: "no target"})
	n.Event(moved(true))
	e := moved(false)
	e.Master = "carts"
	n.Event(e)
	old := moved(true)
	old.Entry = n.since.Add(-time.Second)
	n.Event(old)
	n.Moved("orders", one.Addr, two.Addr) // seen as it happened
	want := []string{"/n|+sdown|master orders 10.0.0.1 6379", "/n|+switch-master|orders 10.0.0.1 6379 10.0.0.2 6379",
		"/r|orders|leader|start|10.0.0.1|6379|10.0.0.2|6379", "/c|carts|observer|start|10.0.0.1|6379|10.0.0.2|6379"}
	if got := n.scripted()(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("scripts\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMoveThatWasMissedIsToldOnceAsAnObserver(t *testing.T) {
	n, err := New(Options{Logger: zap.NewNop(), Registry: prometheus.NewRegistry(), Watcher: func() string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	n.Configure(Target{ClientReconfigScript: "/r"}, nil)
	n.Moved("orders", one.Addr, two.Addr)
	if got := n.scripted()(); fmt.Sprint(got) != "[/r|orders|observer|start|10.0.0.1|6379|10.0.0.2|6379]" {
		t.Errorf("scripts %v", got)
	}
}

// hooks is an HTTP server that remembers what it was sent.
type hooks struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	answer func(n int, w http.ResponseWriter, r *http.Request)
}

func newHooks(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *hooks {
	h := &hooks{answer: answer}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.bodies = append(h.bodies, string(b))
		n := len(h.bodies)
		h.mu.Unlock()
		h.answer(n, w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.bodies...)
}

func TestWebhookGetsAllThatIsKnownOfAMove(t *testing.T) {
	h := newHooks(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s", r.Method, r.Header)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	n := newNotifier(t, nil)
	n.Configure(Target{Webhook: h.URL}, nil)
	n.Event(moved(true))
	until(t, "the message", func() bool { return n.counts(kindWebhook, resultOK) == 1 })
	var m map[string]any
	if err := json.Unmarshal([]byte(h.got()[0]), &m); err != nil {
		t.Fatal(err)
	}
	if m["time"] == "" {
		t.Error("no time")
	}
	delete(m, "time")
	got, _ := json.Marshal(m)
	want := `{"epoch":"2","epochNumber":2,"event":"+switch-master","fenced":true,"from":{"address":"10.0.0.1:6379","id":"a","name":"redis-0"},"kind":"failover",` +
		`"lostBytesEstimate":84,"master":"orders","payload":"orders 10.0.0.1 6379 10.0.0.2 6379","reason":"epoch 2: redis-1 is master",` +
		`"to":{"address":"10.0.0.2:6379","id":"b","name":"redis-1"},"watcher":"w1","why":"crash"}`
	if string(got) != want {
		t.Errorf("message\n%s\nwant\n%s", got, want)
	}
}

// transport is a round trip that is only played.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func status(code int) (*http.Response, error) {
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func TestWebhookIsTriedAgainInOrderAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var tries []string
		n := newNotifier(t, transport(func(r *http.Request) (*http.Response, error) {
			var m Message
			json.NewDecoder(r.Body).Decode(&m)
			tries = append(tries, m.Event)
			if m.Event == "+sdown" {
				return status(http.StatusBadGateway)
			}
			return status(http.StatusOK)
		}))
		n.Configure(Target{Webhook: "http://example.test/"}, nil)
		n.Event(sentinel.Event{Name: sentinel.EventSdown, Master: "orders", Leading: true})
		n.Event(sentinel.Event{Name: sentinel.EventOdown, Master: "orders", Leading: true})
		n.Event(sentinel.Event{Name: sentinel.EventOdown, Master: "orders"}) // of a watcher that does not lead
		time.Sleep(time.Minute)
		synctest.Wait()
		if fmt.Sprint(tries) != "[+sdown +sdown +sdown +sdown +sdown +odown]" {
			t.Errorf("tried %v", tries)
		}
		if n.counts(kindWebhook, resultRetried) != 4 || n.counts(kindWebhook, resultFailed) != 1 || n.counts(kindWebhook, resultOK) != 1 {
			t.Errorf("counted wrongly after %v", time.Since(began))
		}
	})
}

func TestWebhookThatRefusesOrRedirectsIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		n := newNotifier(t, transport(func(*http.Request) (*http.Response, error) {
			tries++
			r, _ := status([]int{http.StatusForbidden, http.StatusTemporaryRedirect}[tries%2])
			r.Header = http.Header{"Location": {"http://elsewhere.test/"}}
			return r, nil
		}))
		n.Configure(Target{Webhook: "http://example.test/"}, nil)
		for range 2 {
			n.Event(moved(true))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if tries != 2 || n.counts(kindWebhook, resultFailed) != 2 {
			t.Errorf("%d tries, %d failed", tries, n.counts(kindWebhook, resultFailed))
		}
	})
}

func TestWebhookThatHangsHasADeadlineAndLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		var hang atomic.Bool
		hang.Store(true)
		var last string
		n := newNotifier(t, transport(func(r *http.Request) (*http.Response, error) {
			if hang.Load() {
				began := time.Now()
				<-r.Context().Done()
				took = append(took, time.Since(began))
				return nil, r.Context().Err()
			}
			var m Message
			json.NewDecoder(r.Body).Decode(&m)
			last = m.Reason
			return status(http.StatusOK)
		}))
		n.Configure(Target{Webhook: "http://example.test/", WebhookTimeout: 700 * time.Millisecond}, nil)
		began := time.Now()
		for i := range 3 * laneMax {
			n.Event(sentinel.Event{Name: sentinel.EventSdown, Master: "orders", Leading: true, Reason: fmt.Sprint(i)})
		}
		if time.Since(began) != 0 {
			t.Errorf("the events' source waited for %v", time.Since(began))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		hang.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(took) != 1 || took[0] != 700*time.Millisecond {
			t.Errorf("tries took %v", took)
		}
		if d := n.counts(kindWebhook, resultDropped); d < 2*laneMax-1 || last != fmt.Sprint(3*laneMax-1) {
			t.Errorf("%d dropped, the last one sent is %s", d, last)
		}
	})
}

func TestNewLeaderTellsTheMoveThatTheOldOneMayNotHaveTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		n := newNotifier(t, transport(func(*http.Request) (*http.Response, error) { sent++; return status(http.StatusOK) }))
		n.Configure(Target{Webhook: "http://example.test/"}, nil)
		n.Event(moved(false))
		time.Sleep(time.Second)
		synctest.Wait()
		if sent != 0 {
			t.Fatal("sent without leading")
		}
		n.Led()
		n.Led()
		synctest.Wait()
		if sent != 1 {
			t.Errorf("sent %d times, want once", sent)
		}
		n.Event(moved(false))
		time.Sleep(2 * takeoverSpan)
		synctest.Wait()
		n.Led()
		synctest.Wait()
		if sent != 1 {
			t.Error("an old move was told again")
		}
	})
}

func TestStopSendsWhatIsQueuedAndEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		n := newNotifier(t, transport(func(r *http.Request) (*http.Response, error) {
			if sent++; sent > 2 {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return status(http.StatusOK)
		}))
		n.Configure(Target{Webhook: "http://example.test/"}, nil)
		for range 4 {
			n.Event(moved(true))
		}
		began := time.Now()
		n.Stop(t.Context())
		if sent < 3 || time.Since(began) != stopGrace {
			t.Errorf("%d tries, stopped after %v", sent, time.Since(began))
		}
		n.Event(moved(true)) // too late, and harmless
	})
}

var question = sentinel.AskHook{ID: 3, Master: "orders", Epoch: 2, From: one, To: two, Why: "crash: 3/3 refused", Lost: 84, Timeout: 5 * time.Second}

func TestOnlyAClearAnswerOfAURLIsAVeto(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       int
		want       sentinel.HookAnswered
	}{
		{"veto", `{"veto": true, "reason": "back\nup \u0007runs"}`, 200, sentinel.HookAnswered{Veto: true, Reason: "back up runs"}},
		{"no veto", `{"veto": false, "reason": "x"}`, 200, sentinel.HookAnswered{Reason: "x"}},
		{"empty", "", 204, sentinel.HookAnswered{}},
		{"refused", `{"veto": true}`, 403, sentinel.HookAnswered{Failure: "answered 403 Forbidden"}},
		{"broken", `{"veto": true}`, 500, sentinel.HookAnswered{Failure: "answered 500 Internal Server Error"}},
		{"text", "no", 200, sentinel.HookAnswered{Failure: "answer is not JSON: invalid character 'o' in literal null (expecting 'u')"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHooks(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.code); io.WriteString(w, c.body) })
			n := newNotifier(t, nil)
			n.Configure(Target{}, map[string]Target{"orders": {Before: h.URL}})
			if got := n.Before(t.Context(), question); got != c.want {
				t.Errorf("answer %+v, want %+v", got, c.want)
			}
			var q Question
			if err := json.Unmarshal([]byte(h.got()[0]), &q); err != nil || q.Master != "orders" || q.From.Name != "redis-0" || q.To.Address != "10.0.0.2:6379" ||
				q.Why != question.Why || *q.Lost != 84 || q.EpochNumber != 2 || q.Watcher != "w1" {
				t.Errorf("asked %s: %v", h.got()[0], err)
			}
		})
	}
}

func TestErrorsOfAURLDoNotShowItsSecrets(t *testing.T) {
	n := newNotifier(t, transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }))
	n.Configure(Target{Before: "http://user:pass@example.test/?token=secret"}, nil)
	if got := n.Before(t.Context(), question); got.Failure != "no route" {
		t.Errorf("failure %q", got.Failure)
	}
	for _, text := range []string{"ftp://secret", "http://", "://secret", "http://a b\x00secret/"} {
		if err := CheckURL(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestProgramIsAskedWithArgumentsAndOneIsAVeto(t *testing.T) {
	for _, c := range []struct {
		text string
		want sentinel.HookAnswered
	}{
		{"exit 0", sentinel.HookAnswered{}},
		{`echo "$*"; echo more; exit 1`, sentinel.HookAnswered{Veto: true, Reason: "orders 10.0.0.1 6379 10.0.0.2 6379 84 crash: 3/3 refused"}},
		{"echo oops; exit 3", sentinel.HookAnswered{Failure: "ended with exit code 3: oops"}},
		{"kill -KILL $$", sentinel.HookAnswered{Failure: "ended by signal 9"}},
	} {
		n := newNotifier(t, nil)
		n.Configure(Target{Before: script(t, c.text)}, nil)
		if got := n.Before(t.Context(), question); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.text, got, c.want)
		}
	}
}

func TestProgramThatHangsIsKilledAtTheDeadline(t *testing.T) {
	n := newNotifier(t, nil)
	n.Configure(Target{Before: script(t, "sleep 600 & sleep 600")}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	got := n.Before(ctx, question)
	if !strings.Contains(got.Failure, "killed: no answer within") || got.Veto {
		t.Errorf("answer %+v", got)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if n.counts(kindBefore, resultFailed) != 1 {
		t.Error("not counted as failed")
	}
}
