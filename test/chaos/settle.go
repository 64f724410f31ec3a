//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/faults"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// The bounds after the end of the last fault. They contain what TCP takes to notice
// that a way is open again (its retransmissions double) and a slow machine.
const (
	writableLimit = 10 * time.Second
	steadyLimit   = 60 * time.Second
	fencedLimit   = 3 * time.Second
)

// round plays a round and waits until all is well again; false ends the schedule.
func (w *world) round(ctx context.Context, n int, r faults.Round) bool {
	w.timeline.add("ROUND", "%d, calm=%v", n, r.Calm)
	start, before, plans := time.Now(), w.history.now(), w.plans
	w.play(ctx, r)
	ended := time.Now()
	w.timeline.add("ROUND", "all faults are over")
	if err := w.wait(ctx, writableLimit, func() error { return w.written(ended) }); err != nil {
		w.history.violate("not writable %v after the last fault: %v; %s", writableLimit, err, w.describe(ctx))
	}
	w.timeline.add("ROUND", "written again after %v", time.Since(ended).Round(time.Millisecond))
	err := w.wait(ctx, steadyLimit, func() error { return w.steady(ctx) })
	if err != nil {
		w.history.violate("not well %v after the last fault: %v; %s", steadyLimit, err, w.describe(ctx))
	} else {
		w.timeline.add("ROUND", "well again after %v", time.Since(ended).Round(time.Millisecond))
	}
	if lerr := w.wait(ctx, writableLimit, func() error { return w.learnMoves(ctx) }); lerr != nil {
		w.history.violate("the history cannot be read: %v", lerr)
		return false
	}
	w.gate.close()
	defer w.gate.open()
	rec := w.history.record()
	if err == nil {
		w.compareAll(ctx, start, rec)
	}
	if r.Calm {
		w.wasCalm(rec, start, before, plans)
	}
	for _, text := range rec.Unfenced() {
		w.once("unfenced "+text, "%s", text)
	}
	for _, text := range rec.TwoMasters(fencedLimit) {
		w.once("two masters", "%s", text)
	}
	for _, text := range rec.WentBack() {
		w.once("went back", "%s", text)
	}
	return len(w.history.bad()) == 0
}

// wasCalm: no plan was begun since a round's beginning, unless this machine stood still.
func (w *world) wasCalm(rec Record, start time.Time, before Told, plans int) {
	why := notCalm(before, w.history.now(), plans, w.plans)
	if still := rec.stoodStill(start); why != "" && still > 0 {
		w.timeline.add("ROUND", "not calm, but the machine stood still for %v", still)
	} else if why != "" {
		w.history.violate("%s", why)
	}
}

// wait waits for a condition, as long as a bound and this machine's standstills in the
// meantime allow, and starts again meanwhile what ends by itself.
func (w *world) wait(ctx context.Context, bound time.Duration, cond func() error) error {
	start := time.Now()
	for {
		w.revive()
		err := cond()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if late(time.Since(start), bound, w.history.stalled(start)) {
			return fmt.Errorf("not within %v, of which this machine stood still for %v; last seen: %w", time.Since(start).Round(time.Millisecond), w.history.stalled(start), err)
		}
		sleep(ctx, 10*time.Millisecond)
	}
}

// written: a write through Sentinel was acknowledged since then.
func (w *world) written(since time.Time) error {
	if last := time.Unix(0, w.through.Load()); last.Before(since) {
		return fmt.Errorf("the last write through Sentinel was %v before", since.Sub(last).Round(time.Millisecond))
	}
	return nil
}

// steady: all watchers tell the same and are content, one Redis is master, and the
// others follow it.
func (w *world) steady(ctx context.Context) error {
	epoch, master := uint64(0), ""
	for i, h := range w.watchers {
		var a httpapi.OneMaster
		if status, err := w.ask(ctx, h, http.MethodGet, "/v1/masters/"+masterName, &a); err != nil || status != http.StatusOK {
			return fmt.Errorf("%s: status %d, %w", h.Name, status, err)
		}
		m := a.Master
		if a.Stale || !a.HasQuorum || a.Watchers != len(w.watchers) || a.Reachable != len(w.watchers) || m.State != "ok" || m.Plan != nil {
			return fmt.Errorf("%s: %q (%s), plan %v, %d of %d watchers, stale=%v", h.Name, m.State, m.Note, m.Plan, a.Reachable, a.Watchers, a.Stale)
		}
		if i > 0 && (m.EpochNumber != epoch || w.nameOf(m.Current.Address) != master) {
			return fmt.Errorf("%s: epoch %d of %s, another has %d of %s", h.Name, m.EpochNumber, m.Current.Address, epoch, master)
		}
		epoch, master = m.EpochNumber, w.nameOf(m.Current.Address)
	}
	if w.hosts[master] == nil {
		return fmt.Errorf("the master is %s, which is no member", master)
	}
	for _, h := range w.redis {
		s := w.lastSample(h)
		switch {
		case s.err != nil:
			return fmt.Errorf("%s: %w", h.Name, s.err)
		case time.Since(s.when) > time.Second:
			return fmt.Errorf("%s: no answer for %v", h.Name, time.Since(s.when))
		case h.Name == master && s.role != "master",
			h.Name != master && (s.role != "slave" || s.follows != w.hosts[master].IP || s.link != "up" || s.busy):
			return fmt.Errorf("%s, with %s as master, is %s", h.Name, master, s)
		}
	}
	return nil
}

// describe is the state of everything, for a message.
func (w *world) describe(ctx context.Context) string {
	text := ""
	for _, h := range w.redis {
		text += fmt.Sprintf("\n    %s: %s", h.Name, w.lastSample(h))
	}
	for _, h := range w.watchers {
		var a httpapi.OneMaster
		_, err := w.ask(ctx, h, http.MethodGet, "/v1/masters/"+masterName, &a)
		text += fmt.Sprintf("\n    %s: epoch %d of %s, %s (%s), plan %+v, quorum=%v %d/%d leader=%s %v", h.Name, a.Master.EpochNumber,
			w.nameOf(a.Master.Current.Address), a.Master.State, a.Master.Note, a.Master.Plan, a.HasQuorum, a.Reachable, a.Watchers, a.Leader, err)
	}
	return text
}

// compareAll looks for every acknowledged key on all three, while writers stand still.
func (w *world) compareAll(ctx context.Context, start time.Time, rec Record) {
	master := w.history.now().Master
	have := map[string]map[string]bool{}
	size := 0
	err := w.wait(ctx, writableLimit, func() error {
		n := -1
		for _, h := range w.redis {
			keys, found, err := scan(ctx, h, rec.Acks)
			if err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
			have[h.Name] = keys
			if n >= 0 && found != n {
				return fmt.Errorf("%s has %d keys, another has %d", h.Name, found, n)
			}
			n = found
		}
		size = n
		return nil
	})
	if err != nil {
		w.history.violate("the copies do not become equal: %v", err)
		return
	}
	if rec.Nobody.After(start) {
		w.bestDiskWon(rec.Nobody, size)
	}
	lost, allowed := 0, 0
	for i := range rec.Acks {
		a := rec.Acks[i]
		if a.Lost || a.Foreign || have[master][a.Key] {
			continue
		}
		w.history.mu.Lock()
		w.history.acks[i].Lost = true
		w.history.mu.Unlock()
		if why := rec.Judge(a); why != "" {
			if lost++; lost <= 5 {
				w.history.violate("%s (acknowledged at %.3f)", why, a.Acked.Sub(w.timeline.start).Seconds())
			}
		} else {
			allowed++
		}
	}
	w.timeline.add("CHECK", "of %d keys %d were lost as documented, %d against a promise; %d went to a stranger", len(rec.Acks), allowed, lost, w.strange.Load())
}

// bestDiskWon: after not one Redis ran, the one that loaded the most must have become
// the master, so nobody has less now.
func (w *world) bestDiskWon(nobody time.Time, size int) {
	w.mu.Lock()
	born := maps.Clone(w.born)
	w.mu.Unlock()
	for _, h := range w.redis {
		h.mu.Lock()
		began := h.begun[len(h.begun)-1]
		h.mu.Unlock()
		if began.Before(nobody) {
			delete(born, h.Name)
		}
	}
	if why := worseThanDisk(born, size); why != "" {
		w.history.violate("%s", why)
	}
}

// scan asks a Redis which keys it has.
func scan(ctx context.Context, h *host, acks []Ack) (map[string]bool, int, error) {
	conn, err := wire.Dial(ctx, h.addr(), wire.Options{Timeout: 2 * time.Second})
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close() //nolint:errcheck // only read from
	have := make(map[string]bool, len(acks))
	const chunk = 1000
	for lo := 0; lo < len(acks); lo += chunk {
		part := acks[lo:min(lo+chunk, len(acks))]
		for _, a := range part {
			conn.Append("EXISTS", a.Key)
		}
		if err := conn.Flush(); err != nil {
			return nil, 0, err
		}
		for _, a := range part {
			reply, err := conn.Receive()
			if err == nil {
				err = reply.Err()
			}
			if err != nil {
				return nil, 0, err
			}
			have[a.Key] = reply.Str == "1"
		}
	}
	reply, err := conn.Do("DBSIZE")
	if err := errors.Join(err, reply.Err()); err != nil {
		return nil, 0, err
	}
	var n int
	_, err = fmt.Sscan(reply.Str, &n)
	return have, n, err
}

// all plays the whole schedule.
func (w *world) all(ctx context.Context) {
	for i, r := range w.schedule.Rounds {
		if !w.round(ctx, i+1, r) {
			return
		}
	}
	for _, who := range w.watchers {
		for _, word := range []string{"panic:", "DATA RACE", "goroutine 1 ["} {
			if l := w.timeline.grep(who.Name, word); len(l) > 0 {
				w.history.violate("%s panicked: %s", who.Name, l[0].text)
			}
		}
	}
}

// keepAll writes the schedule and the timeline into a directory.
func (w *world) keepAll(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := w.schedule.String()
	for _, v := range w.history.bad() {
		text += "# " + strings.ReplaceAll(v, "\n", "\n# ") + "\n"
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, scheduleFile), []byte(text), 0o644), w.timeline.write(filepath.Join(dir, "timeline.txt")))
}
