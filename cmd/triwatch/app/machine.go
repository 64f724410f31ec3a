package app

import (
	"errors"
	"fmt"
	"sync"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// machine is the replicated state machine as election wants it: a thin shell
// around sentinel.Registry, which does the work, and the runner, which is told
// every command in log order.
type machine struct {
	log      *zap.Logger
	applied  func(index uint64, c sentinel.Command)
	restored func(*sentinel.Registry)
	// recorded is told of plans that were begun (plan) and of records that were added
	// to a master's history (record).
	recorded func(c sentinel.Command, plan *sentinel.Plan, record *sentinel.Record)
	// halted is called with the reason when something is met that this build does not
	// understand, and with nil when that was replaced by something that it does.
	halted func(error)

	mu  sync.Mutex
	reg *sentinel.Registry
	// behind is the last command that was committed before this process knew of it, 0 if
	// there is none: what was so before is told to nobody.
	behind uint64
	// stuck is why nothing is applied any more. A later build reads the log again
	// from the last snapshot, so no snapshot may be taken from here on. The registry is
	// then what was understood last, and old.
	stuck error
}

func newMachine(log *zap.Logger) *machine {
	return &machine{log: log, reg: sentinel.NewRegistry()}
}

// Apply implements election.Machine. Its result is a sentinel.Result.
func (m *machine) Apply(index uint64, cmd []byte) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stuck != nil {
		return sentinel.Result{Reason: m.stuck.Error()}
	}
	c, err := sentinel.DecodeCommand(cmd)
	if err != nil {
		if index <= m.behind {
			m.catchUp() // it answers what it knows
		}
		m.halt(fmt.Errorf("apply log entry %d: %w", index, err))
		return sentinel.Result{Reason: m.stuck.Error()}
	}
	res := m.reg.Apply(c)
	switch {
	case index > m.behind:
		m.applied(index, c)
	case index == m.behind:
		m.catchUp()
	}
	if res.Accepted {
		m.tell(c)
	}
	return res
}

// halt stops for good, or until a snapshot is restored. m.mu is held.
func (m *machine) halt(why error) {
	m.stuck = why
	m.log.Error("the log is not understood, this watcher stops acting and answers what it last knew", zap.Int("needs_level", sentinel.NeedsLevel(why)),
		zap.Int("knows_level", sentinel.CommandLevel), zap.Error(why))
	m.halted(why)
}

// Behind implements election.CatchingUp. Masters of long ago must not be announced to
// clients again, one after the other, whenever a watcher starts.
func (m *machine) Behind(last uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behind = last
}

// catchUp tells the runner what all that was applied comes to.
func (m *machine) catchUp() {
	b, err := m.reg.Marshal()
	if err == nil {
		var reg *sentinel.Registry
		if reg, err = sentinel.UnmarshalRegistry(b); err == nil {
			m.restored(reg)
			return
		}
	}
	m.halt(fmt.Errorf("copy the replicated state: %w", err))
}

func (m *machine) tell(c sentinel.Command) {
	com := m.reg.Masters[c.Master]
	if com == nil {
		return
	}
	switch c.Type {
	case sentinel.CmdBegin:
		m.recorded(c, com.Plan, nil)
	case sentinel.CmdDone, sentinel.CmdAbort:
		m.recorded(c, nil, &com.History[len(com.History)-1])
	case sentinel.CmdNote:
		if c.Record != nil {
			m.recorded(c, nil, c.Record)
		}
	case sentinel.CmdMonitor, sentinel.CmdForget, sentinel.CmdAdopt, sentinel.CmdMembers, sentinel.CmdTuned, sentinel.CmdLineage, sentinel.CmdAdvance,
		sentinel.CmdEnrol, sentinel.CmdConfigure, sentinel.CmdPods, sentinel.CmdFloor, sentinel.CmdRelease, sentinel.CmdPause, sentinel.CmdChoose,
		sentinel.CmdLevel, sentinel.CmdRemove, sentinel.CmdSettings, sentinel.CmdFence, sentinel.CmdFound:
	}
}

// Snapshot implements election.Machine.
func (m *machine) Snapshot() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stuck != nil {
		return nil, m.stuck
	}
	return m.reg.Marshal()
}

// Restore implements election.Machine. A snapshot of a newer build is no error: Raft
// would look for an older one, or not start, and this watcher would not be there to
// say what is wrong and to keep the log for a majority.
func (m *machine) Restore(b []byte) error {
	reg, err := sentinel.UnmarshalRegistry(b)
	if errors.Is(err, sentinel.ErrLevel) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.halt(err)
		return nil
	}
	if err != nil {
		return err
	}
	own, err := sentinel.UnmarshalRegistry(b)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reg = own
	if m.stuck != nil {
		m.stuck = nil // what was not understood is part of the snapshot, or of a log that is no more
		m.log.Info("the log is understood again", zap.Int("level", own.CommittedLevel()))
		m.halted(nil)
	}
	m.restored(reg)
	return nil
}

// Stuck returns why nothing is applied any more, nil if all is well.
func (m *machine) Stuck() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stuck
}
