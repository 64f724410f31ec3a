package app

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// told is what a machine's neighbours heard.
type told struct {
	applied  []uint64
	restored *sentinel.Registry
	plans    int
	records  []sentinel.Record
	halted   error
	halts    int
}

func newTestMachine() (*machine, *told) {
	m, heard := newMachine(zap.NewNop()), &told{}
	m.applied = func(i uint64, _ sentinel.Command) { heard.applied = append(heard.applied, i) }
	m.restored = func(r *sentinel.Registry) { heard.restored = r }
	m.halted = func(err error) { heard.halted, heard.halts = err, heard.halts+1 }
	m.recorded = func(_ sentinel.Command, p *sentinel.Plan, r *sentinel.Record) {
		if p != nil {
			heard.plans++
		}
		if r != nil {
			heard.records = append(heard.records, *r)
		}
	}
	return m, heard
}

func encode(t *testing.T, c sentinel.Command) []byte {
	t.Helper()
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// begin is a log in which a plan of epoch 1 is opened.
func begin(t *testing.T) [][]byte {
	cfg := sentinel.DefaultConfig()
	at := func(host string) sentinel.Assignment {
		a := sentinel.Addr{Host: host, Port: 6379}
		return sentinel.Assignment{Instance: sentinel.InstanceID(a.String()), Addr: a}
	}
	one, two := at("10.0.0.1"), at("10.0.0.2")
	two.Epoch = 1
	return [][]byte{
		encode(t, sentinel.Command{Type: sentinel.CmdMonitor, Master: "orders", Config: &cfg, At: one,
			Members: []sentinel.Member{{ID: two.Instance, Addr: two.Addr}}}),
		encode(t, sentinel.Command{Type: sentinel.CmdBegin, Master: "orders", Epoch: 1,
			Plan: &sentinel.Plan{Epoch: 1, Kind: sentinel.KindHandover, Old: one, New: two, Begun: time.Unix(1, 0).UTC()}}),
	}
}

func TestCommandOfAHigherLevelStopsTheWatcherAndIsNotSkipped(t *testing.T) {
	m, heard := newTestMachine()
	log := begin(t)
	m.Apply(1, log[0])
	m.Apply(2, []byte(`{"l":99,"t":"frobnicate","m":"orders"}`))
	if !errors.Is(m.Stuck(), sentinel.ErrLevel) || !errors.Is(heard.halted, sentinel.ErrLevel) {
		t.Fatalf("stuck %v, halted %v, want ErrLevel", m.Stuck(), heard.halted)
	}
	if res := m.Apply(3, log[1]).(sentinel.Result); res.Accepted {
		t.Error("a command behind the unknown one was applied")
	}
	if len(heard.applied) != 1 || heard.plans != 0 {
		t.Errorf("applied %v, plans %d, want only entry 1", heard.applied, heard.plans)
	}
	if _, err := m.Snapshot(); !errors.Is(err, sentinel.ErrLevel) {
		t.Errorf("snapshot error %v: a snapshot would hide the entry from a newer build", err)
	}
}

// newer is a snapshot of a build that knows more than this one.
func newer(t *testing.T) []byte {
	t.Helper()
	reg := sentinel.NewRegistry()
	reg.Level = sentinel.CommandLevel + 1
	b, err := reg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSnapshotOfAHigherLevelStopsTheWatcherAndKeepsWhatItKnew(t *testing.T) {
	m, heard := newTestMachine()
	log := begin(t)
	m.Apply(1, log[0])
	if err := m.Restore(newer(t)); err != nil {
		t.Fatalf("%v: Raft would not run", err)
	}
	if !errors.Is(m.Stuck(), sentinel.ErrLevel) || sentinel.NeedsLevel(heard.halted) != sentinel.CommandLevel+1 {
		t.Fatalf("stuck %v, halted %v, want ErrLevel and the level that is needed", m.Stuck(), heard.halted)
	}
	if m.reg.Masters["orders"] == nil || heard.restored != nil {
		t.Error("what was known is gone: clients get no answer")
	}
	if res := m.Apply(2, log[1]).(sentinel.Result); res.Accepted {
		t.Error("a command behind the snapshot was applied")
	}
	if _, err := m.Snapshot(); !errors.Is(err, sentinel.ErrLevel) {
		t.Errorf("snapshot error %v: a snapshot would take the place of the one that is not understood", err)
	}
}

func TestSnapshotThatIsUnderstoodEndsBeingStuck(t *testing.T) {
	m, heard := newTestMachine()
	good, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(newer(t)); err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(good); err != nil {
		t.Fatal(err)
	}
	if m.Stuck() != nil || heard.halted != nil || heard.halts != 2 {
		t.Fatalf("stuck %v, halted %v, told %d times", m.Stuck(), heard.halted, heard.halts)
	}
	if res := m.Apply(1, begin(t)[0]).(sentinel.Result); !res.Accepted {
		t.Fatal(res.Reason)
	}
}

func TestLevelOutlivesASnapshot(t *testing.T) {
	m, _ := newTestMachine()
	if res := m.Apply(1, encode(t, sentinel.Command{Type: sentinel.CmdLevel, Raise: 3})).(sentinel.Result); !res.Accepted {
		t.Fatal(res.Reason)
	}
	snap, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	other, heard := newTestMachine()
	if err := other.Restore(snap); err != nil || other.reg.CommittedLevel() != 3 || heard.restored.CommittedLevel() != 3 {
		t.Fatalf("%v: level %d", err, other.reg.CommittedLevel())
	}
}

func TestDamagedEntryStopsTheWatcher(t *testing.T) {
	m, heard := newTestMachine()
	m.Apply(1, []byte("{"))
	if !errors.Is(heard.halted, sentinel.ErrCommand) {
		t.Fatalf("halted %v, want ErrCommand", heard.halted)
	}
}

func TestSnapshotRestoresTheSameRegistryAndSharesNothing(t *testing.T) {
	m, _ := newTestMachine()
	for i, b := range begin(t) {
		if res := m.Apply(uint64(i), b).(sentinel.Result); !res.Accepted {
			t.Fatalf("entry %d refused: %s", i, res.Reason)
		}
	}
	snap, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	other, heard := newTestMachine()
	if err := other.Restore(snap); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(other.reg, m.reg) || !reflect.DeepEqual(heard.restored, m.reg) {
		t.Fatal("restored registry differs from the one of the snapshot")
	}
	heard.restored.Masters["orders"].Plan.Why = "changed by the runner"
	if other.reg.Masters["orders"].Plan.Why != "" {
		t.Fatal("the runner's registry shares memory with the machine's")
	}
	if err := other.Restore([]byte("{")); err == nil {
		t.Fatal("a damaged snapshot was taken")
	}
}

func TestPlansAndRecordsAreTold(t *testing.T) {
	m, heard := newTestMachine()
	for i, b := range begin(t) {
		m.Apply(uint64(i), b)
	}
	m.Apply(3, encode(t, sentinel.Command{Type: sentinel.CmdAbort, Master: "orders", Epoch: 1, Reason: "undone"}))
	m.Apply(4, encode(t, sentinel.Command{Type: sentinel.CmdAbort, Master: "orders", Epoch: 1, Reason: "again"}))
	if heard.plans != 1 || len(heard.records) != 1 || heard.records[0].Result != "undone" {
		t.Fatalf("told %d plans and %+v, want one plan and its one record", heard.plans, heard.records)
	}
}

func TestWhatWasCommittedBeforeTheStartIsToldAtOnce(t *testing.T) {
	m, heard := newTestMachine()
	log := begin(t)
	log = append(log, encode(t, sentinel.Command{Type: sentinel.CmdAbort, Master: "orders", Epoch: 1, Reason: "undone"}))
	m.Behind(2)
	m.Apply(1, log[0])
	if len(heard.applied) != 0 || heard.restored != nil {
		t.Fatalf("told %v, %v before all was read", heard.applied, heard.restored)
	}
	m.Apply(2, log[1])
	if len(heard.applied) != 0 || heard.restored == nil || heard.restored.Masters["orders"].Plan == nil {
		t.Fatalf("told %v, %+v, not the open plan as it stands", heard.applied, heard.restored)
	}
	heard.restored = nil
	m.Apply(3, log[2])
	if len(heard.applied) != 1 || heard.restored != nil {
		t.Errorf("what was committed later: told %v, %v, not entry 3", heard.applied, heard.restored)
	}
}

func TestWatcherThatDoesNotUnderstandItsOldLogTellsWhatCameBefore(t *testing.T) {
	m, heard := newTestMachine()
	m.Behind(3)
	m.Apply(1, begin(t)[0])
	m.Apply(2, []byte(`{"l":99,"t":"frobnicate","m":"orders"}`))
	if heard.restored == nil || heard.restored.Masters["orders"] == nil || !errors.Is(heard.halted, sentinel.ErrLevel) {
		t.Errorf("told %+v, halted %v", heard.restored, heard.halted)
	}
}
