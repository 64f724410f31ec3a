package resp

import (
	"context"
	"errors"
	"strings"
)

const errNoMaster = "ERR No such master with that name"

// sentinelGetMasterAddr is the hot one: clients ask it on every connection.
func (c *conn) sentinelGetMasterAddr(args [][]byte) {
	host, port, ok := c.srv.backend.MasterAddr(string(args[2]))
	if !ok {
		c.w.NullArray()
		return
	}
	c.w.Array(2)
	c.w.Bulk(host)
	c.w.BulkInt(int64(port))
}

func (c *conn) sentinelMasters([][]byte) {
	masters := c.srv.backend.Masters()
	c.w.Array(len(masters))
	for i := range masters {
		writeMaster(&c.w, &masters[i])
	}
}

func (c *conn) sentinelMaster(args [][]byte) {
	m, ok := c.srv.backend.Master(string(args[2]))
	if !ok {
		c.w.Error(errNoMaster)
		return
	}
	writeMaster(&c.w, &m)
}

func (c *conn) sentinelReplicas(args [][]byte) {
	replicas, ok := c.srv.backend.Replicas(string(args[2]))
	if !ok {
		c.w.Error(errNoMaster)
		return
	}
	c.w.Array(len(replicas))
	for i := range replicas {
		writeReplica(&c.w, &replicas[i])
	}
}

func (c *conn) sentinelSentinels(args [][]byte) {
	peers, ok := c.srv.backend.Sentinels(string(args[2]))
	if !ok {
		c.w.Error(errNoMaster)
		return
	}
	c.w.Array(len(peers))
	for i := range peers {
		writePeer(&c.w, &peers[i])
	}
}

func (c *conn) sentinelCkquorum(args [][]byte) {
	text, err := c.srv.backend.CheckQuorum(string(args[2]))
	switch {
	case err == nil:
		c.w.Simple("OK " + text)
	case errors.Is(err, ErrNoSuchMaster):
		c.w.Error(errNoMaster)
	default:
		c.w.Error("NOQUORUM " + err.Error())
	}
}

func (c *conn) sentinelMyID([][]byte) { c.w.Bulk(c.srv.backend.MyID()) }

func (c *conn) sentinelFailover(args [][]byte) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.opts.FailoverTimeout)
	defer cancel()
	start := c.srv.backend.Failover
	if len(args) > 3 { // Valkey's COORDINATED
		start = c.srv.backend.Handover
	}
	err := start(ctx, string(args[2]))
	switch {
	case err == nil:
		c.w.Simple("OK")
	case errors.Is(err, ErrNoSuchMaster):
		c.w.Error(errNoMaster)
	case errors.Is(err, ErrInProgress):
		c.w.Error("INPROG Failover already in progress")
	case errors.Is(err, ErrNoQuorum):
		c.w.Error("NOQUORUM " + err.Error())
	case errors.Is(err, ErrNoGoodReplica):
		c.w.Error("NOGOODSLAVE No suitable replica to promote")
	default:
		c.w.Error("ERR " + err.Error())
	}
}

// sentinelSimulateFailure has this watcher fail in its next plan. As in Sentinel,
// every call begins with forgetting the calls before, so that HELP disarms; words
// before an unknown one or before HELP count.
func (c *conn) sentinelSimulateFailure(args [][]byte) {
	var names []string
	help := false
	for _, a := range args[2:] {
		if help = is(a, "help"); help {
			break
		}
		names = append(names, string(a))
	}
	armed := c.srv.backend.SimulateFailure(names)
	c.srv.simulated.Store(simulatedFlags(names[:armed]))
	switch {
	case armed < len(names):
		c.w.Error("ERR Unknown failure simulation specified")
	case help: // Sentinel's words only: scripts read them
		c.w.Array(2)
		c.w.Bulk(CrashAfterElection)
		c.w.Bulk(CrashAfterPromotion)
	default:
		c.w.Simple("OK")
	}
}

// simulatedFlags are the bits that INFO shows of Sentinel's own failures.
func simulatedFlags(names []string) int64 {
	var flags int64
	for _, n := range names {
		switch strings.ToLower(n) {
		case CrashAfterElection:
			flags |= 1
		case CrashAfterPromotion:
			flags |= 2
		}
	}
	return flags
}
