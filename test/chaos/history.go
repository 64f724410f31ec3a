package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/triwatch/triwatch/test/faults"
)

// Ack is one acknowledged write of a key that is never written again.
type Ack struct {
	Key string
	// At is the Redis that acknowledged.
	At string
	// Sent is when the client began to send it: it was executed after that.
	Sent, Acked time.Time
	// Life is the process of At that took it, 0 if that is not certain.
	Life int
	// Foreign: a stranger had the address then; what it takes is not in the set.
	Foreign bool
	// Durable: WAIT said afterwards that all replicas have it.
	Durable bool
	// Seen tells when the key was found on r1, r2 and r3, and in which of their lives.
	Seen [3]Sight
	// Lost is set once its loss was judged.
	Lost bool
}

// Sight is a key seen on an instance.
type Sight struct {
	Life int
	When time.Time
}

// Move is one finished plan as the watchers' history has it, with the time at which
// a watcher was first heard to tell the new master.
type Move struct {
	Epoch    uint64
	Kind     string // failover, handover, adopted
	From, To string
	Told     time.Time
	Life     int // of To, when it was promoted
	// FromLife is the process of From that was deposed, 0 if it may have been another.
	FromLife int
	// Fenced: the watchers say that From could acknowledge nothing any more before To was promoted.
	Fenced bool
}

// index is the number, from 0, of a Redis.
func index(redis string) int { return int(redis[1] - '1') }

// Told is what a watcher said of the master.
type Told struct {
	When    time.Time
	Watcher string
	Epoch   uint64
	Master  string
}

// Fault is an event with the members that it touched and the time it lasted.
type Fault struct {
	Verb     faults.Verb
	Text     string
	From, To time.Time // To is zero while it lasts
	Members  []string
}

// Back is a value that a reader saw after a newer one of the same key.
type Back struct {
	Key            string
	Had, Got       int64
	HadAt, GotAt   time.Time
	HadFrom, GotOf string
}

// history is all that happened in one world.
type history struct {
	mu         sync.Mutex
	acks       []*Ack
	byKey      map[string]*Ack
	lastTold   map[string]Told // of each watcher
	first      map[uint64]Told // of each epoch
	moves      map[uint64]Move
	faults     []*Fault
	backs      []Back
	plans      map[uint64]plan // by epoch, as the first watcher told it
	stands     []Fault         // when the machine stood still
	nobody     time.Time
	violations []string
	timeline   *timeline
}

func newHistory(t *timeline) *history {
	return &history{timeline: t, byKey: map[string]*Ack{}, lastTold: map[string]Told{}, first: map[uint64]Told{}, moves: map[uint64]Move{}, plans: map[uint64]plan{}}
}

// violate records a broken promise.
func (h *history) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	h.timeline.add("CHECK", "VIOLATION %s", text)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, text)
}

func (h *history) bad() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.violations)
}

func (h *history) ack(a *Ack) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acks = append(h.acks, a)
	h.byKey[a.Key] = a
}

func (h *history) durable(acks []*Ack) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range acks {
		a.Durable = true
	}
}

// latest are the last keys that were not yet seen at an instance.
func (h *history) latest(at string, n int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for i := len(h.acks) - 1; i >= 0 && i >= len(h.acks)-4*n && len(out) < n; i-- {
		if a := h.acks[i]; a.Seen[index(at)] == (Sight{}) && a.At != at {
			out = append(out, a.Key)
		}
	}
	return out
}

func (h *history) saw(key, at string, s Sight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.byKey[key]; a != nil {
		a.Seen[index(at)] = s
	}
}

// told checks the watchers' answers as they come: an epoch has one master, and no
// watcher goes back.
func (h *history) told(t Told) {
	h.mu.Lock()
	last, had := h.lastTold[t.Watcher]
	first, known := h.first[t.Epoch]
	h.lastTold[t.Watcher] = t
	if !known {
		h.first[t.Epoch] = t
	}
	h.mu.Unlock()
	if !had || last.Epoch != t.Epoch || last.Master != t.Master {
		h.timeline.add("told", "%s tells %s for epoch %d", t.Watcher, t.Master, t.Epoch)
	}
	if had && t.Epoch < last.Epoch {
		h.violate("%s tells epoch %d after %d", t.Watcher, t.Epoch, last.Epoch)
	}
	if known && first.Master != t.Master {
		h.violate("for epoch %d %s tells %s, but %s told %s", t.Epoch, t.Watcher, t.Master, first.Watcher, first.Master)
	}
}

// newborn forgets what a watcher told: its store and its file are gone, and whoever is
// there next tells what the file says, epoch 0, until it has joined.
func (h *history) newborn(watcher string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.lastTold, watcher)
}

// now is the highest epoch that was told, with its master.
func (h *history) now() Told {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out Told
	for _, t := range h.first {
		if out.Master == "" || t.Epoch > out.Epoch {
			out = t
		}
	}
	return out
}

// begin records a fault, end its end.
func (h *history) begin(f *Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, f)
}

func (h *history) over(f *Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.To = time.Now()
}

// record is a copy for the checks that look back. What readers saw is handed out once.
func (h *history) record() Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Record{Backs: slices.Clone(h.backs), Nobody: h.nobody, Stands: slices.Clone(h.stands)}
	h.backs = nil
	for _, a := range h.acks {
		r.Acks = append(r.Acks, *a)
	}
	for _, f := range h.faults {
		r.Faults = append(r.Faults, *f)
	}
	for _, m := range h.moves {
		r.Moves = append(r.Moves, m)
	}
	for epoch, p := range h.plans {
		if p.Kind == "aborted" {
			r.Aborted = append(r.Aborted, Move{Epoch: epoch, Kind: p.Kind, From: p.From, To: p.To})
		}
	}
	slices.SortFunc(r.Moves, func(a, b Move) int {
		if a.Epoch < b.Epoch {
			return -1
		}
		return 1
	})
	return r
}

// noneLeft records that not one Redis runs: what follows comes from disks.
func (h *history) noneLeft() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nobody = time.Now()
}

// stalled is how long this machine did nothing since a moment.
func (h *history) stalled(since time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Record{Stands: h.stands}.stalled(since, time.Now())
}

// plan is what the history of a watcher says of an epoch.
type plan struct {
	Kind, From, To, Watcher string
}

// planned takes up one entry of a watcher's history: an epoch is one plan, and all
// watchers tell the same of it, for ever.
func (h *history) planned(epoch uint64, p plan) {
	h.mu.Lock()
	was, known := h.plans[epoch]
	if !known {
		h.plans[epoch] = p
	}
	h.mu.Unlock()
	if known && (was.Kind != p.Kind || was.From != p.From || was.To != p.To) {
		h.violate("epoch %d is %s %s -> %s by %s, and %s %s -> %s by %s", epoch, was.Kind, was.From, was.To, was.Watcher, p.Kind, p.From, p.To, p.Watcher)
	}
}
