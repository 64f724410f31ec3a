package sentinel

import (
	"fmt"
	"time"
)

// MaxBefore bounds how long an automatic failover may wait for an answer.
const MaxBefore = 5 * time.Second

// Before says whether somebody is asked before an automatic failover begins, and may
// veto it. It is what this watcher was told itself and never replicated. The zero value
// asks nobody.
type Before struct {
	// Timeout is how long an answer is waited for, at most MaxBefore; zero asks nobody.
	Timeout time.Duration
	// HoldOnFailure takes the lack of an answer for a veto. Without it only a veto is one.
	HoldOnFailure bool
}

func (h Hooks) of(master string) Before {
	if b, ok := h.All[master]; ok {
		return b
	}
	return h.Default
}

// answerHolds is how long an answer counts: after a veto it is asked again then, and a
// failover that could not begin by then needs another permission.
const answerHolds = 5 * time.Second

// subject is what a question is about. An answer to a question about another one does
// not count.
type subject struct {
	epoch     Epoch
	verdict   Verdict
	candidate InstanceID
	run       string
}

// question is one that was asked before a failover, and its answer.
type question struct {
	id    ActionID
	about subject
	// first is when the first of several questions without an answer was asked, asked
	// when this one was, until when its answer is waited for.
	first, asked, until Time
	answered, veto      bool
	// seen is the verdict since.
	seen Verdict
	// text says what came of it.
	text string
	// holds is until when the answer counts.
	holds Time
}

// hookAllows reports whether a failover that is confirmed may begin. Without a hook
// it may, with no step more. A master that is back with less is never asked about:
// each moment in which it goes on empties another replica.
func (s *State) hookAllows(v Verdict, why string, choice Choice) bool {
	if s.before.Timeout <= 0 || v == VerdictBack {
		return true
	}
	about := subject{epoch: s.com.Last + 1, verdict: v, candidate: choice.Best.ID, run: choice.Best.Info.RunID}
	q := s.lead.question
	if q == nil || q.about != about || q.answered && s.now >= q.holds {
		q = s.askHook(about, why, choice)
	}
	if !q.answered && s.now >= q.until {
		s.noAnswer(q, fmt.Sprintf("none within %v", q.until-q.first))
	}
	switch {
	case !q.answered:
		s.lead.noRoundBefore = min(q.until, s.now+holdAgain)
	case q.veto:
		s.lead.noRoundBefore = min(q.holds, s.now+time.Second)
	default:
		return true
	}
	s.wake(s.lead.noRoundBefore)
	return false
}

// askHook asks anew. Questions that follow each other because the subject changes are
// bounded as a whole: they must not hold a failover that a lost answer would not hold.
func (s *State) askHook(about subject, why string, choice Choice) *question {
	timeout := min(s.before.Timeout, MaxBefore)
	first := s.now
	if old := s.lead.question; old != nil && !old.answered {
		first = old.first
	}
	s.nextID++
	q := &question{id: s.nextID, about: about, seen: about.verdict, first: first, asked: s.now, until: min(s.now+timeout, first+2*timeout)}
	s.lead.question = q
	if q.until > s.now {
		best := choice.Best
		s.act(AskHook{ID: q.id, Master: s.com.Name, Epoch: about.epoch, From: s.com.Master,
			To: Assignment{Epoch: about.epoch, Instance: best.ID, Addr: best.Addr, Name: best.Name}, Why: why, Lost: s.estimate(best.Info), Timeout: q.until - s.now})
	}
	return q
}

// takeHookAnswered takes up an answer to the question that is open.
func (s *State) takeHookAnswered(ev HookAnswered) {
	q := s.lead.question
	if !s.lead.on || q == nil || q.id != ev.ID || q.answered || s.now >= q.until {
		return
	}
	// What was confirmed may be as old as the question: another round comes first.
	s.lead.noRoundBefore = s.now
	switch {
	case ev.Failure != "":
		s.noAnswer(q, ev.Failure)
	case ev.Veto:
		s.vetoed(q, "vetoed by hook: "+ev.Reason)
	default:
		s.answerTo(q, fmt.Sprintf("no veto after %v", (s.now-q.asked).Round(time.Millisecond)))
	}
}

func (s *State) answerTo(q *question, text string) {
	q.answered, q.text, q.holds = true, text, s.now+answerHolds
}

// noAnswer goes on without one, or holds if that is what people want.
func (s *State) noAnswer(q *question, why string) {
	if s.before.HoldOnFailure {
		s.vetoed(q, "no answer of the hook: "+why)
		return
	}
	s.answerTo(q, "no answer, counts as no veto: "+why)
	s.emit(EventFaulted, s.master(), "hook before the failover gave no answer ("+why+"): the failover goes on")
}

// vetoed holds the failover until the next question.
func (s *State) vetoed(q *question, why string) {
	s.answerTo(q, why)
	q.veto = true
	if s.told.vetoed == why {
		return
	}
	s.told.vetoed = why
	s.tellHeld("held: "+why, CodeVetoed)
}

// tellHeld says that a failover is held, and notes it unless that was done a moment ago.
func (s *State) tellHeld(why, code string) {
	s.code = code
	s.emit(EventHeld, s.master(), why)
	s.code = ""
	if s.now < s.lead.noHeldBefore {
		return
	}
	s.lead.noHeldBefore = s.now + heldAgain
	s.propose(Command{Type: CmdNote, Epoch: s.com.Last, Record: &Record{When: s.wall, Kind: remarkHeld, From: s.com.Master, Why: why,
		Leader: s.me, Term: s.lead.term}})
}

// heedChange has a change of the evidence looked at without delay: what was vetoed was
// something else.
func (s *State) heedChange(v Verdict) {
	if q := s.lead.question; q != nil && q.seen != v {
		q.seen, s.lead.noRoundBefore = v, s.now
	}
}

// unask drops the question: whatever is answered does not count any more.
func (s *State) unask(why string) {
	s.lead.question = nil
	if s.told.vetoed != "" {
		s.told.vetoed = ""
		s.emit(EventHeldEnd, s.master(), "no longer held: "+why)
	}
}

// hookNote is the line of a plan's timeline that tells what was answered, false if
// nobody was asked.
func (s *State) hookNote(epoch Epoch) (Note, bool) {
	q := s.lead.question
	if q == nil || !q.answered || q.veto || q.about.epoch != epoch {
		return Note{}, false
	}
	return Note{s.after(q.asked), "hook", q.text}, true
}
