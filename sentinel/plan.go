package sentinel

import "time"

// Kind tells a failover from a handover. Zero is unknown.
type Kind int

// The kinds of plans.
const (
	KindUnknown Kind = iota
	// KindFailover replaces a master that is lost.
	KindFailover
	// KindHandover moves a master that lives, without losing a write.
	KindHandover
)

// String returns the word that people read.
func (k Kind) String() string {
	switch k {
	case KindFailover:
		return "failover"
	case KindHandover:
		return "handover"
	case KindUnknown:
		return "unknown"
	}
	return "unknown"
}

// Phase is how far a plan has got in the log. What is done between two phases is
// done again by the next leader; every step of it can tell "already done".
type Phase int

// The phases, in their order.
const (
	PhaseUnknown Phase = iota
	// PhaseFencing is a handover before its point of no return: the old master is
	// fenced and the candidate catches up. It can still be undone.
	PhaseFencing
	// PhasePromoting is past the point of no return: the candidate becomes master.
	// A failover begins here.
	PhasePromoting
	// PhasePromoted means that the candidate is master; the others follow.
	PhasePromoted
	// PhaseDone and PhaseAborted end a plan; they are seen in history only.
	PhaseDone
	PhaseAborted
)

// String returns the word that people read.
func (p Phase) String() string {
	switch p {
	case PhaseFencing:
		return "fencing"
	case PhasePromoting:
		return "promoting"
	case PhasePromoted:
		return "promoted"
	case PhaseDone:
		return "done"
	case PhaseAborted:
		return "aborted"
	case PhaseUnknown:
		return "unknown"
	}
	return "unknown"
}

// Plan is the one change of mastership that is under way.
type Plan struct {
	Epoch Epoch      `json:"epoch"`
	Kind  Kind       `json:"kind"`
	Phase Phase      `json:"phase"`
	Old   Assignment `json:"old"`
	New   Assignment `json:"new"`
	// Why is the evidence in words.
	Why string `json:"why"`
	// LeftOut names every other instance with the reason why it was not chosen.
	LeftOut []Rejected `json:"leftOut,omitempty"`
	// Lost is the estimated loss in bytes, -1 if there is nothing to estimate from.
	Lost int64 `json:"lost"`
	// Fenced tells whether the old master was proved unable to acknowledge writes
	// before the new one was promoted.
	Fenced bool      `json:"fenced"`
	Leader WatcherID `json:"leader"`
	Term   uint64    `json:"term"`
	Begun  time.Time `json:"begun"`
	Notes  []Note    `json:"notes,omitempty"`
	// Lineage is that of the chosen replica when it was chosen.
	Lineage Lineage `json:"lineage"`
}

// Note is one line of a plan's timeline.
type Note struct {
	// AfterMS counts milliseconds from the evidence, as the leader's clock went.
	AfterMS float64 `json:"ms"`
	What    string  `json:"what"`
	Text    string  `json:"text"`
}

// Record is one entry of a master's history.
type Record struct {
	When  time.Time `json:"when"`
	Epoch Epoch     `json:"epoch,omitempty"`
	Kind  string    `json:"kind"` // failover, handover, aborted, held, adopted
	// Of is what an aborted plan was.
	Of      Kind       `json:"of,omitempty"`
	From    Assignment `json:"from,omitzero"`
	To      Assignment `json:"to,omitzero"`
	Why     string     `json:"why"`
	Result  string     `json:"result,omitempty"`
	Lost    int64      `json:"lost"`
	Fenced  bool       `json:"fenced"`
	Leader  WatcherID  `json:"leader,omitempty"`
	Term    uint64     `json:"term,omitempty"`
	LeftOut []Rejected `json:"leftOut,omitempty"`
	Span
	Notes []Note `json:"notes,omitempty"`
}
