package resp

import (
	"net"
	"strconv"
	"time"
)

// A view is a map in RESP3 and a flat array in RESP2; all values are strings.
// The number of fields depends on the flags, so they are collected first.
type fields struct{ list []string }

func (f *fields) add(name, value string)              { f.list = append(f.list, name, value) }
func (f *fields) int(name string, n int64)            { f.add(name, strconv.FormatInt(n, 10)) }
func (f *fields) uint(name string, n uint64)          { f.add(name, strconv.FormatUint(n, 10)) }
func (f *fields) millis(name string, d time.Duration) { f.int(name, d.Milliseconds()) }

// writeTo writes the view.
func (f *fields) writeTo(w *Writer) {
	w.Map(len(f.list) / 2)
	for _, s := range f.list {
		w.Bulk(s)
	}
}

// link adds the fields that all instances begin with.
func (f *fields) link(name string, l *Link, kind Flags, failoverState string) {
	flags := l.Flags | kind
	f.add("name", name)
	f.add("ip", l.Host)
	f.int("port", int64(l.Port))
	f.add("runid", l.RunID)
	f.add("flags", flags.String())
	f.int("link-pending-commands", int64(l.PendingCommands))
	f.int("link-refcount", int64(max(1, l.Refcount)))
	if flags&FlagFailoverInProgress != 0 {
		f.add("failover-state", failoverState)
	}
	f.millis("last-ping-sent", l.LastPingSent)
	f.millis("last-ok-ping-reply", l.LastOKPingReply)
	f.millis("last-ping-reply", l.LastPingReply)
	if flags&FlagSDown != 0 {
		f.millis("s-down-time", l.SDownTime)
	}
	if flags&FlagODown != 0 {
		f.millis("o-down-time", l.ODownTime)
	}
	f.millis("down-after-milliseconds", l.DownAfter)
}

// role adds what INFO of a Redis has told.
func (f *fields) role(refresh time.Duration, role string, since time.Duration) {
	f.millis("info-refresh", refresh)
	f.add("role-reported", role)
	f.millis("role-reported-time", since)
}

func writeMaster(w *Writer, m *Master) {
	f := fields{make([]string, 0, 52)}
	f.link(m.Name, &m.Link, flagMaster, or(m.FailoverState, "none"))
	f.role(m.InfoRefresh, or(m.RoleReported, "master"), m.RoleReportedTime)
	f.uint("config-epoch", m.ConfigEpoch)
	f.int("num-slaves", int64(m.NumReplicas))
	f.int("num-other-sentinels", int64(m.NumOtherSentinels))
	f.int("quorum", int64(m.Quorum))
	f.millis("failover-timeout", m.FailoverTimeout)
	f.int("parallel-syncs", int64(m.ParallelSyncs))
	if m.NotificationScript != "" {
		f.add("notification-script", m.NotificationScript)
	}
	if m.ReconfigScript != "" {
		f.add("client-reconfig-script", m.ReconfigScript)
	}
	f.writeTo(w)
}

func writeReplica(w *Writer, r *Instance) {
	f := fields{make([]string, 0, 52)}
	f.link(or(r.Name, net.JoinHostPort(r.Host, strconv.Itoa(r.Port))), &r.Link, flagSlave, "none")
	f.role(r.InfoRefresh, or(r.RoleReported, "slave"), r.RoleReportedTime)
	f.millis("master-link-down-time", r.MasterLinkDownTime)
	status, announced := "err", int64(1)
	if r.MasterLinkUp {
		status = "ok"
	}
	if r.Unannounced {
		announced = 0
	}
	f.add("master-link-status", status)
	f.add("master-host", or(r.MasterHost, "?"))
	f.int("master-port", int64(r.MasterPort))
	f.int("slave-priority", int64(r.Priority))
	f.int("slave-repl-offset", r.ReplOffset)
	f.int("replica-announced", announced)
	f.writeTo(w)
}

func writePeer(w *Writer, p *Peer) {
	f := fields{make([]string, 0, 32)}
	f.link(or(p.Name, p.RunID), &p.Link, flagSentinel, "none")
	f.millis("last-hello-message", p.LastHello)
	f.add("voted-leader", or(p.VotedLeader, "?"))
	f.uint("voted-leader-epoch", p.VotedLeaderEpoch)
	f.writeTo(w)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
