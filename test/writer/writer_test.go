package writer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

// slack is how much later than it should this machine may run a goroutine.
const slack = 700 * time.Millisecond

func TestEveryModeCountsExactlyWhatIsThere(t *testing.T) {
	for _, mode := range []Mode{Single, Pipelined, Multi} {
		t.Run(mode.String(), func(t *testing.T) {
			s := redis(t, redisproc.Options{})
			w := start(t, Options{Resolver: Fixed(s.Addr()), Modes: []Mode{mode}})
			w.moreAcks(t, 5000)
			r := w.stop(t)
			if len(r.Errors) > 0 || r.Unknown > 0 || r.Dials != 8 || r.LongestGap > slack {
				t.Errorf("%+v", r)
			}
			if n := number(t, ask(t, s, "DBSIZE")); n != r.Acked {
				t.Errorf("%d keys are there, %d were acknowledged", n, r.Acked)
			}
			if v := w.verify(t, s); v.Checked != r.Acked || v.Lost != 0 || len(v.Missing) != 0 {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestUserAndPasswordAreUsed(t *testing.T) {
	s := redis(t, redisproc.Options{User: "app", Password: "secret"})
	w := start(t, Options{Resolver: Fixed(s.Addr()), User: "app", Password: "secret"})
	w.moreAcks(t, 100)
	w.stop(t)
	if v := w.verify(t, s); v.Lost != 0 || v.Checked < 100 {
		t.Errorf("%+v", v)
	}
	wrong := start(t, Options{Resolver: Fixed(s.Addr()), User: "app", Password: "wrong"})
	wrong.until(t, "WRONGPASS", func(r Result) bool { return r.Errors["WRONGPASS"] > 0 })
	if r := wrong.stop(t); r.Acked != 0 {
		t.Errorf("%+v", r)
	}
}

func TestFrozenServerGivesAGapAsLongAsTheFreeze(t *testing.T) {
	s := redis(t, redisproc.Options{})
	w := start(t, Options{Resolver: Fixed(s.Addr())})
	w.moreAcks(t, 1000)
	outer := time.Now()
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	inner := time.Now()
	w.until(t, "several time-outs on every connection", func(r Result) bool { return r.Errors[KindTimeout] >= 24 })
	if r := w.Snapshot(); r.SinceAck < 400*time.Millisecond {
		t.Errorf("the present gap is not seen while it lasts: %+v", r)
	}
	least := time.Since(inner)
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	most := time.Since(outer)
	w.moreAcks(t, 1000)
	r := w.stop(t)
	// Replies may still lie in the sockets when the server has stopped, so the gap may begin a moment later.
	if r.LongestGap < least-50*time.Millisecond || r.LongestGap > most+slack {
		t.Errorf("the gap is %s, the freeze was %s to %s", r.LongestGap, least, most)
	}
	if r.GapStart.Before(outer.Add(-slack)) || r.GapStart.After(inner.Add(50*time.Millisecond)) || r.GapEnd.Sub(r.GapStart).Round(time.Millisecond) != r.LongestGap.Round(time.Millisecond) {
		t.Errorf("the gap is from %s to %s, frozen at %s", r.GapStart, r.GapEnd, inner)
	}
	if r.Unknown < 8 {
		t.Errorf("%d writes of unknown outcome, every connection had one under way", r.Unknown)
	}
	// A reply taken for the answer to a later command would acknowledge keys that are not there.
	if v := w.verify(t, s); v.Lost != 0 || v.Checked != r.Acked {
		t.Errorf("%+v", v)
	}
	if n := number(t, ask(t, s, "DBSIZE")); n < r.Acked || n > r.Acked+r.Unknown {
		t.Errorf("%d keys, %d acknowledged, %d unknown", n, r.Acked, r.Unknown)
	}
}

func TestKilledServerThatComesBackEmptyHasLostAllOfItsFirstLife(t *testing.T) {
	s := redis(t, redisproc.Options{})
	w := start(t, Options{Resolver: Fixed(s.Addr())})
	w.moreAcks(t, 1000)
	outer := time.Now()
	s.Kill()
	inner := time.Now()
	r := w.until(t, "refused on every connection", func(r Result) bool { return r.Errors[KindRefused] > 100 && r.SinceAck > 300*time.Millisecond })
	before := r.Acked
	least := time.Since(inner)
	if err := s.Restart(t.Context(), redisproc.RestartOptions{Empty: true}); err != nil {
		t.Fatal(err)
	}
	w.moreAcks(t, 1000)
	most := time.Since(outer)
	r = w.stop(t)
	if r.LongestGap < least-50*time.Millisecond || r.LongestGap > most {
		t.Errorf("the gap is %s, the outage was %s to %s", r.LongestGap, least, most)
	}
	v := w.verify(t, s)
	if v.Checked != r.Acked || v.Lost != before {
		t.Errorf("%d of %d keys lost, want the %d of the first life", v.Lost, v.Checked, before)
	}
	if want := int(min(before, keptMissing)); len(v.Missing) != want {
		t.Errorf("%d missing keys are named, want %d", len(v.Missing), want)
	}
}

func TestOneDeletedOneChangedAndAllFlushedKeysAreNoticed(t *testing.T) {
	s := redis(t, redisproc.Options{})
	w := start(t, Options{Resolver: Fixed(s.Addr()), Modes: []Mode{Single}})
	w.until(t, "writes of connection 3", func(r Result) bool { return w.tracker.copySpans()[3] != nil })
	w.moreAcks(t, 1000)
	r := w.stop(t)
	gone, changed := Key{Conn: 3, Seq: 0}, Key{Conn: 5, Seq: 0}
	if ask(t, s, "DEL", gone.Name(w.Prefix())) != "1" {
		t.Fatalf("the key %s is not there", gone.Name(w.Prefix()))
	}
	if v := w.verify(t, s); v.Lost != 1 || !reflect.DeepEqual(v.Missing, []Key{gone}) || v.Checked != r.Acked {
		t.Errorf("%+v", v)
	}
	ask(t, s, "SET", changed.Name(w.Prefix()), "5:1")
	if v := w.verify(t, s); v.Lost != 2 || !reflect.DeepEqual(v.Missing, []Key{gone, changed}) {
		t.Errorf("%+v", v)
	}
	ask(t, s, "FLUSHALL")
	if v := w.verify(t, s); v.Lost != r.Acked {
		t.Errorf("%d lost, want all %d", v.Lost, r.Acked)
	}
}

func TestVerifyFailsRatherThanSayingThatNothingIsLost(t *testing.T) {
	s := redis(t, redisproc.Options{})
	w := start(t, Options{Resolver: Fixed(s.Addr())})
	w.moreAcks(t, 10)
	w.stop(t)
	s.Kill()
	if v, err := w.Verify(t.Context(), s.Addr()); err == nil || !strings.HasPrefix(err.Error(), "verify writes at "+s.Addr()) {
		t.Error(v, err)
	}
}

func TestNothingAcknowledgedIsAGapOfTheWholeRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	w := start(t, Options{Resolver: Fixed(addr), Duration: 300 * time.Millisecond})
	r := <-w.result
	if r.Acked != 0 || r.LongestGap != r.Duration || r.SinceAck != r.Duration || r.Duration < 300*time.Millisecond {
		t.Errorf("%+v", r)
	}
	// One millisecond of pause after each: enough tries to see the master come back, few enough to leave a CPU to it.
	if most := int64(8 * (r.Duration/time.Millisecond + 1)); r.Errors[KindRefused] < 8 || r.Errors[KindRefused] > most {
		t.Errorf("%d refused dials, want 8 to %d", r.Errors[KindRefused], most)
	}
	if r.Unknown != 0 || len(r.Errors) != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := w.Run(t.Context()); !errors.Is(err, ErrRan) {
		t.Error(err)
	}
}

func TestGapAtTheEndOfTheRunCounts(t *testing.T) {
	s := redis(t, redisproc.Options{})
	w := start(t, Options{Resolver: Fixed(s.Addr())})
	w.moreAcks(t, 1000)
	s.Kill()
	killed := time.Now()
	w.until(t, "half a second without a write", func(r Result) bool { return r.SinceAck > 500*time.Millisecond })
	least := time.Since(killed)
	r := w.stop(t)
	if r.LongestGap < least-50*time.Millisecond || r.LongestGap != r.SinceAck || !r.GapEnd.Equal(r.Started.Add(r.Duration)) {
		t.Errorf("killed %s before the end: %+v", least, r)
	}
}

func TestReadOnlyServerIsNamedAndLeftForOneThatWrites(t *testing.T) {
	s := redis(t, redisproc.Options{ReplicaOf: "127.0.0.1:0"})
	w := start(t, Options{Resolver: Fixed(s.Addr()), Conns: 3})
	w.until(t, "READONLY in all modes", func(r Result) bool { return r.Errors["READONLY"] > 100 })
	if r := w.Snapshot(); r.Acked != 0 || len(r.Errors) != 1 {
		t.Errorf("%+v", r)
	}
	ask(t, s, "REPLICAOF", "NO", "ONE")
	w.moreAcks(t, 100)
	w.stop(t)
	if v := w.verify(t, s); v.Lost != 0 {
		t.Errorf("%+v", v)
	}
}

func TestRateIsKeptAndSpread(t *testing.T) {
	s := redis(t, redisproc.Options{})
	w := start(t, Options{Resolver: Fixed(s.Addr()), Rate: 1000, Duration: time.Second})
	r := <-w.result
	// A machine that is busy elsewhere may write less, never more: one batch for each connection may come early.
	if r.Acked > 1000+8 || r.Acked < 300 {
		t.Errorf("%d writes in a second, want about 1000", r.Acked)
	}
}

func TestTransactionIsAcknowledgedByExecOnly(t *testing.T) {
	for name, c := range map[string]struct {
		exec           string
		acked, unknown bool
		kind           string
	}{
		"hang up instead":  {"", false, true, KindClosed},
		"refused as whole": {"-READONLY no\r\n", false, false, "READONLY"},
		"not executed":     {"*-1\r\n", false, false, KindProtocol},
		"refused inside":   {"*2\r\n+OK\r\n-OOM no\r\n", true, false, "OOM"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t, func(args []string) (string, bool) {
				switch args[0] {
				case "MULTI":
					return "+OK\r\n", true
				case "EXEC":
					return c.exec, c.exec != ""
				default:
					return "+QUEUED\r\n", true
				}
			})
			w := start(t, Options{Resolver: Fixed(s.addr()), Modes: []Mode{Multi}, Conns: 1, Batch: 2})
			w.until(t, c.kind, func(r Result) bool { return r.Errors[c.kind] > 0 })
			r := w.stop(t)
			if (r.Acked > 0) != c.acked || (r.Unknown > 0) != c.unknown || c.acked && r.Acked != r.Errors["OOM"] {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestPipelineCountsEveryReplyForItself(t *testing.T) {
	s := newStub(t, func(args []string) (string, bool) {
		switch {
		case strings.HasSuffix(args[1], ":1"):
			return "-OOM no\r\n", true
		case strings.HasSuffix(args[1], ":3"):
			return "", false
		default:
			return "+OK\r\n", true
		}
	})
	w := start(t, Options{Resolver: Fixed(s.addr()), Modes: []Mode{Pipelined}, Conns: 1, Batch: 5, Pause: time.Hour})
	w.until(t, "the hang-up", func(r Result) bool { return r.Errors[KindClosed] == 1 })
	r := w.stop(t)
	if r.Acked != 2 || r.Errors["OOM"] != 1 || r.Unknown != 2 {
		t.Errorf("%+v", r)
	}
	if got := w.tracker.copySpans(); !reflect.DeepEqual(got, [][]span{{{0, 1}, {2, 3}}}) {
		t.Errorf("acknowledged: %v", got)
	}
}

func TestLateReplyIsNeverTakenForAnotherCommands(t *testing.T) {
	first := true
	release := make(chan struct{})
	s := newStub(t, func([]string) (string, bool) {
		if first { // one connection at a time: the second is dialled when the first has timed out
			first = false
			<-release
		}
		return "+OK\r\n", true
	})
	w := start(t, Options{Resolver: Fixed(s.addr()), Modes: []Mode{Single}, Conns: 1, Timeout: 100 * time.Millisecond, Pause: 300 * time.Millisecond})
	w.until(t, "the time-out", func(r Result) bool { return r.Errors[KindTimeout] == 1 })
	close(release)
	r := w.moreAcks(t, 10)
	if r.Dials != 2 || r.Unknown != 1 || w.tracker.copySpans()[0][0].lo != 1 {
		t.Errorf("%+v; acknowledged: %v", r, w.tracker.copySpans())
	}
	w.stop(t)
}

func TestResultSurvivesJSON(t *testing.T) {
	s := redis(t, redisproc.Options{})
	w := start(t, Options{Resolver: Fixed(s.Addr())})
	w.moreAcks(t, 100)
	r := w.stop(t)
	v := w.verify(t, s)
	r.Verified = &v
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Acked != r.Acked || back.LongestGap != r.LongestGap || !back.GapStart.Equal(r.GapStart) || back.Verified.Checked != v.Checked {
		t.Errorf("%s", data)
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	fixed := Fixed("127.0.0.1:1")
	for want, o := range map[string]Options{
		"configure writer: a resolver is needed":                                                        {},
		"configure writer: numbers and times must not be negative":                                      {Resolver: fixed, Rate: -1},
		`configure writer: the user "u" needs a password`:                                               {Resolver: fixed, User: "u"},
		`configure writer: parse mode "unknown": it must be single, pipelined or multi`:                 {Resolver: fixed, Modes: []Mode{Unknown}},
		fmt.Sprintf("configure writer: parse mode %q: it must be single, pipelined or multi", "mode 9"): {Resolver: fixed, Modes: []Mode{9}},
	} {
		if _, err := New(o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
