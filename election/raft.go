package election

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// startRaft opens Raft's side of the peer port. Founders bootstrap, all with
// the same configuration, unless they have a log already.
func (n *life) startRaft() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(n.store.path, fmt.Errorf("%v", p))
		}
		if err != nil {
			n.log.Error("raft can not start", zap.Error(err))
		}
	}()
	m := n.membership()
	logger := newRaftLogger(n.log)
	sctx, scancel := context.WithCancel(context.Background()) // ends with the transport
	stream := &raftStream{
		self: joinServerAddress(n.store.id, n.Addr()), dialer: n.dialer, book: n.book,
		incoming: make(chan net.Conn), dialing: n.ctx, ctx: sctx, cancel: scancel, failed: n.dialFailed,
	}
	n.book.learn(n.store.id, n.Addr())
	transport := newPatientTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: n.book, Logger: logger, Stream: stream,
		MaxPool: 3, Timeout: max(2*n.cfg.Election, 250*time.Millisecond), MsgpackUseNewTimeFormat: true,
	}))
	fail := func(err error) error { return errors.Join(err, transport.Close()) }
	conf := n.raftConfig()
	conf.Logger = logger
	cache, err := raft.NewLogCache(512, n.store.bolt)
	if err != nil {
		return fail(err)
	}
	used, err := raft.HasExistingState(n.store.bolt, n.store.bolt, n.store.snaps)
	if err != nil {
		return fail(damaged(n.store.path, err))
	}
	if !used && len(m.Voters) > 0 {
		first := firstConfiguration(m.Voters)
		if err := raft.BootstrapCluster(conf, n.store.bolt, n.store.bolt, n.store.snaps, transport, first); err != nil {
			return fail(fmt.Errorf("bootstrap raft: %w", err))
		}
	}
	conf.NoSnapshotRestoreOnStart, err = n.machine.begin(n.store.snaps)
	if err != nil {
		return fail(damaged(n.store.path, err))
	}
	r, err := raft.NewRaft(conf, n.machine, cache, n.store.bolt, n.store.snaps, transport)
	if err != nil {
		return fail(fmt.Errorf("start raft from %s: %w", n.store.path, err))
	}
	n.machine.started(r, n.store.bolt)
	n.mu.Lock()
	n.raft, n.stream, n.transport = r, stream, transport
	n.quorumAt = time.Now() // it has not been looked for yet
	n.mu.Unlock()
	n.observe(r, transport)
	return nil
}

func (n *life) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.store.id)
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Heartbeat, n.cfg.Election
	c.LeaderLeaseTimeout, c.CommitTimeout = n.cfg.Lease, n.cfg.CommitTimeout
	c.NotifyCh = n.notify
	// A removed watcher goes on answering; only a person decides that it ends.
	c.ShutdownOnRemove = false
	// The state is small and commands are rare: a short log starts fast.
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 1024, time.Minute, 256
	c.NoLegacyTelemetry = true
	return c
}

func firstConfiguration(voters []Voter) raft.Configuration {
	var c raft.Configuration
	for _, v := range voters {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(v.ID), Address: joinServerAddress(v.ID, v.Addr),
		})
	}
	return c
}
