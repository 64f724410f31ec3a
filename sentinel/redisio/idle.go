package redisio

import (
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// writerKey says whom a kept connection for writes belongs to.
type writerKey struct {
	master   string
	instance sentinel.InstanceID
	addr     sentinel.Addr
}

// idleLink is a connection that waits for the next action.
type idleLink struct {
	link  *link
	timer *time.Timer
}

// takeIdle returns the kept connection, which may have died meanwhile, or nil.
func (p *Pool) takeIdle(key writerKey) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.idle[key]
	if kept == nil {
		return nil
	}
	delete(p.idle, key)
	kept.timer.Stop()
	return kept.link
}

// keepIdle keeps a connection for a while; one per instance is enough. The
// password may have changed while it was in use.
func (p *Pool) keepIdle(key writerKey, l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.idle[key] != nil || l.creds != p.credentialsLocked(key.master) {
		l.close()
		return
	}
	kept := &idleLink{link: l}
	kept.timer = time.AfterFunc(idleWriter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.idle[key] == kept {
			delete(p.idle, key)
			l.close()
		}
	})
	p.idle[key] = kept
}

// dropIdleLocked closes the kept connections that match; p.mu is held.
func (p *Pool) dropIdleLocked(match func(writerKey) bool) {
	for key, kept := range p.idle {
		if match(key) {
			delete(p.idle, key)
			kept.timer.Stop()
			kept.link.close()
		}
	}
}
