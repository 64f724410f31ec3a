package redisio

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/triwatch/triwatch/sentinel"
)

// The names of min-replicas-to-write and min-replicas-max-lag, today's and those of
// Redis before 5.
var (
	toWrite = []string{"min-replicas-to-write", "min-slaves-to-write"}
	maxLag  = []string{"min-replicas-max-lag", "min-slaves-max-lag"}
)

// become is replicaOf, in one transaction with the limits that belong to the new role:
// no client gets in between. A user who may not send MULTI, or not all that is in it,
// gets one after the other, the limits first, and those as far as they are allowed.
func (a *action) become(host, port string) error {
	if a.do.Limits == nil {
		return a.replicaOf(host, port)
	}
	sets := a.limitSets()
	err := a.transaction(append(sets, []any{"REPLICAOF", host, port}))
	if err == nil || broken(err) {
		return err
	}
	// The replies that follow a refused MULTI are still to be read, by nobody.
	if err := a.dial(); err != nil {
		return err
	}
	for _, set := range sets {
		if err := a.write(set...); broken(err) {
			return err
		}
	}
	return a.replicaOf(host, port)
}

// limitSets are the commands that set a.do.Limits. Whoever becomes a master begins with
// its number of replicas only.
func (a *action) limitSets() [][]any {
	l := a.do.Limits
	write := []any{"CONFIG", "SET", toWrite[0], strconv.Itoa(l.Write)}
	lag := []any{"CONFIG", "SET", maxLag[0], strconv.Itoa(l.Lag)}
	switch {
	case a.do.Op == sentinel.OpPromote || a.do.Op == sentinel.OpUnfence:
		return [][]any{write}
	case l.Write > 0: // the number counts from when both are set
		return [][]any{lag, write}
	}
	return [][]any{write, lag}
}

// transaction sends commands between MULTI and EXEC, in one write. The error is the
// first that any of them gave; of what was refused in the queue nothing is done.
func (a *action) transaction(cmds [][]any) error {
	if err := a.over(); err != nil {
		return err
	}
	if !a.link.wire.heard {
		if err := a.link.conn.Ping(a.ctx).Err(); broken(err) || err != nil && a.link.wire.closed.Load() {
			return a.explain(err)
		}
	}
	a.link.wire.sent.Store(false)
	pipe := a.link.conn.TxPipeline()
	for _, c := range cmds {
		pipe.Do(a.ctx, c...)
	}
	_, err := pipe.Exec(a.ctx)
	a.wrote = a.wrote || !broken(err) || a.link.wire.sent.Load()
	if err != nil {
		return a.explain(err)
	}
	return nil
}

// alreadyMaster answers for an instance that is a master already. It begins with the
// limits of a new one all the same if it has others.
func (a *action) alreadyMaster(before *sentinel.Info) result {
	if a.do.Limits == nil || before.Limited == a.do.Limits.Active() {
		return result{outcome: sentinel.OutcomeOK, info: before, detail: already}
	}
	for _, set := range a.limitSets() {
		if err := a.write(set...); broken(err) {
			return a.failed(err)
		}
	}
	return a.verify("a master", func(i *sentinel.Info) bool { return i.Role == sentinel.RoleMaster })
}

// findLimits reads the limits; Detail has them.
func (a *action) findLimits() result {
	found, err := a.limits()
	if err != nil {
		return a.failed(err)
	}
	return result{outcome: sentinel.OutcomeOK, detail: found.String()}
}

// setLimits sets the limits, and proves by INFO that they count. It waits for a CONFIG
// REWRITE of ours that is under way, so that what was set for a master does not get into
// the configuration file. What is given back is written there.
func (a *action) setLimits() result {
	want := a.do.Limits
	if want == nil {
		return result{outcome: sentinel.OutcomeFailed, detail: "no limits were given"}
	}
	if err := a.pool.settled(a.ctx, a.do.Addr); err != nil {
		return a.failed(err)
	}
	found, err := a.limits()
	if err != nil {
		return a.failed(err)
	}
	if found != *want {
		for _, set := range a.limitSets() {
			if err := a.write(set...); err != nil {
				return a.failed(err)
			}
		}
	}
	r := a.verify("limited as asked", func(i *sentinel.Info) bool { return i.Limited == want.Active() })
	r.rewrite = a.do.GiveBack && r.outcome == sentinel.OutcomeOK
	return r
}

// limits reads both settings under the names that the server knows.
func (a *action) limits() (sentinel.MinReplicas, error) {
	write, err := a.setting(toWrite)
	if err != nil {
		return sentinel.MinReplicas{}, err
	}
	lag, err := a.setting(maxLag)
	return sentinel.MinReplicas{Write: write, Lag: lag}, err
}

func (a *action) setting(names []string) (int, error) {
	if err := a.alive(); err != nil {
		return 0, err
	}
	for _, name := range names {
		found, err := a.link.conn.ConfigGet(a.ctx, name).Result()
		if err != nil {
			return 0, a.explain(err)
		}
		if text, ok := found[name]; ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				return 0, refusal(fmt.Sprintf("the setting %s is %q, no number", name, text))
			}
			return n, nil
		}
	}
	return 0, refusal("the server has no setting " + names[0])
}
