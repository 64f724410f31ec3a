package runner

import (
	"slices"
	"strings"

	"github.com/triwatch/triwatch/sentinel"
)

// Point is a named moment between two steps of a plan, at which a test or
// SENTINEL SIMULATE-FAILURE can make something go wrong.
type Point struct {
	// Name is "before-" or "after-" and the step, for proposals "before-propose-" or
	// "after-commit-" and what is proposed.
	Name string
	// Description says in one line what has happened by then and what has not.
	Description string
}

// Fault is told that a point was reached, in which master's plan. The step waits for
// it to return. It is called from several goroutines at once, and at the points named
// after-commit from the loop itself, which stands still meanwhile.
type Fault func(point, master string)

// The prefixes of points.
const (
	beforePropose = "before-propose-"
	afterCommit   = "after-commit-"
	beforeWrite   = "before-"
	afterWrite    = "after-"
)

// The points at which Sentinel's own simulated failures strike.
const (
	// AfterElection is reached by the leader that was just made to carry out a plan.
	AfterElection = afterCommit + "begin"
	// AfterPromotion is reached when the candidate is master and only Redis knows.
	AfterPromotion = afterWrite + "promote"
)

// Points returns every point, in the order in which a plan comes by them. What is
// written outside of plans passes those of its writes as well.
func Points() []Point {
	var out []Point
	proposal := func(step, what string) {
		out = append(out, Point{beforePropose + step, what + ": chosen to be the next step, not proposed yet"},
			Point{afterCommit + step, what + ": committed, and nothing done yet that follows from it"})
	}
	write := func(op sentinel.Op, what string) {
		out = append(out, Point{beforeWrite + op.String(), what + ": leadership verified, not sent yet"},
			Point{afterWrite + op.String(), what + ": done, and nobody told yet"})
	}
	proposal("begin", "the plan is opened")
	write(sentinel.OpPauseWrites, "writing clients of the old master are made to wait")
	write(sentinel.OpFence, "the old master is made read-only")
	write(sentinel.OpAwait, "the candidate catches up with the fenced master")
	proposal("promoting", "a handover's point of no return")
	write(sentinel.OpPromote, "the candidate is made master")
	proposal("promoted", "the candidate is the master by the log")
	write(sentinel.OpReplicate, "another instance is made to follow the new master")
	write(sentinel.OpUnpause, "writing clients of the old master may go on")
	write(sentinel.OpKillClients, "the old master's clients are sent away")
	proposal("done", "the plan is closed")
	proposal("abort", "the plan is given up")
	write(sentinel.OpUnfence, "the fenced master takes writes again")
	return out
}

// proposalStep is a proposal's name in points, "" for what is no step of a plan.
func proposalStep(c sentinel.Command) string {
	switch c.Type {
	case sentinel.CmdBegin:
		return "begin"
	case sentinel.CmdAdvance:
		return c.Phase.String()
	case sentinel.CmdDone:
		return "done"
	case sentinel.CmdAbort:
		return "abort"
	case sentinel.CmdMonitor, sentinel.CmdForget, sentinel.CmdAdopt, sentinel.CmdMembers, sentinel.CmdTuned, sentinel.CmdLineage, sentinel.CmdNote,
		sentinel.CmdEnrol, sentinel.CmdConfigure, sentinel.CmdPods, sentinel.CmdFloor, sentinel.CmdRelease, sentinel.CmdPause, sentinel.CmdChoose,
		sentinel.CmdRemove, sentinel.CmdSettings, sentinel.CmdFence, sentinel.CmdFound, sentinel.CmdLevel:
	}
	return ""
}

// writeStep is a write's name in points, "" for what is no step of a plan.
func writeStep(op sentinel.Op) string {
	switch op {
	case sentinel.OpPromote, sentinel.OpReplicate, sentinel.OpFence, sentinel.OpUnfence, sentinel.OpAwait, sentinel.OpPauseWrites, sentinel.OpUnpause,
		sentinel.OpKillClients:
		return op.String()
	case sentinel.OpUnknown, sentinel.OpSetPing, sentinel.OpFindLimits, sentinel.OpSetLimits:
	}
	return ""
}

// sending is the prefix of moments past the last check before a write: what is held up
// there is sent however late it is. They are no points of a plan.
const sending = "sending-"

// Sending reports whether a name is the moment at which a write of a plan is sent.
func Sending(name string) bool {
	op, ok := strings.CutPrefix(name, sending)
	return ok && slices.ContainsFunc(Points(), func(p Point) bool { return p.Name == beforeWrite+op })
}

// SetFault replaces Options.Fault; nil takes it away. It may be called at any time.
func (r *Runner) SetFault(f Fault) {
	if f == nil {
		r.fault.Store(nil)
		return
	}
	r.fault.Store(&f)
}

// pass comes by a point, if there is such a step and somebody waits there.
func (r *Runner) pass(prefix, step, master string) {
	if f := r.fault.Load(); f != nil && step != "" {
		(*f)(prefix+step, master)
	}
}
