package election

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// machineFSM shows a Machine to Raft, over all lives of a Node. Raft applies its
// log from the last snapshot each time it starts; the Machine lives on, so what
// it has already is kept from it, and what another store left in it is taken out
// before the first new command. Until then readers see what was last known.
//
// Raft calls it from one goroutine at a time, and a life ends before the next
// begins.
type machineFSM struct {
	m     Machine
	empty []byte             // the state before any command
	snaps raft.SnapshotStore // of the present life
	// applied is the last log index that is in the state; 0 if not known.
	applied uint64
	// stale is that the state is of a store that was given up, or can not be told.
	stale bool
	// doubtful is that a snapshot could not be restored, so that applied may be
	// further than the state is.
	doubtful bool
	// raft and logs are those of the present life, looked that its backlog was told.
	raft   atomic.Pointer[raft.Raft]
	logs   raft.LogStore
	looked bool
}

func newMachineFSM(m Machine) (*machineFSM, error) {
	empty, err := m.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("snapshot empty state machine: %w", err)
	}
	return &machineFSM{m: m, empty: empty}, nil
}

// begin is called before Raft starts. It returns true if the state has at least
// the newest snapshot in it already.
func (f *machineFSM) begin(snaps raft.SnapshotStore) (current bool, err error) {
	f.snaps, f.looked = snaps, false
	f.raft.Store(nil)
	if f.doubtful {
		f.forget()
	}
	index, err := f.newest()
	return !f.stale && f.applied > 0 && f.applied >= index, err
}

// forget is called when the store that the state came from was given up.
func (f *machineFSM) forget() { f.applied, f.stale, f.doubtful = 0, true, false }

func (f *machineFSM) newest() (uint64, error) {
	list, err := f.snaps.List()
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].Index, nil
}

// Apply implements raft.FSM.
func (f *machineFSM) Apply(l *raft.Log) any {
	if l.Index <= f.applied {
		return nil
	}
	if f.stale {
		f.stale = false
		if err := f.m.Restore(f.empty); err != nil {
			// The Machine made this snapshot itself; one that can't read it has no
			// state to go on with, and Raft has no way to be told.
			panic(fmt.Sprintf("restore empty state machine: %v", err))
		}
	}
	if c, ok := f.m.(CatchingUp); ok && !f.looked {
		f.looked = true
		c.Behind(f.backlog(l.Index))
	}
	f.applied = l.Index
	return f.m.Apply(l.Index, l.Data)
}

// started is called when Raft runs.
func (f *machineFSM) started(r *raft.Raft, logs raft.LogStore) {
	f.logs = logs
	f.raft.Store(r)
}

// backlog is the index of the last command that was committed when the first one of this
// life is applied, 0 if that is the first itself. A restarted watcher's first message
// from a leader tells how far the log is committed, and all of that is applied then.
func (f *machineFSM) backlog(first uint64) uint64 {
	r := f.raft.Load()
	if r == nil {
		return 0
	}
	for i := r.CommitIndex(); i > first; i-- {
		var l raft.Log
		if err := f.logs.GetLog(i, &l); err != nil {
			return 0
		}
		if l.Type == raft.LogCommand {
			return i
		}
	}
	return 0
}

// Snapshot implements raft.FSM.
func (f *machineFSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.stale {
		return byteSnapshot(f.empty), nil
	}
	b, err := f.m.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("snapshot state machine: %w", err)
	}
	return byteSnapshot(b), nil
}

// Restore implements raft.FSM.
func (f *machineFSM) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.m.Restore(b)
	}
	if err != nil {
		f.doubtful = true
		return fmt.Errorf("restore state machine: %w", err)
	}
	f.stale = false
	// Raft restores the newest one that can be restored, and one that the leader
	// sends is the newest by then.
	if f.applied, err = f.newest(); err != nil || f.doubtful {
		f.applied, f.doubtful = 0, true
	}
	return nil
}

type byteSnapshot []byte

// Persist implements raft.FSMSnapshot.
func (b byteSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(b); err != nil {
		_ = sink.Cancel() // the write's error is the one to tell
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (byteSnapshot) Release() {}
