package redisio

import (
	"context"

	"github.com/triwatch/triwatch/sentinel"
)

// rewriting notes that a CONFIG REWRITE of an instance is under way until the returned
// function is called.
func (p *Pool) rewriting(addr sentinel.Addr) (over func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := make(chan struct{})
	p.rewrites[addr] = done
	return func() {
		close(done)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.rewrites[addr] == done {
			delete(p.rewrites, addr)
		}
	}
}

// settled waits until no CONFIG REWRITE of an instance is under way here.
func (p *Pool) settled(ctx context.Context, addr sentinel.Addr) error {
	p.mu.Lock()
	done := p.rewrites[addr]
	p.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
