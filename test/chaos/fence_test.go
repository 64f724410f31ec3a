//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/faults"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

const (
	fenceEnv    = "TRIWATCH_CHAOS_FENCE"
	isolatedFor = 10 * time.Second
	// fenceAim is what the fence is to leave of the time in which writes are lost. A lag is
	// counted in whole seconds and looked at once a second, so that it can take longer.
	fenceAim, fenceMargin = 3 * time.Second, time.Second
)

// isolated is what a master that was cut off for a while acknowledged, and what of that
// was gone in the end.
type isolated struct {
	Fence       string
	Acked, Lost int
	// Last is when the last write that is lost was acknowledged, since the cut.
	Last time.Duration
	// Behind is from when the ways were open again to when the old master was none.
	Behind time.Duration
	// Left is min-replicas-to-write of the old master in the end.
	Left string
}

// TestFenceBoundsWhatACutOffMasterLoses cuts the master off from all replicas and watchers,
// with a writer beside it that reaches nobody else, with the fence and without.
func TestFenceBoundsWhatACutOffMasterLoses(t *testing.T) {
	o := open(t, *ready)
	got := map[string]isolated{}
	for _, fence := range []string{"off", "on"} {
		if err := o.reexecute(t, "TestInsideFence", fenceEnv+"="+fence); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(o.dir, "fence-"+fence))
		if err != nil {
			t.Fatal(err)
		}
		var c isolated
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatal(err)
		}
		got[fence] = c
	}
	for _, fence := range []string{"off", "on"} {
		c := got[fence]
		t.Logf("fence %-3s: %5d writes acknowledged by the master that was cut off for %v and lost, the last %v after the cut; none any more %v after it was reached again",
			fence, c.Lost, isolatedFor, c.Last.Round(time.Millisecond), c.Behind.Round(time.Millisecond))
		if c.Left != "0" {
			t.Errorf("fence %s: the old master is left with min-replicas-to-write %q", fence, c.Left)
		}
	}
	on, off := got["on"], got["off"]
	if on.Last > fenceAim+fenceMargin {
		t.Errorf("with the fence writes were acknowledged and lost for %v, at most %v were to be", on.Last, fenceAim)
	}
	if off.Last < isolatedFor-2*time.Second || off.Last <= on.Last || off.Lost <= on.Lost {
		t.Errorf("without the fence writes were lost for %v only: the test shows nothing", off.Last)
	}
}

func TestInsideFence(t *testing.T) {
	dir, fence := os.Getenv(insideEnv), os.Getenv(fenceEnv)
	if dir == "" || fence == "" {
		t.Skip("this is the inner half of another test")
	}
	if err := settle(dir); err != nil {
		t.Fatal(err)
	}
	w, err := newQuiet(dir, "# triwatch: fence "+masterName+" "+fence+"\n")
	if w != nil {
		defer w.end()
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.cutMasterOff(t.Context(), fence)
	if err != nil {
		for _, who := range []string{"w1", "w2", "w3"} {
			t.Log(w.timeline.text(w.timeline.grep(who, "")))
		}
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "fence-"+fence), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// newQuiet starts everything of a lab but clients and samplers.
func newQuiet(dir, conf string) (*world, error) {
	t := newTimeline()
	w := &world{dir: dir, conf: conf, timeline: t, history: newHistory(t), hosts: map[string]*host{}, cancel: func() {}}
	w.schedule.Persist = faults.PersistNone
	var err error
	if w.lab, err = newLab(); err != nil {
		return nil, err
	}
	for _, m := range w.lab.members {
		h := &host{Member: m, w: w, dir: filepath.Join(dir, "work", m.Name)}
		switch {
		case m.Name == clientName:
			continue
		case h.isRedis():
			w.redis = append(w.redis, h)
		default:
			w.watchers = append(w.watchers, h)
			err = errors.Join(err, smallDisk(h.dir))
		}
		w.hosts[m.Name] = h
	}
	for i, h := range w.redis {
		following := ""
		if i > 0 {
			following = w.redis[0].IP + " " + redisPort
		}
		err = errors.Join(err, h.startRedis(following))
	}
	for _, h := range w.watchers {
		err = errors.Join(err, h.startWatcher(0))
	}
	return w, err
}

// says waits until some watcher that reached a majority says so of the master.
func (w *world) says(ctx context.Context, cond func(httpapi.Master) error) error {
	return trio.Wait(ctx, startLimit, func() error {
		err := errors.New("no watcher answers")
		for _, h := range w.watchers {
			var one httpapi.OneMaster
			code, e := w.ask(ctx, h, http.MethodGet, "/v1/masters/"+masterName, &one)
			if e != nil || code != http.StatusOK || one.Stale {
				continue
			}
			if err = cond(one.Master); err == nil {
				return nil
			}
		}
		return err
	})
}

func (w *world) cutMasterOff(ctx context.Context, fence string) (isolated, error) {
	c := isolated{Fence: fence}
	old := w.redis[0]
	if err := w.says(ctx, func(m httpapi.Master) error {
		if m.State != "ok" || len(m.Instances) != 3 || m.Fence != fence {
			return fmt.Errorf("%s (%s), %d instances, fence %s", m.State, m.Note, len(m.Instances), m.Fence)
		}
		return nil
	}); err != nil {
		return c, err
	}
	log := beside(ctx, old.addr())
	defer log.stop()
	sleep(ctx, time.Second)
	rest := []string{"r2", "r3", "w1", "w2", "w3"}
	undo, err := both(func() (func() error, error) { return w.lab.cut([]string{old.Name}, rest) },
		func() (func() error, error) { return w.lab.cut(rest, []string{old.Name}) })
	if err != nil {
		return c, err
	}
	cut := time.Now()
	sleep(ctx, isolatedFor)
	if err := undo(); err != nil {
		return c, err
	}
	healed := time.Now()
	if err := trio.Wait(ctx, startLimit, func() error { return roleIs(ctx, old.addr(), "slave") }); err != nil {
		return c, err
	}
	c.Behind = time.Since(healed)
	log.stop()
	var next string
	if err := w.says(ctx, func(m httpapi.Master) error {
		if next = m.Current.Address; m.State != "ok" || next == old.addr() || len(m.Unfenced) > 0 {
			return fmt.Errorf("%s (%s), master %s, unfenced %+v", m.State, m.Note, next, m.Unfenced)
		}
		return nil
	}); err != nil {
		return c, err
	}
	if c.Left, err = limitOf(ctx, old.addr()); err != nil {
		return c, err
	}
	return c, c.count(ctx, log, next, cut)
}

func limitOf(ctx context.Context, addr string) (string, error) {
	conn, err := wire.Dial(ctx, addr, wire.Options{Timeout: time.Second})
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // one question
	reply, err := conn.Do("CONFIG", "GET", "min-replicas-to-write")
	if got := reply.Strings(); err == nil && len(got) == 2 {
		return got[1], nil
	}
	return "", err
}

// count looks for everything that was acknowledged on the new master.
func (c *isolated) count(ctx context.Context, log *besideLog, next string, cut time.Time) error {
	conn, err := wire.Dial(ctx, next, wire.Options{Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // only read from
	for key, at := range log.acked {
		reply, err := conn.Do("EXISTS", strconv.Itoa(key))
		if err != nil {
			return err
		}
		if at.After(cut) {
			c.Acked++
		}
		if reply.Str != "1" {
			c.Lost++
			c.Last = max(c.Last, at.Sub(cut))
		}
	}
	return nil
}

// besideLog is what one writer was acknowledged by one address.
type besideLog struct {
	acked map[int]time.Time
	stop  func()
}

// beside writes to one address for as long as it may, one key after the other.
func beside(ctx context.Context, addr string) *besideLog {
	ctx, cancel := context.WithCancel(ctx)
	l := &besideLog{acked: map[int]time.Time{}}
	done := make(chan struct{})
	l.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		n := 0
		every(ctx, func() error {
			conn, err := wire.Dial(ctx, addr, wire.Options{Timeout: ioTimeout})
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // it is given up
			for ctx.Err() == nil {
				n++
				reply, err := conn.Do("SET", strconv.Itoa(n), "1")
				if err != nil {
					return err
				}
				if reply.Err() == nil {
					l.acked[n] = time.Now()
				}
				sleep(ctx, 2*time.Millisecond)
			}
			return nil
		})
	}()
	return l
}

func roleIs(ctx context.Context, addr, role string) error {
	conn, err := wire.Dial(ctx, addr, wire.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // one question
	reply, err := conn.Do("ROLE")
	if got := reply.Strings(); err == nil && (len(got) == 0 || got[0] != role) {
		err = fmt.Errorf("%s says %v", addr, got)
	}
	return err
}
