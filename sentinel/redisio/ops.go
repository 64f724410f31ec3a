package redisio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// already is the Detail of an action that found nothing to do.
const already = "already so"

// OpAwait polls quickly at first, since a replica on the same network is behind by
// less than a millisecond.
const (
	awaitFast  = 500 * time.Microsecond
	awaitSlow  = 5 * time.Millisecond
	awaitEager = 20 * time.Millisecond
)

func (a *action) promote() result {
	before, err := a.info(true)
	if err != nil {
		return a.failed(err)
	}
	if want := a.do.RunID; want != "" && before.RunID != "" && before.RunID != want {
		return result{outcome: sentinel.OutcomeRefused, info: before, detail: fmt.Sprintf("%s runs anew since it was chosen", a.do.Addr)}
	}
	if before.Role == sentinel.RoleMaster {
		return a.alreadyMaster(before)
	}
	if want := a.do.ReplID; want != "" && before.ReplID != want && before.ReplID2 != want {
		return result{outcome: sentinel.OutcomeRefused, info: before, detail: fmt.Sprintf("%s has taken up another data set since it was chosen", a.do.Addr)}
	}
	if was := a.do.From; !was.IsZero() && !before.Master.Same(was) && !before.Fenced() {
		return result{outcome: sentinel.OutcomeRefused, info: before, detail: fmt.Sprintf("%s follows %s since it was chosen, not %s", a.do.Addr, before.Master, was)}
	}
	if err := a.become("NO", "ONE"); err != nil {
		return a.failed(err)
	}
	r := a.verify("a master", func(i *sentinel.Info) bool { return i.Role == sentinel.RoleMaster })
	if r.outcome == sentinel.OutcomeOK && a.do.ReplID != "" && before.ReplID != "" && r.info.ReplID2 != before.ReplID {
		return a.demote()
	}
	r.rewrite = r.outcome == sentinel.OutcomeOK
	return r
}

// demote fences an instance that was just promoted with another data set than it had
// a moment before: REPLICAOF NO ONE waits while a full sync is loaded. A master's
// second replication id is the one that it had as a replica.
func (a *action) demote() result {
	r := a.fence()
	if r.outcome == sentinel.OutcomeOK {
		r.outcome = sentinel.OutcomeRefused
		r.detail = fmt.Sprintf("%s took up another data set in the moment of its promotion; it is fenced", a.do.Addr)
	}
	return r
}

func (a *action) replicate() result {
	to := a.do.To
	if to.IsZero() || to.Port == 0 || to.Same(a.do.Addr) {
		return result{outcome: sentinel.OutcomeFailed, detail: fmt.Sprintf("%s cannot be a replica of %s", a.do.Addr, to)}
	}
	follows := func(i *sentinel.Info) bool { return i.Role == sentinel.RoleReplica && i.Master.Same(to) }
	before, err := a.info(true)
	if err != nil {
		return a.failed(err)
	}
	if follows(before) {
		return result{outcome: sentinel.OutcomeOK, info: before, detail: already}
	}
	if before.Role == sentinel.RoleMaster {
		// A command that comes late finds it promoted: what only it has would be lost.
		return result{outcome: sentinel.OutcomeRefused, info: before, detail: fmt.Sprintf("%s says that it is a master: it is fenced before it follows anybody", a.do.Addr)}
	}
	if err := a.become(to.Host, strconv.Itoa(to.Port)); err != nil {
		return a.failed(err)
	}
	r := a.verify("a replica of "+to.String(), follows)
	if r.outcome != sentinel.OutcomeOK {
		return r
	}
	r.rewrite = true
	return r
}

func (a *action) fence() result {
	before, err := a.info(true)
	if err != nil {
		return a.failed(err)
	}
	if before.Fenced() {
		return result{outcome: sentinel.OutcomeOK, info: before, detail: already}
	}
	if err := a.replicaOf(sentinel.FenceAddr.Host, strconv.Itoa(sentinel.FenceAddr.Port)); err != nil {
		return a.failed(err)
	}
	// This INFO is asked after the fence stands, so its offset is final.
	return a.verify("fenced", (*sentinel.Info).Fenced)
}

func (a *action) unfence() result {
	before, err := a.info(true)
	switch {
	case err != nil:
		return a.failed(err)
	case before.Role == sentinel.RoleMaster:
		return a.alreadyMaster(before)
	case !before.Fenced():
		return result{
			outcome: sentinel.OutcomeRefused, info: before,
			detail: fmt.Sprintf("%s is not fenced but replicates from %s; it is left as it is", a.do.Addr, before.Master),
		}
	}
	if err := a.become("NO", "ONE"); err != nil {
		return a.failed(err)
	}
	return a.verify("a master", func(i *sentinel.Info) bool { return i.Role == sentinel.RoleMaster })
}

// verify asks for a fresh INFO and compares.
func (a *action) verify(what string, ok func(*sentinel.Info) bool) result {
	info, err := a.info(true)
	if err != nil {
		return result{outcome: sentinel.OutcomeUnknown, detail: "accepted, but not verified: " + err.Error()}
	}
	if !ok(info) {
		return result{
			outcome: sentinel.OutcomeUnknown, info: info,
			detail: fmt.Sprintf("accepted, but %s is not %s: it says %s of %s", a.do.Addr, what, info.Role, info.Master),
		}
	}
	return result{outcome: sentinel.OutcomeOK, info: info}
}

func (a *action) await() result {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last *sentinel.Info
	for {
		select {
		case <-timer.C:
		case <-a.ctx.Done():
			return a.behind(last, a.waited())
		}
		info, err := a.info(false)
		if err != nil {
			return a.behind(last, err)
		}
		last = info
		if a.sameLineage(info) && info.Offset >= a.do.Offset {
			return result{outcome: sentinel.OutcomeOK, info: info}
		}
		next := awaitFast
		if time.Since(start) > awaitEager {
			next = awaitSlow
		}
		timer.Reset(next)
	}
}

// waited is why the waiting ended.
func (a *action) waited() error {
	if err := a.ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("waited %v", a.timeout)
}

// sameLineage reports whether the instance has the stream that is waited for, also
// as the one that it continued when it was promoted.
func (a *action) sameLineage(i *sentinel.Info) bool {
	return a.do.ReplID == "" || i.ReplID == a.do.ReplID || i.ReplID2 == a.do.ReplID
}

// behind says how far an instance is from what was waited for.
func (a *action) behind(last *sentinel.Info, err error) result {
	if text, ok := errorReply(err); ok {
		return result{outcome: sentinel.OutcomeRefused, info: last, detail: text}
	}
	r := result{outcome: sentinel.OutcomeFailed, info: last, detail: a.explain(err).Error()}
	switch {
	case last == nil:
	case !a.sameLineage(last):
		r.detail = fmt.Sprintf("%s follows lineage %s, not %s: %s", a.do.Addr, last.ReplID, a.do.ReplID, r.detail)
	default:
		r.detail = fmt.Sprintf("%s is %d bytes behind: %s", a.do.Addr, a.do.Offset-last.Offset, r.detail)
	}
	return r
}

func (a *action) killClients() result {
	if err := a.alive(); err != nil {
		return a.failed(err)
	}
	n, err := a.killOthers()
	if err != nil {
		return a.failed(err)
	}
	return result{outcome: sentinel.OutcomeOK, detail: fmt.Sprintf("%d connections closed", n)}
}

// killOthers closes every client's connection but this one. The watchers' own go
// with them: they redial, and see that the instance lives.
func (a *action) killOthers() (int64, error) {
	var total int64
	for _, kind := range []string{"normal", "pubsub"} {
		n, err := a.writeCount("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// setPing sets repl-ping-replica-period; Detail is the value found.
func (a *action) setPing() result {
	name, old, err := a.pingPeriod()
	if err != nil {
		return a.failed(err)
	}
	if a.do.Value == "" || a.do.Value == old {
		return result{outcome: sentinel.OutcomeOK, detail: old}
	}
	if err := a.write("CONFIG", "SET", name, a.do.Value); err != nil {
		return a.failed(err)
	}
	return result{outcome: sentinel.OutcomeOK, detail: old}
}

// pingPeriod reads the setting under the name that the server knows.
func (a *action) pingPeriod() (name, value string, err error) {
	if err := a.alive(); err != nil {
		return "", "", err
	}
	for _, name := range []string{"repl-ping-replica-period", "repl-ping-slave-period"} {
		found, err := a.link.conn.ConfigGet(a.ctx, name).Result()
		if err != nil {
			return "", "", a.explain(err)
		}
		if value, ok := found[name]; ok {
			return name, value, nil
		}
	}
	return "", "", refusal("the server has no setting repl-ping-replica-period")
}

func isUnknownCommand(text string) bool { return strings.HasPrefix(text, "ERR unknown command") }
