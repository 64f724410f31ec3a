package redisio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/triwatch/triwatch/sentinel"
)

const (
	// idleWriter is how long a connection for writes is kept after its last use: a
	// plan's steps follow each other at once.
	idleWriter = 10 * time.Second
	// defaultTimeout bounds an action that names no Timeout.
	defaultTimeout = time.Second
	// afterTimeout bounds what is done in the background after an action.
	afterTimeout = time.Second
)

// Do carries out one action and blocks until its outcome is known, ctx is done or
// sentinel.Do.Timeout has passed. Nothing is sent once ctx is done.
//
// OutcomeRefused is Redis' own no, in Detail. OutcomeFailed means that no write
// was sent. OutcomeUnknown means that one was, and that its answer or the proof of
// its effect did not come. After a promotion or repointing that succeeded, CONFIG
// REWRITE is sent in the background, up to a second later and even if ctx has
// ended: it only writes down what is so.
func (p *Pool) Do(ctx context.Context, d sentinel.Do) sentinel.Done {
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	a := &action{pool: p, do: d, ctx: ctx, timeout: timeout}
	r := a.run()
	a.release(r)
	return sentinel.Done{Master: d.Master, ID: d.ID, Result: r.outcome, Info: r.info, Detail: r.detail}
}

// action is one Do under way. It belongs to the goroutine that called Do.
type action struct {
	pool    *Pool
	do      sentinel.Do
	ctx     context.Context
	timeout time.Duration
	link    *link
	reused  bool // link has served an earlier action and may be dead
	stop    func() bool
	// wrote is set when a write may have reached the instance.
	wrote bool
}

// result is how an action ended.
type result struct {
	outcome sentinel.Outcome
	info    *sentinel.Info
	detail  string
	rewrite bool // CONFIG REWRITE afterwards
}

func (a *action) run() result {
	if err := a.open(); err != nil {
		return a.failed(err)
	}
	switch a.do.Op {
	case sentinel.OpPromote:
		return a.promote()
	case sentinel.OpReplicate:
		return a.replicate()
	case sentinel.OpFence:
		return a.fence()
	case sentinel.OpUnfence:
		return a.unfence()
	case sentinel.OpAwait:
		return a.await()
	case sentinel.OpPauseWrites:
		return a.plain("CLIENT", "PAUSE", max(1, a.timeout.Milliseconds()), "WRITE")
	case sentinel.OpUnpause:
		return a.plain("CLIENT", "UNPAUSE")
	case sentinel.OpKillClients:
		return a.killClients()
	case sentinel.OpSetPing:
		return a.setPing()
	case sentinel.OpFindLimits:
		return a.findLimits()
	case sentinel.OpSetLimits:
		return a.setLimits()
	case sentinel.OpUnknown:
	}
	return result{outcome: sentinel.OutcomeFailed, detail: fmt.Sprintf("operation %d is not known to this version", a.do.Op)}
}

// open takes the connection of an earlier action or dials.
func (a *action) open() error {
	if err := a.over(); err != nil {
		return err
	}
	if l := a.pool.takeIdle(a.key()); l != nil {
		a.use(l, true)
		return nil
	}
	return a.dial()
}

// over says why nothing may be sent any more, nil while it may.
func (a *action) over() error {
	if a.pool.ctx.Err() != nil {
		return ErrClosed // the action's own context hears of it a moment later
	}
	return a.ctx.Err()
}

func (a *action) dial() error {
	a.drop()
	nc, err := a.pool.dial(a.ctx, a.do.Addr, a.timeout)
	if err != nil {
		return err
	}
	a.use(newLink(nc, a.do.Addr, a.pool.credentials(a.do.Master), a.pool.opt.ClientName), false)
	return nil
}

func (a *action) use(l *link, reused bool) {
	l.wire.gate = a.over
	a.link, a.reused = l, reused
	a.stop = context.AfterFunc(a.ctx, l.wire.expire)
}

// drop gives up the connection.
func (a *action) drop() {
	if a.link == nil {
		return
	}
	a.stop()
	a.link.close()
	a.link = nil
}

// release keeps the connection for the next action, after what is left to do.
func (a *action) release(r result) {
	l := a.link
	if l == nil {
		return
	}
	if !a.stop() || l.wire.closed.Load() || l.wire.lost.Load() || r.outcome == sentinel.OutcomeUnknown {
		// stop returns false when ctx has ended: the connection has expired. A fence is
		// the one write that may land late: a frozen master is to find it when it wakes.
		if r.outcome == sentinel.OutcomeUnknown && a.do.Op != sentinel.OpFence {
			l.wire.abandon()
		}
		l.close()
		return
	}
	key := a.key()
	if !r.rewrite {
		a.pool.keepIdle(key, l)
		return
	}
	over := a.pool.rewriting(key.addr)
	if !a.pool.spawn(func() { defer over(); a.pool.rewrite(key, l) }) {
		over()
		l.close()
	}
}

// rewrite makes what is so survive a restart, as Sentinel does. Without a
// configuration file Redis refuses it, which is fine.
func (p *Pool) rewrite(key writerKey, l *link) {
	ctx, cancel := context.WithTimeout(p.ctx, afterTimeout)
	defer cancel()
	l.wire.gate = ctx.Err
	stop := context.AfterFunc(ctx, l.wire.expire)
	err := l.conn.Do(ctx, "CONFIG", "REWRITE").Err()
	if !stop() || broken(err) {
		l.close()
		return
	}
	p.keepIdle(key, l)
}

func (a *action) key() writerKey {
	return writerKey{master: a.do.Master, instance: a.do.Instance, addr: a.do.Addr}
}

// info reads the instance's state. Reads are harmless, so a connection that turns
// out to be dead, or was killed with all others, is replaced once.
func (a *action) info(full bool) (*sentinel.Info, error) {
	for try := 0; ; try++ {
		text, err := a.link.conn.Info(a.ctx, sections(full)...).Result()
		if err == nil {
			return a.link.parse(text)
		}
		if !broken(err) || !a.link.wire.lost.Load() || try > 0 || a.ctx.Err() != nil {
			return nil, a.explain(err)
		}
		if err := a.dial(); err != nil {
			return nil, err
		}
	}
}

// alive makes sure that a connection that was kept still leads somewhere, where
// the action does not begin with a read anyway.
func (a *action) alive() error {
	if !a.reused {
		return nil
	}
	if err := a.link.conn.Ping(a.ctx).Err(); broken(err) {
		return a.dial()
	}
	return nil
}

// write sends a command that changes something. A non-nil error that is not a
// reply may mean that it was carried out all the same; see failed.
func (a *action) write(args ...any) error {
	_, err := a.writeValue(args...)
	return err
}

// writeCount is write for a command that answers with a number.
func (a *action) writeCount(args ...any) (int64, error) {
	v, err := a.writeValue(args...)
	n, _ := v.(int64)
	return n, err
}

func (a *action) writeValue(args ...any) (any, error) {
	if err := a.over(); err != nil {
		return nil, err
	}
	// The handshake of a new connection is no write: it is made by a PING first, so
	// that what the wire notes is about args alone.
	if !a.link.wire.heard {
		if err := a.link.conn.Ping(a.ctx).Err(); broken(err) || err != nil && a.link.wire.closed.Load() {
			return nil, a.explain(err)
		}
	}
	a.link.wire.sent.Store(false)
	v, err := a.link.conn.Do(a.ctx, args...).Result()
	if broken(err) {
		// Without an answer it may have been carried out, or still be.
		a.wrote = a.wrote || a.link.wire.sent.Load()
	} else if err == nil {
		a.wrote = true
	}
	if err != nil {
		return nil, a.explain(err)
	}
	return v, nil
}

// explain puts what the wire saw in the place of go-redis' words for it.
func (a *action) explain(err error) error {
	if !broken(err) {
		return err
	}
	if cause := a.over(); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %v", a.timeout)
		}
		return cause
	}
	if a.link != nil && a.link.wire.lost.Load() {
		if text := a.link.wire.turnedAway(); text != "" {
			return errors.New(text)
		}
	}
	return err
}

// failed turns an error into an outcome.
func (a *action) failed(err error) result {
	if text, ok := errorReply(err); ok {
		return result{outcome: sentinel.OutcomeRefused, detail: text}
	}
	if a.wrote {
		return result{outcome: sentinel.OutcomeUnknown, detail: err.Error()}
	}
	return result{outcome: sentinel.OutcomeFailed, detail: err.Error()}
}

// plain carries out a command that needs no proof beyond its reply.
func (a *action) plain(args ...any) result {
	if err := a.alive(); err != nil {
		return a.failed(err)
	}
	if err := a.write(args...); err != nil {
		return a.failed(err)
	}
	return result{outcome: sentinel.OutcomeOK}
}

// replicaOf sends REPLICAOF. An ACL made for Sentinel allows SLAVEOF only, and
// Redis before 5 knows nothing else.
func (a *action) replicaOf(host, port any) error {
	err := a.write("REPLICAOF", host, port)
	if text, ok := errorReply(err); ok && (sentinel.ClassifyError(text) == sentinel.ReplyAuth || isUnknownCommand(text)) {
		if second := a.write("SLAVEOF", host, port); second == nil || broken(second) {
			return second
		}
	}
	return err
}

// refusal is an error reply that was read out of another reply.
type refusal string

var _ redis.Error = refusal("")

// Error returns the text.
func (r refusal) Error() string { return string(r) }

// RedisError marks it as a reply.
func (r refusal) RedisError() {}
