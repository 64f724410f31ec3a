package sentinel_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// script carries out the lines of a transcript on a world. The words are described in
// testdata/transcripts/README.md.
type script struct {
	t    testing.TB
	w    *world
	out  []string
	mark sentinel.Time
	all  bool
	mute bool
}

func newScript(t testing.TB) *script {
	s := &script{t: t, w: newWorld(t)}
	s.w.show = s.action
	return s
}

// line carries out one line and returns what happened.
func (s *script) line(text string) []string {
	s.out = nil
	f := strings.Fields(text)
	if len(f) == 0 || strings.HasPrefix(text, "#") {
		return nil
	}
	if err := s.word(f[0], f[1:]); err != nil {
		s.t.Fatalf("line %q: %v", text, err)
	}
	return s.out
}

func (s *script) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

func (s *script) word(word string, args []string) error {
	switch word {
	case "config":
		return s.config(args)
	case "redis":
		return s.redis(args)
	case "known":
		at := sentinel.Addr{Host: args[0], Port: 6379}
		s.w.known = append(s.w.known, sentinel.Member{ID: sentinel.InstanceID(at.String()), Addr: at})
	case "members":
		for _, m := range s.w.committed().Members {
			s.say("  %s", m.Addr)
		}
	case "start":
		s.mute = len(args) == 0
		s.w.start(3)
		s.w.run(3500 * ms)
		s.mute = false
		s.mark = s.w.now
	case "show":
		s.all = args[0] == "all"
	case "run":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		s.mute = len(args) > 1
		s.w.run(d)
		s.mute = false
	case "on":
		return s.on(args)
	case "lead":
		s.mark = s.w.now
		s.w.depose(s.w.watcher(args[0]))
	case "nolead":
		s.mark = s.w.now
		s.w.lead(nil)
	case "hook":
		return s.hook(args)
	case "request":
		return s.request(args)
	case "status":
		s.status()
	case "view":
		s.view()
	case "history":
		s.history()
	case "foreign-sentinel":
		s.mark = s.w.now
		for _, wt := range s.w.ws {
			wt.step(sentinel.Foreign{Master: masterName, ID: "stranger", Addr: sentinel.Addr{Host: "10.0.9.1", Port: 26379}, Name: masterName})
		}
	case "pods", "delete", "gone", "replace", "flip", "floor":
		if word != "pods" {
			s.mark = s.w.now
		}
		return s.kube(word, args)
	default:
		s.mark = s.w.now
		return s.fault(word, args)
	}
	return nil
}

// fault is what happens to the Redis world or to the network.
func (s *script) fault(word string, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no such word")
	}
	w := s.w
	switch word {
	case "cut", "heal":
		for _, a := range args[1:] {
			w.cutoff[args[0]+" "+a] = word == "cut"
		}
		return nil
	case "mute", "unmute":
		for _, a := range args {
			w.cutoff[a] = word == "mute"
		}
		return nil
	}
	if word == "synctime" {
		w.set.syncTime, _ = time.ParseDuration(args[0])
		return nil
	}
	r := w.set.get(args[0])
	if r == nil {
		return fmt.Errorf("no such redis")
	}
	rest := args[1:]
	switch word {
	case "kill":
		r.dead, r.link, r.syncing = true, false, false
		r.drop()
		w.lose(r)
	case "freeze":
		r.frozen = true
	case "thaw":
		r.thaw()
	case "restart":
		r.restart(rest[0] == "data", len(rest) > 1 && rest[1] == "fenced")
		w.lose(r)
	case "clientkill":
		w.lose(r)
	case "load":
		r.rate, _ = strconv.ParseInt(rest[0], 10, 64)
	case "reply":
		r.reply = replies[rest[0]]
	case "noone":
		r.replicaOf(sentinel.Addr{})
	case "fence":
		r.replicaOf(sentinel.FenceAddr)
	case "follow":
		r.replicaOf(w.set.get(rest[0]).addr)
	default:
		return s.set(word, r, rest)
	}
	return nil
}

var replies = map[string]sentinel.Reply{"ok": sentinel.ReplyOK, "auth": sentinel.ReplyAuth, "maxclients": sentinel.ReplyMaxClients,
	"busy": sentinel.ReplyBusy, "loading": sentinel.ReplyLoading, "misconf": sentinel.ReplyMisconf, "accepted": sentinel.ReplyAccepted}

// set changes one property of a Redis.
func (s *script) set(word string, r *fakeRedis, rest []string) error {
	if len(rest) != 1 {
		return fmt.Errorf("no such word")
	}
	n, _ := strconv.ParseInt(rest[0], 10, 64)
	switch word {
	case "keys":
		r.keys, r.fresh = n, n == 0
	case "offset":
		r.offset = n
	case "prio":
		r.prio = int(n)
	case "calls":
		r.calls = rest[0]
	case "also":
		r.also = append(r.also, sentinel.Addr{Host: rest[0], Port: r.addr.Port})
	case "limits":
		r.limits, _ = sentinel.ParseMinReplicas(rest[0])
	case "deaf":
		r.deaf = rest[0] == "yes"
	case "rights":
		return r.setRights(rest[0])
	case "writable":
		if r.writable = rest[0] != "no"; rest[0] != "hidden" {
			r.tellWritable()
		}
	case "foreign":
		r.newReplID()
		r.replID2 = ""
	default:
		return fmt.Errorf("no such word")
	}
	return nil
}

func (s *script) config(args []string) error {
	c := &s.w.cfg
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		d, _ := time.ParseDuration(v)
		n, _ := strconv.ParseInt(v, 10, 64)
		switch k {
		case "down-after":
			c.DownAfter = d
		case "witness-max":
			c.WitnessMax = d
		case "catch-up":
			c.CatchUp = d
		case "failover-timeout":
			c.FailoverTimeout = d
		case "reboot-down-after":
			c.RebootDownAfter = d
		case "max-loss":
			c.MaxLoss = n
		case "quorum":
			c.Quorum = int(n)
		case "on-crash":
			c.CrashWaits = v == "wait"
		case "pause-writes":
			c.PauseWrites = true
		case "observe":
			c.Observe = true
		case "fence":
			s.w.fence = true
		case "hold-unfenced":
			c.HoldUnfenced = true
		default:
			return fmt.Errorf("no setting %q", k)
		}
	}
	return nil
}

// redis adds an instance: "redis r1 keys=1000", "redis r2 of r1 prio=0".
func (s *script) redis(args []string) error {
	r := s.w.set.add(args[0])
	r.offset = 1000
	for i, a := range args[1:] {
		k, v, ok := strings.Cut(a, "=")
		if a == "of" {
			m := s.w.set.get(args[i+2])
			r.replicaOf(m.addr)
			r.link, r.everUp, r.replID, r.offset, r.keys = true, true, m.replID, m.offset, m.keys
		}
		if ok {
			if err := s.fault(k, []string{r.name, v}); err != nil {
				return err
			}
		}
	}
	return nil
}

// on changes the fate of an action: "on do promote r2 drop|land|fail|refuse [times N] [then lead w2|kill r2|...]".
func (s *script) on(args []string) error {
	text := strings.Join(args, " ")
	head, then, _ := strings.Cut(text, " then ")
	h := &hook{times: 1, outcome: -1}
	if left, n, ok := strings.Cut(head, " times "); ok {
		head = left
		h.times, _ = strconv.Atoi(n)
	}
	i := strings.LastIndexByte(head, ' ')
	h.match = head[:i]
	switch head[i+1:] {
	case "land", "commit":
		h.land = true
	case "pass":
		h.pass = true
	case "drop":
	case "landed-unknown":
		h.land, h.outcome, h.detail = true, sentinel.OutcomeUnknown, "time-out"
	case "unknown":
		h.outcome, h.detail = sentinel.OutcomeUnknown, "time-out"
	case "fail":
		h.outcome, h.detail = sentinel.OutcomeFailed, "connection reset"
	case "refuse":
		h.outcome, h.detail = sentinel.OutcomeRefused, "NOPERM this user has no permissions to run the command"
	default:
		return fmt.Errorf("no such fate %q", head[i+1:])
	}
	if then != "" {
		f := strings.Fields(then)
		h.then = func() {
			s.say("%s -- %s", s.stamp(), then)
			if f[0] == "lead" {
				s.w.depose(s.w.watcher(f[1]))
			} else if err := s.fault(f[0], f[1:]); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	s.w.hooks = append(s.w.hooks, h)
	return nil
}

// hook says what is answered before failovers: "hook 500ms veto 3ms maintenance", and
// further answers after commas. "hook off" asks nobody.
func (s *script) hook(args []string) error {
	if args[0] == "off" {
		s.w.hooked(sentinel.Before{})
		return nil
	}
	b := sentinel.Before{}
	b.Timeout, _ = time.ParseDuration(args[0])
	if args = args[1:]; args[0] == "hold-on-failure" {
		b.HoldOnFailure, args = true, args[1:]
	}
	s.w.veto = nil
	for _, text := range strings.Split(strings.Join(args, " "), ",") {
		f := strings.Fields(text)
		v := vetoing{}
		if len(f) > 1 {
			v.after, _ = time.ParseDuration(f[1])
		}
		reason := strings.Join(f[min(2, len(f)):], " ")
		switch f[0] {
		case "allow":
		case "veto":
			v.answer.Veto, v.answer.Reason = true, reason
		case "fail":
			v.answer.Failure = reason
		case "lost":
			v.lost = true
		default:
			return fmt.Errorf("no such answer %q", f[0])
		}
		s.w.veto = append(s.w.veto, v)
	}
	s.w.hooked(b)
	return nil
}

func (s *script) request(args []string) error {
	q := sentinel.Request{ID: 7, Master: masterName}
	switch args[0] {
	case "handover":
		q.Kind = sentinel.RequestHandover
	case "failover":
		q.Kind = sentinel.RequestFailover
	case "sentinel-failover":
		q.Kind = sentinel.RequestSentinelFailover
	case "vacate":
		q.Kind = sentinel.RequestVacate
	case "release":
		q.Kind = sentinel.RequestRelease
	case "adopt":
		q.Kind = sentinel.RequestAdopt
		if q.Force = args[len(args)-1] == "force"; q.Force {
			args = args[:len(args)-1]
		}
	case "pause":
		q.Kind = sentinel.RequestPause
		if len(args) > 1 {
			q.For, _ = time.ParseDuration(args[1])
			args = args[:1]
		}
	case "resume":
		q.Kind = sentinel.RequestResume
	default:
		return fmt.Errorf("no such request")
	}
	if len(args) > 1 {
		q.To = s.w.set.get(args[1]).addr.String()
	}
	s.mark = s.w.now
	to := s.w.leader
	if to == nil {
		to = s.w.ws[0]
	}
	to.step(q)
	return nil
}
