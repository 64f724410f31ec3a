package writer

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"
)

// Writer is one load with its record. Run it once; Snapshot may be called by others meanwhile.
type Writer struct {
	opts    Options
	tracker *tracker
	stop    chan struct{} // closed when no new write may begin

	mu       sync.Mutex
	ran      bool
	stopped  bool
	hint     string // where a watcher said that the master went
	hintNo   int    // counts hints, so that each connection uses each one once
	attempts map[*attempt]struct{}
}

// attempt is one connection from asking for the address to its first error. It ends early when the master moves elsewhere.
type attempt struct {
	ctx       context.Context
	cancel    context.CancelFunc
	addr      string // empty until known
	connected bool
}

// New checks the options and returns a Writer that has not connected yet.
func New(o Options) (*Writer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Writer{opts: o, tracker: newTracker(o.Conns), stop: make(chan struct{}), attempts: map[*attempt]struct{}{}}, nil
}

// ErrRan is returned when Run is called a second time.
var ErrRan = errors.New("run writer: a writer runs only once")

// Run writes until the duration is over or ctx ends, lets the writes under way finish (within their time-outs) and returns the
// record. Neither outages nor the end of ctx are errors.
func (w *Writer) Run(ctx context.Context) (Result, error) {
	w.mu.Lock()
	if w.ran {
		w.mu.Unlock()
		return Result{}, ErrRan
	}
	w.ran = true
	w.mu.Unlock()
	if w.opts.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.opts.Duration)
		defer cancel()
	}
	// The end of the run is no reason to break a connection: a write under way would become an unknown one.
	under := context.WithoutCancel(ctx)
	watching, endWatch := context.WithCancel(under)
	var watch, workers sync.WaitGroup
	watch.Go(func() { w.opts.Resolver.Watch(watching, w.moved) })
	w.tracker.start(time.Now())
	for i := range w.opts.Conns {
		c := newConnection(w, i)
		workers.Go(func() { c.run(under) })
	}
	<-ctx.Done()
	w.end()
	w.tracker.finish(time.Now())
	workers.Wait()
	endWatch()
	watch.Wait()
	return w.Snapshot(), nil
}

// Snapshot is the record so far.
func (w *Writer) Snapshot() Result { return w.tracker.result(time.Now()) }

// Prefix begins the keys of this Writer.
func (w *Writer) Prefix() string { return w.opts.Prefix }

// end stops new writes; attempts without a connection have nothing under way and end at once.
func (w *Writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	close(w.stop)
	for a := range w.attempts {
		if !a.connected {
			a.cancel()
		}
	}
}

func (w *Writer) ending() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// moved ends every attempt at another address, so that no writer waits out its time-out at a master that is none any more.
func (w *Writer) moved(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hint = addr
	w.hintNo++
	if w.stopped {
		return
	}
	for a := range w.attempts {
		if a.addr != addr {
			a.cancel()
		}
	}
}

// begin registers an attempt and hands out a hint that the connection has not seen yet. A hint to where it has just failed is none.
func (w *Writer) begin(ctx context.Context, seen int, last string) (*attempt, int) {
	a := &attempt{}
	a.ctx, a.cancel = context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hintNo > seen && w.hint != last {
		a.addr = w.hint
	}
	if w.stopped {
		a.cancel()
	}
	w.attempts[a] = struct{}{}
	return a, w.hintNo
}

func (w *Writer) located(a *attempt, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.addr = addr
}

func (w *Writer) connected(a *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.connected = true
}

func (w *Writer) over(a *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.cancel()
	delete(w.attempts, a)
}

// Key is one written key; its value is "<conn>:<seq>".
type Key struct {
	Conn int   `json:"conn"`
	Seq  int64 `json:"seq"`
}

func (k Key) value() string { return strconv.Itoa(k.Conn) + ":" + strconv.FormatInt(k.Seq, 10) }

// Name is the key in Redis for a Writer with this prefix.
func (k Key) Name(prefix string) string { return prefix + ":" + k.value() }
