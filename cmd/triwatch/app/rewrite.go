package app

import (
	"bytes"
	"context"
	"os"
	"sync"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
	"go.uber.org/zap"
)

// rewriter keeps sentinel.conf up to date, as Sentinel does: who is master at which
// epoch, who follows, who else watches. It writes beside the loop and at most a
// few times a second; what the log says counts more than the file, so a write
// that fails costs nothing but the way back to redis-sentinel.
type rewriter struct {
	a      *App
	wake   chan struct{} // something changed
	moved  chan struct{} // the master did
	failed string
	mu     sync.Mutex // one writes at a time
}

// rewritePause spaces the writes of one file.
const rewritePause = 250 * time.Millisecond

// rewriteEvery is how often the file is compared without a known change: other
// watchers' addresses come without one.
const rewriteEvery = 5 * time.Second

func newRewriter(a *App) *rewriter {
	return &rewriter{a: a, wake: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
}

// changed has the file written soon, switched at once: a watcher that is started
// again has only the file's word until there is a quorum.
func (w *rewriter) changed()  { signal(w.wake) }
func (w *rewriter) switched() { signal(w.moved) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes until the watcher ends, and then once more what is still to be written.
func (w *rewriter) run() {
	tick := time.NewTicker(rewriteEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.a.ctx.Done():
			if len(w.wake)+len(w.moved) > 0 {
				w.write()
			}
			return
		case <-w.moved:
			w.write()
			continue
		case <-w.wake:
		case <-tick.C:
		}
		select {
		case <-w.a.ctx.Done():
			w.write()
			return
		case <-w.moved:
		case <-time.After(rewritePause):
		}
		w.write()
	}
}

// write reads the file as it is now, so that what a person changed meanwhile
// stays, and writes it only if it has to change.
func (w *rewriter) write() {
	name := w.a.opt.File.Name
	err := w.flush()
	if err == nil {
		w.failed = ""
		return
	}
	if w.failed != err.Error() {
		w.failed = err.Error()
		w.a.log.Warn("sentinel.conf could not be rewritten; the watcher goes on, its state is in the data directory", zap.String("file", name), zap.Error(err))
	}
}

// flush does so and says what went wrong. It may be called by any goroutine.
func (w *rewriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := w.a.opt.File.Name
	now, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f, err := conf.ParseWith(name, bytes.NewReader(now), conf.OpenIncluded)
	if err != nil {
		return err
	}
	next := f.Rewrite(w.state(f))
	w.a.setCredentials(f)
	if bytes.Equal(next, now) {
		return nil
	}
	return conf.WriteAtomic(name, next)
}

func (w *rewriter) state(f *conf.File) conf.State {
	// The last write comes after the end of the watcher's own context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.a.ctx), viewTimeout)
	defer cancel()
	st := f.State()
	views, err := w.a.run.Views(ctx)
	if err != nil {
		return st
	}
	st.MyID = string(w.a.ID())
	options := map[string]sentinel.Options{}
	for i := range views {
		v := &views[i]
		if len(v.Options) > 0 {
			options[v.Name] = v.Options
		}
		old, ok := f.Master(v.Name)
		if ok && uint64(v.Epoch) < old.ConfigEpoch || v.Master.Addr.IsZero() {
			continue
		}
		st.CurrentEpoch = max(st.CurrentEpoch, uint64(v.Epoch))
		st.Masters = replaceMaster(st.Masters, w.masterState(v, old))
	}
	w.a.mu.Lock()
	w.a.options = options
	w.a.mu.Unlock()
	w.changedHere(&st, f)
	return st
}

func replaceMaster(ms []conf.MasterState, m conf.MasterState) []conf.MasterState {
	for i := range ms {
		if ms[i].Name == m.Name {
			ms[i] = m
			return ms
		}
	}
	return append(ms, m)
}

// others are the other watchers, or the ones in the file while they are not known.
func (w *rewriter) others(old conf.Master) []conf.KnownSentinel {
	heard := w.a.run.Heard()
	var out []conf.KnownSentinel
	for _, p := range w.a.node.Peers() {
		if p.Self {
			continue
		}
		at := peerAddr(p.Addr)
		if h, ok := heard[sentinel.WatcherID(p.ID)]; ok {
			at = h.Sentinel
		}
		out = append(out, conf.KnownSentinel{Host: at.Host, Port: at.Port, ID: string(p.ID)})
	}
	if len(out) == 0 {
		return old.KnownSentinels
	}
	return out
}

func hostPort(a sentinel.Addr) conf.HostPort { return conf.HostPort{Host: a.Host, Port: a.Port} }
