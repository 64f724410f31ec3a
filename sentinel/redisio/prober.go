package redisio

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/triwatch/triwatch/sentinel"
)

const (
	// fullInfo is the time between two INFOs with all sections on one connection.
	fullInfo = 10 * time.Second
	// maxBurst is how many redials in a row are made at once after losses, before
	// they fall back to the pace; one more is allowed for every Ping that passes.
	// Something that accepts and closes would otherwise be dialed without end. A
	// handover closes our connections up to four times by CLIENT KILL.
	maxBurst = 8
)

// prober watches one instance. Its loop owns the command connection; a second
// goroutine reads the listening one.
type prober struct {
	pool   *Pool
	master string
	id     sentinel.InstanceID
	log    *zap.Logger
	ctx    context.Context // ends when the instance is no longer watched
	cancel context.CancelFunc
	wake   chan struct{} // holds one wake-up for the loop

	mu     sync.Mutex
	target sentinel.Target
	creds  Credentials
	gen    int // counts changes of address or credentials
	link   *link
	ear    *ear
	earAt  sentinel.Time // not listening again before this
	lost   bool          // a connection was ended by the other side; the next redial says so
	hurry  bool          // the next turn is now
	wanted *want         // a ProbeNow that waits for the loop
	rtt    time.Duration // of the latest exchange
	spent  sentinel.Time // when all redials of the burst are allowed again
	asks   asks
	// rightsAt is when to ask what is allowed, if the last answer was usable.
	rightsAt sentinel.Time
	// rightsNot is before when it is not asked at all.
	rightsNot sentinel.Time
	usable    bool

	cached atomic.Pointer[cachedInfo]

	// The loop's own.
	tried, replied, informed, full sentinel.Time
	last                           sentinel.Reply
}

// want is a ProbeNow that the loop can answer.
type want struct{ served chan struct{} }

// answered tells the one who waits, if anybody does.
func (w *want) answered() {
	if w != nil {
		close(w.served)
	}
}

// cachedInfo is the latest INFO with all sections.
type cachedInfo struct {
	text string
	at   sentinel.Time
}

// CachedInfo returns the latest INFO of an instance with all its sections, as it came,
// and its age; "" if there is none.
func (p *Pool) CachedInfo(name string, id sentinel.InstanceID) (text string, age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.masters[name]
	if m == nil || m.probers[id] == nil {
		return "", 0
	}
	c := m.probers[id].cached.Load()
	if c == nil {
		return "", 0
	}
	return c.text, p.now() - c.at
}

// turn is what the loop knows when it begins a probe.
type turn struct {
	target sentinel.Target
	creds  Credentials
	gen    int
	link   *link
	lost   bool
	wanted *want
	// rights is set when it is to be asked what is allowed, as was due at rightsAt.
	rights   bool
	rightsAt sentinel.Time
}

func newProber(p *Pool, master string, t sentinel.Target, c Credentials) *prober {
	ctx, cancel := context.WithCancel(p.ctx)
	return &prober{
		pool: p, master: master, id: t.Instance, ctx: ctx, cancel: cancel,
		log:    p.opt.Logger.With(zap.String("master", master), zap.String("instance", string(t.Instance))),
		wake:   make(chan struct{}, 1),
		target: withDefaults(t), creds: c, hurry: true,
	}
}

func withDefaults(t sentinel.Target) sentinel.Target {
	if t.Ping <= 0 {
		t.Ping = time.Second
	}
	if t.Info <= 0 {
		t.Info = fullInfo
	}
	if t.Timeout <= 0 {
		t.Timeout = time.Second
	}
	return t
}

// retarget takes a new pace or address.
func (pr *prober) retarget(t sentinel.Target) {
	t = withDefaults(t)
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if t == pr.target {
		return
	}
	moved := t.Addr != pr.target.Addr
	pr.target = t
	if moved {
		pr.startOver()
	}
	pr.nudge()
}

func (pr *prober) setCredentials(c Credentials) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.creds = c
	pr.startOver()
	pr.nudge()
}

// startOver gives up both connections; pr.mu is held.
func (pr *prober) startOver() {
	pr.gen++
	pr.lost, pr.hurry, pr.earAt, pr.rightsNot = false, true, 0, 0
	pr.retireBoth()
}

func (pr *prober) retireBoth() {
	if pr.link != nil {
		pr.link.wire.retire()
	}
	if pr.ear != nil {
		pr.ear.retire()
		pr.ear = nil
	}
}

func (pr *prober) stop() {
	pr.cancel()
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.retireBoth()
}

// nudge wakes the loop; one wake-up is enough for any number of reasons.
func (pr *prober) nudge() {
	select {
	case pr.wake <- struct{}{}:
	default:
	}
}

// run is the loop.
func (pr *prober) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-pr.ctx.Done():
			pr.discard(pr.link)
			return
		case <-timer.C:
		case <-pr.wake:
		}
		timer.Reset(pr.work())
	}
}

// work makes the probes that are due and returns the time to the next.
func (pr *prober) work() time.Duration {
	for pr.ctx.Err() == nil {
		t, wait := pr.begin()
		switch {
		case t == nil:
			return wait
		case t.link == nil:
			pr.connect(t)
		default:
			pr.exchange(t)
		}
	}
	return 0
}

// begin decides whether a probe is due; nil is no, with the time until then.
func (pr *prober) begin() (*turn, time.Duration) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.link != nil && (pr.lost || pr.link.wire.retired.Load()) {
		pr.link.close()
		pr.link = nil
	}
	if wait := pr.due() - pr.pool.now(); wait > 0 {
		return nil, wait
	}
	t := &turn{target: pr.target, creds: pr.creds, gen: pr.gen, link: pr.link, lost: pr.lost, wanted: pr.wanted}
	t.rights, t.rightsAt = t.link != nil && pr.usable && pr.pool.now() >= onGrid(max(pr.rightsAt, pr.rightsNot), t.target.Ping), pr.rightsAt
	pr.hurry, pr.wanted = false, nil
	pr.lost = false
	return t, 0
}

// due is when the next probe is to be sent; pr.mu is held.
func (pr *prober) due() sentinel.Time {
	switch {
	case pr.hurry, pr.wanted != nil:
		return 0
	case pr.link == nil:
		return pr.tried + pr.target.Ping
	}
	at := min(pr.replied+pr.target.Ping, pr.informed+pr.target.Info)
	if pr.usable {
		at = min(at, max(pr.rightsAt, pr.rightsNot))
	}
	return onGrid(at, pr.target.Ping)
}

// gridStep is about how far apart probes of different instances are sent.
const gridStep = 100 * time.Millisecond

// onGrid moves a time back to a common grid that divides the period, so that the
// probes of hundreds of instances wake this process a few times a second and not
// once each. Fast paces are left alone.
func onGrid(at sentinel.Time, period time.Duration) sentinel.Time {
	if period < 2*gridStep {
		return at
	}
	step := period / ((period + gridStep - 1) / gridStep)
	return at / step * step
}

// connect dials and makes the first exchange, which is always a full INFO.
func (pr *prober) connect(t *turn) {
	asked := pr.pool.now()
	pr.tried = asked
	nc, err := pr.pool.dial(pr.ctx, t.target.Addr, t.target.Timeout)
	if err != nil {
		pr.undialed(t, err, asked)
		return
	}
	l := newLink(nc, t.target.Addr, t.creds, pr.pool.opt.ClientName)
	pr.mu.Lock()
	if t.gen != pr.gen || pr.ctx.Err() != nil {
		pr.mu.Unlock()
		l.close()
		return
	}
	pr.link = l
	pr.usable, pr.rightsAt = false, asked+rightsDelay
	pr.mu.Unlock()
	t.link = l
	asked = pr.pool.now()
	a := l.pingInfo(t.target.Timeout, true)
	pr.full = asked
	switch {
	case a.broken && l.wire.retired.Load():
		pr.discard(l)
		return
	case a.broken && t.lost && l.wire.hungUp() && pr.mayBurst():
		// A dying process closes its listener last: for a moment it still accepts.
		// The next redial, at once, tells whether that was it.
	default:
		pr.emit(t, a, asked)
		t.wanted.answered()
	}
	pr.settle(t, a, asked)
}

// undialed tells of a dial that failed. One that was reset in mid-handshake met
// the listener of a dying process, see connect.
func (pr *prober) undialed(t *turn, err error, asked sentinel.Time) {
	if !pr.current(t) {
		return
	}
	reset := endedByPeer(err)
	if !reset || !t.lost || !pr.mayBurst() {
		pr.emit(t, answer{reply: classify(err, nil), detail: err.Error()}, asked)
		t.wanted.answered()
	}
	if reset {
		pr.mu.Lock()
		defer pr.mu.Unlock()
		pr.lose()
	}
}

// exchange sends a PING, with INFO if that is due, over the command connection.
func (pr *prober) exchange(t *turn) {
	asked := pr.pool.now()
	// A little early is better than another wake-up just for the INFO.
	slack := t.target.Ping / 8
	var a answer
	switch {
	case t.wanted != nil, t.rights, t.link.runID == "", asked-pr.full+slack >= fullInfo:
		a = t.link.pingInfo(t.target.Timeout, true)
		pr.full = asked
	case asked-pr.informed+slack >= t.target.Info:
		a = t.link.pingInfo(t.target.Timeout, false)
	default:
		a = t.link.ping(t.target.Timeout)
	}
	switch {
	case a.broken && t.link.wire.retired.Load():
		pr.discard(t.link)
		return
	case a.broken && t.link.wire.hungUp():
		// Not emitted: the redial tells what the loss means.
		pr.mu.Lock()
		if pr.wanted == nil {
			pr.wanted = t.wanted
		}
		pr.mu.Unlock()
	default:
		pr.emit(t, a, asked)
		t.wanted.answered()
	}
	pr.settle(t, a, asked)
	if t.rights && !a.broken && a.info != nil && a.reply.Usable() {
		pr.inquire(t, a, asked)
	}
}

// settle draws the conclusions for the connections.
func (pr *prober) settle(t *turn, a answer, asked sentinel.Time) {
	now := pr.pool.now()
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if a.broken {
		pr.breakDown(t)
		return
	}
	pr.replied, pr.rtt = now, now-asked
	pr.usable = a.reply.Usable()
	if a.withInfo {
		pr.informed = now
	}
	if pr.ear == nil && now >= pr.earAt && t.gen == pr.gen && pr.ctx.Err() == nil {
		e := &ear{}
		pr.ear = e
		pr.pool.wg.Go(func() { pr.listen(e, t.target, t.creds) })
	}
}

// breakDown closes a broken link. What timed out is redialed at the pace, which
// after a time-out usually is at once; pr.mu is held.
func (pr *prober) breakDown(t *turn) {
	w := t.link.wire
	t.link.close()
	if pr.link == t.link {
		pr.link = nil
	}
	if w.hungUp() && t.gen == pr.gen {
		pr.lose()
	}
}

// lose notes that the other side ended a connection: both are given up and one
// redial follows. pr.mu is held.
func (pr *prober) lose() {
	pr.lost = true
	pr.retireBoth()
	if pr.burstLeft() {
		pr.spent = max(pr.spent, pr.pool.now()) + pr.target.Ping
		pr.hurry = true
	}
	pr.nudge()
}

// burstLeft reports whether a redial may be made at once; pr.mu is held.
func (pr *prober) burstLeft() bool {
	return pr.spent-pr.pool.now() <= (maxBurst-1)*pr.target.Ping
}

func (pr *prober) mayBurst() bool {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.burstLeft()
}

// discard closes a link without conclusions. Only the loop calls it.
func (pr *prober) discard(l *link) {
	if l == nil {
		return
	}
	l.close()
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.link == l {
		pr.link = nil
	}
}

// current reports whether the turn is about what is to be watched now.
func (pr *prober) current(t *turn) bool {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return t.gen == pr.gen && pr.ctx.Err() == nil
}

func (pr *prober) emit(t *turn, a answer, asked sentinel.Time) {
	if a.reply != pr.last || t.lost {
		pr.log.Debug("instance answers differently", zap.Stringer("address", t.target.Addr), zap.Stringer("reply", a.reply),
			zap.Stringer("before", pr.last), zap.Bool("lost", t.lost), zap.String("detail", a.detail))
		pr.last = a.reply
	}
	pr.send(t.target.Addr, a, asked, t.lost)
}

func (pr *prober) send(addr sentinel.Addr, a answer, asked sentinel.Time, lost bool) {
	if pr.ctx.Err() != nil {
		return
	}
	if a.text != "" {
		pr.cached.Store(&cachedInfo{a.text, pr.pool.now()})
	}
	pr.pool.opt.Emit(sentinel.Probe{
		Master: pr.master, Instance: pr.id, Addr: addr, Reply: a.reply, Lost: lost,
		Asked: asked, Info: a.info, Rights: a.rights, Detail: a.detail, Remote: a.remote,
	})
}
