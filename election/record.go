package election

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

const recordFileName = "cluster.json"

// fileRecord keeps the record of hosts: one file in the data directory, every
// watcher has its own.
type fileRecord struct{ path string }

// NewFileRecord returns a Record that is the file cluster.json in dir.
func NewFileRecord(dir string) Record { return fileRecord{filepath.Join(dir, recordFileName)} }

func (fileRecord) Shared() bool { return false }

func (f fileRecord) Load(context.Context) (ClusterRecord, string, error) {
	raw, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return ClusterRecord{}, "", nil
	}
	if err != nil {
		return ClusterRecord{}, "", fmt.Errorf("read cluster record: %w", err)
	}
	var rec ClusterRecord
	if err := json.Unmarshal(raw, &rec); err != nil {
		return ClusterRecord{}, "", fmt.Errorf("decode cluster record %s (move the file away; it is written again from the raft store): %w", f.path, err)
	}
	sum := sha256.Sum256(raw)
	return rec, hex.EncodeToString(sum[:]), nil
}

func (f fileRecord) Store(ctx context.Context, rec ClusterRecord, expectedVersion string) error {
	_, version, err := f.Load(ctx)
	if err != nil {
		return err
	}
	if version != expectedVersion {
		return ErrRecordChanged
	}
	raw, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster record: %w", err)
	}
	return writeFileAtomically(f.path, append(raw, '\n'))
}

// writeFileAtomically replaces a file so that after a crash it has either the
// old or the new content, never a part, and the new one once it has returned.
func writeFileAtomically(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".tmp-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// syncDir makes a rename in the directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

const (
	recordTimeout = 3 * time.Second
	recordRetry   = time.Second
	// recordPoll is how often the leader looks at a shared record: somebody may
	// have deleted it, or a new generation may have begun without us.
	recordPoll = 2 * time.Second
)

func (n *life) loadRecord(ctx context.Context) (ClusterRecord, string, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	n.recordMu.Lock()
	defer n.recordMu.Unlock()
	return n.cfg.Record.Load(ctx)
}

func (n *life) storeRecord(ctx context.Context, rec ClusterRecord, version string) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	n.recordMu.Lock()
	defer n.recordMu.Unlock()
	return n.cfg.Record.Store(ctx, rec, version)
}

// checkGeneration compares a member's store with the record at the start. A
// record that can't be read keeps nobody from starting: the watchers must work
// while whatever keeps the record is down.
//
// A generation that we took ourselves is begun here, before Raft runs.
func (n *life) checkGeneration() error {
	if m := n.membership(); m.Taking > m.Generation {
		if err := n.takeGeneration(m.Taking); err != nil {
			return err
		}
	}
	rec, _, err := n.loadRecord(n.ctx)
	m := n.membership()
	switch {
	case err != nil:
		n.log.Warn("cluster record not read", zap.Error(err))
	case rec.ClusterID == m.Cluster && rec.Generation > m.Generation && n.soleVoter(rec):
		return n.takeGeneration(rec.Generation)
	case n.overtaken(rec):
	case rec.ClusterID != "" && rec.ClusterID != m.Cluster:
		n.log.Error("the cluster record names another cluster than the raft store",
			zap.String("record", rec.ClusterID), zap.String("store", m.Cluster), zap.String("directory", n.cfg.Dir))
	}
	return nil
}

// syncRecord writes the record when the voters have changed. A failure is
// logged and tried again; it holds up nothing else.
func (n *life) syncRecord(ctx context.Context, servers []raft.Server) {
	if n.cfg.Record.Shared() && !n.leading() {
		n.recorded = ClusterRecord{} // somebody else writes it now
		return
	}
	rec := n.recordOf(servers)
	known := equalRecords(n.recorded, rec) && (!n.cfg.Record.Shared() || time.Since(n.recordSeen) < recordPoll)
	if len(rec.Voters) == 0 || known || time.Since(n.recordFailed) < recordRetry {
		return
	}
	if err := n.writeRecord(ctx, servers); err != nil {
		if errors.Is(err, ErrRecordChanged) {
			return // the next look goes on from what it is now
		}
		n.recordFailed = time.Now()
		n.warnOnce("record", "cluster record not written", zap.Error(err))
		return
	}
	n.recorded, n.recordSeen = rec, time.Now()
}

func (n *life) recordOf(servers []raft.Server) ClusterRecord {
	m := n.membership()
	rec := ClusterRecord{ClusterID: m.Cluster, Generation: m.Generation}
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			_, addr := splitServerAddress(s.Address)
			rec.Voters = append(rec.Voters, Voter{ID: ID(s.ID), Addr: addr})
		}
	}
	slices.SortFunc(rec.Voters, func(a, b Voter) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return rec
}

func equalRecords(a, b ClusterRecord) bool {
	return a.ClusterID == b.ClusterID && a.Generation == b.Generation && slices.Equal(a.Voters, b.Voters)
}

// writeRecord stores the voters of a configuration.
func (n *life) writeRecord(ctx context.Context, servers []raft.Server) error {
	rec := n.recordOf(servers)
	old, version, err := n.loadRecord(ctx)
	switch {
	case err != nil:
		return err
	case n.overtaken(old):
		return ErrSuperseded
	case old.ClusterID != "" && old.ClusterID != rec.ClusterID:
		return fmt.Errorf("the cluster record names cluster %s, this watcher belongs to %s", old.ClusterID, rec.ClusterID)
	case equalRecords(old, rec):
		return nil
	}
	return n.storeRecord(ctx, rec, version)
}
