package election

import "sync"

// group joins goroutines that may be started while it is being waited for,
// which a bare WaitGroup does not allow.
type group struct {
	mu     sync.Mutex
	wg     sync.WaitGroup
	closed bool
}

// run starts f, or returns false once wait was called.
func (g *group) run(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(f)
	return true
}

// close lets no further goroutine start.
func (g *group) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

// wait lets no further goroutine start and returns when all have ended.
func (g *group) wait() {
	g.close()
	g.wg.Wait()
}
