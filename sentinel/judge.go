package sentinel

import (
	"fmt"
	"time"
)

// Vote is a count of three-valued answers.
type Vote int

// The results of a vote.
const (
	VotePending Vote = iota
	VoteWon
	VoteLost
)

// CountVote tells whether yes has reached what is needed, can no longer reach it,
// or is still open.
func CountVote(yes, no, voters, needed int) Vote {
	switch {
	case yes >= needed:
		return VoteWon
	case voters-no < needed:
		return VoteLost
	}
	return VotePending
}

// Needed is how many watchers must agree: the quorum, and always a majority.
func Needed(voters, quorum int) int { return max(voters/2+1, quorum) }

// Evidence is all that is known about whether a master is lost, counted.
type Evidence struct {
	// Voters is the number of watchers, Needed how many of them must agree.
	Voters, Needed int
	// Crashed watchers saw the connection closed and a redial refused, Silent ones had
	// no reply for down-after (Crashed and Silent may overlap), Alive ones had a
	// reply not long ago. The rest is unknown.
	Crashed, Silent, Alive int
	// Back is set when the master runs anew, with less than a replica has.
	Back bool
	// Down is for how long the needed watchers have been silent.
	Down time.Duration
	// The replicas' testimony. Up counts those whose link was up when last seen, whatever else they say.
	Advancing, Stalled, Lost, Unknown, Up int
	// LossTooHigh is set when the estimated loss is above what a crash may cost at once.
	LossTooHigh bool
	// Loading is how long the master may load its data, if it has done so for longer.
	Loading time.Duration
	// PingPeriod is the master's repl-ping-replica-period.
	PingPeriod time.Duration
}

// Verdict is what the evidence comes to. Zero is unknown: nothing to act on.
type Verdict int

// The verdicts.
const (
	VerdictUnknown Verdict = iota
	// VerdictAlive means that enough watchers hear it.
	VerdictAlive
	// VerdictWait means that evidence against it is there but not enough.
	VerdictWait
	// VerdictCrash means that its process is gone.
	VerdictCrash
	// VerdictSilence means that neither watchers nor replicas have heard it.
	VerdictSilence
	// VerdictHeld means that the watchers hear nothing, but a replica advances: the
	// watchers are the ones cut off.
	VerdictHeld
	// VerdictBack means that it runs anew with less data than its replicas.
	VerdictBack
)

// String returns the word that people read.
func (v Verdict) String() string {
	switch v {
	case VerdictAlive:
		return "alive"
	case VerdictWait:
		return "suspect"
	case VerdictCrash:
		return "crash"
	case VerdictSilence:
		return "silence"
	case VerdictHeld:
		return "held"
	case VerdictBack:
		return "back with less"
	case VerdictUnknown:
		return "unknown"
	}
	return "unknown"
}

// Lost reports whether the verdict calls for a failover.
func (v Verdict) Lost() bool {
	return v == VerdictCrash || v == VerdictSilence || v == VerdictBack
}

// Judge weighs the evidence. It is the branch with the worst consequences, so it
// is small, and depends on nothing but its arguments.
func Judge(e Evidence, cfg Config) Verdict {
	if e.Back {
		return VerdictBack
	}
	if e.Crashed >= e.Needed && e.Alive == 0 && e.Lost > 0 && e.Up == 0 && !cfg.CrashWaits && !e.LossTooHigh {
		return VerdictCrash
	}
	if CountVote(e.Silent, e.Alive, e.Voters, e.Needed) != VoteWon {
		if e.Crashed > 0 || e.Silent > 0 {
			return VerdictWait
		}
		if e.Alive >= e.Needed {
			return VerdictAlive
		}
		return VerdictUnknown
	}
	if e.Advancing > 0 && (cfg.WitnessMax == 0 || e.Down < cfg.WitnessMax) {
		return VerdictHeld
	}
	if e.Unknown > 0 && e.Down < 2*e.PingPeriod {
		return VerdictWait
	}
	return VerdictSilence
}

// why says the evidence in words.
func (e Evidence) why(v Verdict, downAfter time.Duration) string {
	replicas := e.Lost + e.Stalled + e.Advancing + e.Unknown
	switch v {
	case VerdictCrash:
		return fmt.Sprintf("crash: %d/%d refused, %d/%d links down", e.Crashed, e.Voters, e.Lost, replicas)
	case VerdictSilence:
		if e.Loading > 0 {
			return fmt.Sprintf("loading: %d/%d hold it down, it has been loading its data for %v (master-reboot-down-after-period)", e.Silent, e.Voters, e.Loading)
		}
		return fmt.Sprintf("silence: %d/%d without a reply for %v, %d/%d replicas without news", e.Silent, e.Voters, downAfter, e.Lost+e.Stalled, replicas)
	case VerdictHeld:
		return fmt.Sprintf("held: %d/%d without a reply for %v, but %d/%d replicas advance", e.Silent, e.Voters, downAfter, e.Advancing, replicas)
	case VerdictBack:
		return "back with less: the master runs anew and has less than its replicas"
	case VerdictWait:
		return fmt.Sprintf("suspect: %d refused, %d silent, %d alive of %d", e.Crashed, e.Silent, e.Alive, e.Voters)
	case VerdictAlive, VerdictUnknown:
		return v.String()
	}
	return v.String()
}
