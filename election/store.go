package election

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	storeFileName = "raft.db"
	// One is enough: the log reaches back to the newest only, so that an older one is of no
	// use, and a build that can't read the newest should say so rather than try.
	snapshotsKept   = 1
	openLockTimeout = 500 * time.Millisecond
)

// Keys of our own in Raft's stable store. The identity lies in the same file as
// the log and the vote, so that one can not be lost without the other.
var (
	keyID         = []byte("triwatch/id")
	keyMembership = []byte("triwatch/membership")
)

// phase is how far this store has come.
type phase uint8

const (
	phaseFresh   phase = iota // belongs to no cluster
	phaseInvited              // has promised to take part in a cluster that is being made
	phaseMember               // belongs to a cluster, for ever
)

func (p phase) String() string {
	switch p {
	case phaseFresh:
		return "fresh"
	case phaseInvited:
		return "invited"
	case phaseMember:
		return "member"
	default:
		return fmt.Sprintf("phase %d", uint8(p))
	}
}

// membership is the cluster a store belongs to. Voters are those of the first
// configuration, with which every founding member bootstraps; a watcher that
// joined later has none.
type membership struct {
	Phase      phase   `json:"phase"`
	Cluster    string  `json:"cluster,omitempty"`
	Generation uint32  `json:"generation"`
	Voters     []Voter `json:"voters,omitempty"`
	// Voted is that we have been a voter: if the leader no longer knows us then,
	// we were removed, and do not ask to be added again.
	Voted bool `json:"voted,omitempty"`
	// Replaces is the cluster, all of whose voters are gone, in whose place an
	// invitation makes a new one.
	Replaces string `json:"replaces,omitempty"`
	// Taking is the generation that this store is being made the beginning of.
	Taking uint32 `json:"taking,omitempty"`
}

// store is everything on disk except the cluster record.
type store struct {
	path  string
	bolt  *raftboltdb.BoltStore
	snaps raft.SnapshotStore
	id    ID
}

// openStore opens or makes the store in dir. Any fault of the files comes back
// as an error: bbolt panics on some damage and reads others past the file's
// end, which without SetPanicOnFault would end the process.
func openStore(dir string, logger hclog.Logger) (s *store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if err := finishAside(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, storeFileName)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var bolt *raftboltdb.BoltStore
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, damaged(path, fmt.Errorf("%v", p))
		}
		if err != nil && bolt != nil {
			closeQuietly(bolt)
		}
	}()
	bolt, err = raftboltdb.New(raftboltdb.Options{
		Path: path,
		// The freelist is kept in the file: without it bbolt scans all pages in a
		// goroutine of its own, where a panic over a damaged one ends the process.
		BoltOptions: &bbolt.Options{Timeout: openLockTimeout, FreelistType: bbolt.FreelistMapType},
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s (stop the other watcher or give this one a directory of its own)", ErrDirInUse, dir)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("open raft store: %w", err)
	case err != nil:
		return nil, damaged(path, err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, logger)
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	s = &store{path: path, bolt: bolt, snaps: snaps}
	if err := s.checkLog(); err != nil {
		return nil, err
	}
	if err := s.loadID(); err != nil {
		return nil, err
	}
	return s, nil
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%w: %s can not be read (move the file and the directory \"snapshots\" beside it away; "+
		"the watcher then rejoins under a new ID): %w", ErrDamaged, path, cause)
}

// closeQuietly closes a store that is known to be damaged; what Close says, or
// that it panics, adds nothing.
func closeQuietly(b *raftboltdb.BoltStore) {
	defer func() { _ = recover() }()
	_ = b.Close()
}

// checkLog reads every entry once: damage is better found now, with a clear
// message, than by Raft's panic when it needs the entry. The log is kept short,
// so this is quick.
func (s *store) checkLog() error {
	first, err := s.bolt.FirstIndex()
	if err != nil {
		return damaged(s.path, err)
	}
	last, err := s.bolt.LastIndex()
	if err != nil {
		return damaged(s.path, err)
	}
	var entry raft.Log
	for i := first; i != 0 && i <= last; i++ {
		if err := s.bolt.GetLog(i, &entry); err != nil {
			return damaged(s.path, fmt.Errorf("read log entry %d: %w", i, err))
		}
	}
	snaps, err := s.snaps.List()
	if err != nil {
		return damaged(filepath.Join(filepath.Dir(s.path), "snapshots"), err)
	}
	if first > 1 && (len(snaps) == 0 || snaps[0].Index+1 < first) {
		return damaged(s.path, fmt.Errorf("the log starts at entry %d, and no snapshot has what comes before", first))
	}
	return nil
}

// loadID reads our ID, and makes one for a fresh store. A store that has a log
// or a vote but no ID is not fresh: it would be used under two IDs.
func (s *store) loadID() error {
	raw, err := s.bolt.Get(keyID)
	switch {
	case err == nil:
		if s.id = ID(raw); !validID(s.id) {
			return damaged(s.path, fmt.Errorf("own ID %q is malformed", raw))
		}
		return nil
	case !errors.Is(err, raftboltdb.ErrKeyNotFound):
		return damaged(s.path, err)
	}
	used, err := raft.HasExistingState(s.bolt, s.bolt, s.snaps)
	if err != nil {
		return damaged(s.path, err)
	}
	if used {
		return damaged(s.path, errors.New("there is raft state or a snapshot, but no ID"))
	}
	s.id = newID()
	if err := s.bolt.Set(keyID, []byte(s.id)); err != nil {
		return fmt.Errorf("write own ID to %s: %w", s.path, err)
	}
	return nil
}

func (s *store) loadMembership() (membership, error) {
	raw, err := s.bolt.Get(keyMembership)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return membership{}, nil
	}
	var m membership
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		return membership{}, damaged(s.path, fmt.Errorf("read membership: %w", err))
	}
	return m, nil
}

func (s *store) saveMembership(m membership) error {
	raw, err := json.Marshal(m)
	if err == nil {
		err = s.bolt.Set(keyMembership, raw)
	}
	if err != nil {
		return fmt.Errorf("write membership to %s: %w", s.path, err)
	}
	return nil
}
