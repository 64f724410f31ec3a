//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

const wireEnv = "TRIWATCH_CHAOS_WIRE"

// onTheWire is a command of a leader that stays on its way for so long that others have
// moved the master twice.
type onTheWire struct {
	Step string // of the plan at which it is sent
	// Handover is set if the plan is one; else the master has died.
	Handover bool
	// Back moves the master to the one that the command is for, else it is moved on.
	Back bool
	// Lost is set if the network loses it, and what the sender sends again, until others
	// have moved the master; else the network only holds it back.
	Lost bool
	// Lands is set if it is carried out at last. It is not where a handover has closed all
	// connections of the master that it took away, nor where the sender gave it up.
	Lands bool
	// Logged is what a Redis says that has carried it out.
	Logged string
}

// TestCommandLongOnTheWire holds back, in the network, what a leader has sent right before
// it was cut off from the others: they finish the plan and move the master once more, and
// then it arrives.
func TestCommandLongOnTheWire(t *testing.T) {
	o := open(t, *ready)
	const master, replica = "MASTER MODE enabled (user request", "REPLICAOF"
	for name, c := range map[string]onTheWire{
		"promote":             {Step: "promote", Logged: master},
		"promote, lost":       {Step: "promote", Logged: master, Lost: true},
		"replicate":           {Step: "replicate", Logged: replica, Back: true, Lands: true},
		"fence of the master": {Step: "fence", Logged: replica, Handover: true, Back: true},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			b, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := o.reexecute(t, "TestInsideWire", wireEnv+"="+string(b)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestInsideWire(t *testing.T) {
	dir, text := os.Getenv(insideEnv), os.Getenv(wireEnv)
	if dir == "" || text == "" {
		t.Skip("this is the inner half of another test")
	}
	var c onTheWire
	if err := errors.Join(json.Unmarshal([]byte(text), &c), settle(dir)); err != nil {
		t.Fatal(err)
	}
	w, err := newQuiet(dir, "")
	if w != nil {
		defer w.end()
	}
	if err == nil {
		err = w.longOnTheWire(t.Context(), c, t.Logf)
	}
	if err != nil {
		for _, who := range []string{"w1", "w2", "w3", "r1", "r2", "r3"} {
			t.Log(w.timeline.text(w.timeline.grep(who, "")))
		}
		t.Fatal(err)
	}
}

func (w *world) longOnTheWire(ctx context.Context, c onTheWire, logf func(string, ...any)) error {
	all := w.watchers
	defer func() { w.watchers = all }()
	leader, target, held, err := w.holdStep(ctx, c)
	if err != nil {
		return err
	}
	w.watchers = slices.DeleteFunc(slices.Clone(all), func(h *host) bool { return h == leader })
	others := []string{w.watchers[0].Name, w.watchers[1].Name}
	heal, err := both(func() (func() error, error) { return w.lab.cut(others, []string{leader.Name}) },
		func() (func() error, error) { return w.lab.cut([]string{leader.Name}, others) })
	if err != nil {
		return err
	}
	final, epoch, err := w.movedTwice(ctx, c, target)
	if err != nil {
		return err
	}
	log := beside(ctx, final.addr())
	defer log.stop()
	released := time.Now()
	end := held.letGo
	if c.Lost {
		end = held.lose
	}
	if err := errors.Join(end(), heal()); err != nil {
		return err
	}
	w.watchers = all
	if err := w.arrived(ctx, c, leader, target, released, logf); err != nil {
		return err
	}
	sleep(ctx, 1500*time.Millisecond) // what lands late is set right, and stays so
	if err := w.onlyMaster(ctx, final, epoch); err != nil {
		return err
	}
	log.stop()
	var lost isolated
	if err := lost.count(ctx, log, final.addr(), released); err != nil {
		return err
	}
	logf("%d writes acknowledged from then on, %d lost", lost.Acked, lost.Lost)
	if lost.Lost > 0 || lost.Acked == 0 {
		return fmt.Errorf("of %d acknowledged writes %d are lost", lost.Acked, lost.Lost)
	}
	return nil
}

// replicaof begins the command, and none that asks about it.
const replicaof = "*3\r\n$9\r\nreplicaof"

// holdStep begins the plan, and returns when the leader has sent the step's command and the
// network holds it back.
func (w *world) holdStep(ctx context.Context, c onTheWire) (leader, target *host, held *heldBack, err error) {
	// Which of two equal replicas is chosen can change until the last moment.
	chosen := w.redis[1]
	if err := trio.Wait(ctx, startLimit, func() error { return command(ctx, chosen.addr(), "CONFIG", "SET", "replica-priority", "1") }); err != nil {
		return nil, nil, nil, err
	}
	if err := w.says(ctx, func(m httpapi.Master) error {
		known := slices.ContainsFunc(m.Instances, func(i httpapi.Instance) bool { return i.WouldBeChosen && i.Address == chosen.addr() && i.Priority == 1 })
		if leader = w.leader(ctx); m.State != "ok" || len(m.Instances) != 3 || !known || leader == nil {
			return fmt.Errorf("%s (%s), %d instances, %s would be chosen: %v, %v leads", m.State, m.Note, len(m.Instances), chosen.Name, known, leader)
		}
		return nil
	}); err != nil {
		return nil, nil, nil, err
	}
	switch target = chosen; c.Step {
	case "fence":
		target = w.redis[0]
	case "replicate":
		target = w.redis[2]
	}
	if held, err = w.lab.hold(target.Name, leader.Name, replicaof); err != nil {
		return nil, nil, nil, err
	}
	if !c.Handover {
		err = w.redis[0].end(false)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return leader, target, held, w.sent(ctx, c, leader, held)
}

// sent waits until the command is held back; a handover is asked for until then.
func (w *world) sent(ctx context.Context, c onTheWire, leader *host, held *heldBack) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		if c.Handover {
			go command(ctx, leader.addr(), "SENTINEL", "FAILOVER", masterName) //nolint:errcheck // it is cut off, and may not answer
		}
		select {
		case <-held.seen():
			return nil
		case <-ctx.Done():
			return errors.New("the leader has not sent the command")
		case <-again.C:
		}
	}
}

// command sends a watcher or a Redis a command that is answered by OK.
func command(ctx context.Context, addr string, words ...string) error {
	conn, err := wire.Dial(ctx, addr, wire.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // one question
	reply, err := conn.Do(words...)
	if err == nil {
		err = reply.Err()
	}
	return err
}

// movedTwice waits until the other watchers have finished the plan, and then has them
// hand the master over once more.
func (w *world) movedTwice(ctx context.Context, c onTheWire, target *host) (final *host, epoch uint64, err error) {
	var now *host
	quiet := func(m httpapi.Master) error {
		if now = w.redisAt(m.Current.Address); now == w.redis[0] || m.Plan != nil || now == nil {
			return fmt.Errorf("%s is master, %s (%s)", m.Current.Address, m.State, m.Note)
		}
		return errors.Join(roleIs(ctx, now.addr(), "master"), w.allFollow(ctx, now))
	}
	if err := w.says(ctx, quiet); err != nil {
		return nil, 0, fmt.Errorf("wait for the others to finish the plan: %w", err)
	}
	for _, h := range w.redis {
		_, _, up := h.status()
		if up && h != now && (final == nil || c.Back == (h == target)) {
			final = h
		}
	}
	if err := trio.Wait(ctx, startLimit, func() error { return w.handOverTo(ctx, final) }); err != nil {
		return nil, 0, err
	}
	err = w.says(ctx, func(m httpapi.Master) error {
		epoch = m.EpochNumber
		if m.Current.Address != final.addr() || m.Plan != nil {
			return fmt.Errorf("%s is master", m.Current.Address)
		}
		return w.allFollow(ctx, final)
	})
	return final, epoch, err
}

func (w *world) handOverTo(ctx context.Context, to *host) error {
	err := errors.New("nobody leads")
	for _, h := range w.watchers {
		var a httpapi.Failure
		body := strings.NewReader(fmt.Sprintf(`{"to": %q}`, to.addr()))
		var status int
		if status, err = w.askWith(ctx, h, http.MethodPost, "/v1/masters/"+masterName+"/handover", body, &a); err == nil && status == http.StatusOK {
			return nil
		}
		err = errors.Join(err, fmt.Errorf("hand over to %s: %d %s", to.addr(), status, a.Error))
	}
	return err
}

// allFollow returns an error unless all that run follow the master and are in sync.
func (w *world) allFollow(ctx context.Context, master *host) error {
	for _, h := range w.redis {
		if _, _, up := h.status(); !up || h == master {
			continue
		}
		if err := follows(ctx, h, master); err != nil {
			return err
		}
	}
	return nil
}

func follows(ctx context.Context, h, master *host) error {
	conn, err := wire.Dial(ctx, h.addr(), wire.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // one question
	reply, err := conn.Do("ROLE")
	if got := reply.Strings(); err == nil && (len(got) < 4 || got[0] != "slave" || got[1] != master.IP || got[3] != "connected") {
		err = fmt.Errorf("%s says %v, and is to follow %s", h.Name, got, master.Name)
	}
	return err
}

// arrived waits until the target has carried out the command, or for so long that it
// would have.
func (w *world) arrived(ctx context.Context, c onTheWire, leader, target *host, since time.Time, logf func(string, ...any)) error {
	found := func() string {
		for _, l := range w.timeline.grep(target.Name, c.Logged) {
			// The sender's connection is reset by then, and has no address any more.
			if l.at.After(since) && (strings.Contains(l.text, "addr="+leader.IP+":") || strings.Contains(l.text, "addr=?:0")) {
				return l.text
			}
		}
		return ""
	}
	if c.Lands {
		return trio.Wait(ctx, startLimit, func() error {
			if text := found(); text != "" {
				logf("late: %s", text)
				return nil
			}
			return fmt.Errorf("%s does not say that it got the command", target.Name)
		})
	}
	limit := 3 * time.Second
	if c.Lost {
		limit = lostFor
	}
	sleep(ctx, limit)
	if text := found(); text != "" {
		return fmt.Errorf("the command was not to come any more: %s", text)
	}
	return nil
}

// lostFor is longer than the sender's kernel would wait before it sends again, after a
// loss of some seconds.
const lostFor = 15 * time.Second

// onlyMaster waits until all watchers tell the same master and epoch as before, and all
// follow it.
func (w *world) onlyMaster(ctx context.Context, master *host, epoch uint64) error {
	return trio.Wait(ctx, startLimit, func() error {
		for _, h := range w.watchers {
			var one httpapi.OneMaster
			if _, err := w.ask(ctx, h, http.MethodGet, "/v1/masters/"+masterName, &one); err != nil {
				return err
			}
			if m := one.Master; one.Stale || m.Current.Address != master.addr() || m.EpochNumber != epoch || m.Plan != nil {
				return fmt.Errorf("%s tells %s of epoch %s, plan %+v; it was %s of %d", h.Name, m.Current.Address, m.Epoch, m.Plan, master.addr(), epoch)
			}
		}
		return errors.Join(roleIs(ctx, master.addr(), "master"), w.allFollow(ctx, master))
	})
}
