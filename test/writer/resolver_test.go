package writer

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

func trio(t *testing.T, at string) ([]*watcher, *Sentinel) {
	t.Helper()
	var all []*watcher
	var addrs []string
	for range 3 {
		w := newWatcher(t, at)
		all, addrs = append(all, w), append(addrs, w.addr())
	}
	s, err := NewSentinel(SentinelOptions{Addrs: addrs, Master: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return all, s
}

// announce waits for a subscriber: the writer subscribes at its start, but nobody knows when.
func announce(t *testing.T, w *watcher, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); w.publish("+switch-master", text) == 0; sleep(t.Context(), time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody has subscribed")
		}
	}
}

func move(oldAddr, newAddr string) string {
	return "orders " + strings.ReplaceAll(oldAddr, ":", " ") + " " + strings.ReplaceAll(newAddr, ":", " ")
}

func TestSwitchMasterWakesWritersThatHangAtTheOldOne(t *testing.T) {
	a, b := redis(t, redisproc.Options{}), redis(t, redisproc.Options{})
	watchers, s := trio(t, a.Addr())
	// With a time-out of a minute only the event can end the wait.
	w := start(t, Options{Resolver: s, Timeout: time.Minute})
	w.moreAcks(t, 1000)
	if err := a.Freeze(); err != nil {
		t.Fatal(err)
	}
	w.until(t, "all to hang", func(r Result) bool { return r.SinceAck > 100*time.Millisecond })
	announce(t, watchers[1], "other "+strings.TrimPrefix(move(a.Addr(), b.Addr()), "orders ")) // not ours
	announce(t, watchers[1], move(a.Addr(), b.Addr()))
	w.moreAcks(t, 1000)
	if err := a.Thaw(); err != nil {
		t.Fatal(err)
	}
	r := w.stop(t)
	if r.Errors[KindMoved] != 8 || len(r.Errors) != 1 {
		t.Errorf("every one of the 8 connections had to move once: %+v", r.Errors)
	}
	va, vb := w.verify(t, a), w.verify(t, b)
	if va.Lost == 0 || vb.Lost == 0 || va.Lost+vb.Lost != r.Acked {
		t.Errorf("every acknowledged key must be at exactly one of two: %+v, %+v", va, vb)
	}
}

func TestErrorMakesWritersAskAgain(t *testing.T) {
	a, b := redis(t, redisproc.Options{}), redis(t, redisproc.Options{})
	watchers, s := trio(t, a.Addr())
	w := start(t, Options{Resolver: s})
	w.moreAcks(t, 1000)
	ask(t, a, "REPLICAOF", "127.0.0.1", "0")
	w.until(t, "READONLY", func(r Result) bool { return r.Errors["READONLY"] > 0 })
	for _, x := range watchers { // no event: answers only
		x.set(b.Addr())
	}
	w.moreAcks(t, 1000)
	w.stop(t)
	if n := number(t, ask(t, b, "DBSIZE")); n < 1000 {
		t.Errorf("%d keys at the new master", n)
	}
}

func TestWatchersAreAskedInTurnAndNotByEveryWriter(t *testing.T) {
	watchers, s := trio(t, "127.0.0.1:1") // nobody there
	watchers[0].l.Close()
	watchers[1].set("nonsense")
	w := start(t, Options{Resolver: s, Conns: 32, Duration: 300 * time.Millisecond})
	r := <-w.result
	if r.Errors[KindRefused] == 0 {
		t.Errorf("%+v", r)
	}
	asked := watchers[2].asked() + watchers[1].asked()
	if asked == 0 || asked > int(r.Duration/fresh)+2 {
		t.Errorf("%d questions in %s by 32 writers", asked, r.Duration)
	}
}

func TestNoWatcherLeftIsItsOwnKindOfError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s, err := NewSentinel(SentinelOptions{Addrs: []string{l.Addr().String()}, Master: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, Options{Resolver: s})
	w.until(t, "no-address", func(r Result) bool { return r.Errors[KindNoAddress] > 20 })
	if r := w.stop(t); len(r.Errors) != 1 {
		t.Errorf("%+v", r.Errors)
	}
}

func TestSilentWatcherDelaysByOneTimeOutOnly(t *testing.T) {
	block := make(chan struct{})
	silent := newStub(t, func([]string) (string, bool) { <-block; return "", false })
	t.Cleanup(func() { close(block) })
	good := newWatcher(t, "127.0.0.1:7")
	s, err := NewSentinel(SentinelOptions{Addrs: []string{silent.addr(), good.addr()}, Master: "orders", Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 3 {
		if addr, err := s.Resolve(ctx); err != nil || addr != "127.0.0.1:7" {
			t.Fatal(addr, err)
		}
	}
	if s.next != 1 {
		t.Error("the silent one would be asked first again")
	}
}

func TestUnknownMasterNamesTheWatchers(t *testing.T) {
	w := newWatcher(t, "127.0.0.1:7")
	s, err := NewSentinel(SentinelOptions{Addrs: []string{w.addr()}, Master: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	_, err = s.Resolve(t.Context())
	if want := "ask for master nobody: watcher " + w.addr() + ": it does not know the master"; err == nil || err.Error() != want {
		t.Error(err)
	}
}

func TestWrongSentinelOptionsAreRefused(t *testing.T) {
	for _, o := range []SentinelOptions{{}, {Master: "m"}, {Addrs: []string{"a:1"}}, {Addrs: []string{"a"}, Master: "m"}} {
		if _, err := NewSentinel(o); err == nil || !strings.HasPrefix(err.Error(), "configure writer: ") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestWriterFollowsARealSentinel(t *testing.T) {
	a := redis(t, redisproc.Options{})
	b := redis(t, redisproc.Options{ReplicaOf: a.Addr()})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := b.WaitInfo(ctx, "master_link_status", "up"); err != nil {
		t.Fatal(err)
	}
	sentinel := redis(t, redisproc.Options{SentinelConf: "sentinel monitor orders " + strings.ReplaceAll(a.Addr(), ":", " ") + " 1\n" +
		"sentinel down-after-milliseconds orders 300\n"})
	if err := sentinel.WaitInfo(ctx, "master0", "name=orders,status=ok,address="+a.Addr()+",slaves=1,sentinels=1"); err != nil {
		t.Fatal(err)
	}
	s, err := NewSentinel(SentinelOptions{Addrs: []string{sentinel.Addr()}, Master: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := start(t, Options{Resolver: s, Rate: 2000})
	w.moreAcks(t, 100)
	a.Kill()
	w.until(t, "refused", func(r Result) bool { return r.Errors[KindRefused] > 0 })
	w.moreAcks(t, 500)
	w.stop(t)
	if addr, err := s.Resolve(ctx); err != nil || addr != b.Addr() {
		t.Error(addr, err)
	}
	if n := number(t, ask(t, b, "DBSIZE")); n < 500 {
		t.Errorf("%d keys at the promoted replica", n)
	}
}
