package election

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// rebirthPause is the time between attempts to begin another life.
const rebirthPause = time.Second

// Node is one watcher's place in the cluster. All methods may be called from any
// goroutine.
type Node struct {
	cfg         Config
	log         *zap.Logger
	machine     *machineFSM
	leaving     atomic.Bool
	unfit       atomic.Bool
	leaderships chan Leadership
	changes     chan struct{}

	ctx      context.Context // ends with Stop
	cancel   context.CancelFunc
	stopOnce sync.Once
	stopErr  error
	living   sync.WaitGroup // the goroutine that begins another life

	mu       sync.Mutex // guards the rest
	listener net.Listener
	addr     string
	cur      *life
	closed   bool // cur has been stopped, and no other has begun yet
}

// New opens the store in cfg.Dir, and makes the identity when the store is
// fresh. It returns an error that wraps ErrDirInUse or ErrDamaged, naming the
// directory or file, when the store can not be used. The Machine must be empty:
// its first Snapshot is what "no command yet" means. The caller owes a Stop.
func New(cfg Config, m Machine) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check election configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	if cfg.Record == nil {
		cfg.Record = NewFileRecord(cfg.Dir)
	}
	machine, err := newMachineFSM(m)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, machine: machine, addr: cfg.Advertise,
		leaderships: make(chan Leadership), changes: make(chan struct{}, 1),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if n.cur, err = newLife(n); err != nil {
		n.cancel()
		return nil, err
	}
	return n, nil
}

// Start listens on cfg.Bind and returns; making or joining the cluster goes on
// in the background and waits for missing peers as long as it takes.
func (n *Node) Start(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", n.cfg.Bind)
	if err != nil {
		return fmt.Errorf("listen for peers: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener != nil || n.ctx.Err() != nil {
		return errors.Join(errors.New("start election: it was started or stopped before"), ln.Close())
	}
	n.listener = ln
	if n.addr == "" {
		n.addr = ln.Addr().String()
	}
	if host, _, _ := net.SplitHostPort(n.addr); net.ParseIP(host).IsUnspecified() {
		n.log.Warn("the advertised address is not one that peers can dial; set it", zap.String("address", n.addr))
	}
	n.cur.start(ln, n.addr)
	n.living.Go(n.live)
	return nil
}

// live begins another life whenever one has asked for it, until Stop.
func (n *Node) live() {
	for {
		cur := n.life()
		select {
		case <-n.ctx.Done():
			return
		case why := <-cur.over:
			n.log.Info("beginning anew", zap.Stringer("how", why), zap.String("id", string(cur.ID())))
			if !n.rebirth(cur, why) {
				return
			}
		}
	}
}

// rebirth ends a life and begins the next; false when Stop was called.
func (n *Node) rebirth(old *life, why ending) bool {
	ended, cancel := context.WithCancel(context.Background())
	cancel() // nothing to hand over: it does not lead
	err := old.stop(ended, n.listener)
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	if err != nil {
		n.log.Warn("the store was not closed cleanly", zap.Error(err))
	}
	for n.ctx.Err() == nil {
		if err = n.beginLife(why); err == nil {
			return true
		}
		old.setWaiting(fmt.Sprintf("waiting to begin anew: %v", err))
		n.log.Error("beginning anew failed", zap.Error(err))
		select {
		case <-n.ctx.Done():
		case <-time.After(rebirthPause):
		}
	}
	return false
}

func (n *Node) beginLife(why ending) error {
	if why == endingDiscard {
		if err := putAside(n.cfg.Dir); err != nil {
			return err
		}
		n.machine.forget()
	}
	next, err := newLife(n)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.cur, n.closed = next, false
	n.mu.Unlock()
	if t, ok := n.listener.(*net.TCPListener); ok {
		if err := t.SetDeadline(time.Time{}); err != nil {
			n.log.Warn("peer listener not opened again", zap.Error(err))
		}
	}
	next.start(n.listener, n.Addr())
	next.leaderChanged()
	return nil
}

// life returns the present life.
func (n *Node) life() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cur
}

// Stop hands the leadership to another voter, at most about a second long, and
// closes everything. The membership stays, for a restart; see Leave. When it
// returns no goroutine of the Node is left. The context bounds the hand-over
// only. Later calls return what the first did.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOnce.Do(func() { n.stopErr = n.stop(ctx) })
	return n.stopErr
}

func (n *Node) stop(ctx context.Context) error {
	n.cancel()
	n.living.Wait() // no other life begins from here on
	n.mu.Lock()
	cur, closed, ln := n.cur, n.closed, n.listener
	n.mu.Unlock()
	var errs []error
	if !closed {
		errs = append(errs, cur.stop(ctx, ln))
	}
	if ln != nil {
		errs = append(errs, ln.Close())
	}
	close(n.leaderships) // their only senders have ended
	close(n.changes)
	return errors.Join(errs...)
}
