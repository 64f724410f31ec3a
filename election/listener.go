package election

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go.uber.org/zap"
)

const (
	// maxHandshakes bounds connections that have not proved who they are, and
	// queries, which strangers may send.
	maxHandshakes = 64
	// maxConns bounds all connections, in and out; a watcher of five has some 30.
	maxConns     = 512
	queryTimeout = 5 * time.Second
)

// accept takes connections until the listener is closed.
func (n *life) accept(ln net.Listener) {
	slots := make(chan struct{}, maxHandshakes)
	for {
		raw, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) || n.ctx.Err() != nil {
			if err == nil {
				raw.Close()
			}
			return
		}
		if err != nil {
			// Out of descriptors, most likely: trying again at once would spin.
			n.log.Warn("accepting a peer connection failed", zap.Error(err))
			select {
			case <-n.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		conn, ok := n.conns.add(raw)
		if !ok {
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			n.log.Debug("peer connection refused, too many handshakes", zap.Stringer("from", raw.RemoteAddr()))
			conn.Close()
			continue
		}
		free := func() { <-slots }
		if !n.group.run(func() { n.serve(conn, free) }) {
			free()
			conn.Close()
		}
	}
}

// serve shakes hands and passes the connection to its purpose. free gives back
// the slot of an unproved connection.
func (n *life) serve(conn *trackedConn, free func()) {
	h, err := n.admit(conn)
	if err != nil {
		conn.Close()
		free()
		return
	}
	switch h.Purpose {
	case purposeRaft:
		free()
		n.mu.Lock()
		stream := n.stream
		n.mu.Unlock()
		stream.deliver(conn)
	case purposeMessage:
		free()
		n.links.serve(h.From, conn)
	case purposeQuery:
		defer free()
		n.serveQuery(h, conn)
	case purposeUnknown:
		free()
		conn.Close()
	}
}

// admit runs the listener's half of the handshake; nil means admitted.
func (n *life) admit(conn *trackedConn) (hello, error) {
	from := zap.Stringer("from", conn.RemoteAddr())
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return hello{}, err
	}
	if n.cfg.TLS != nil {
		ctx, cancel := context.WithTimeout(n.ctx, handshakeTimeout)
		defer cancel()
		t := tls.Server(conn.Conn, n.cfg.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			n.warnOnce("tls"+remoteHost(conn), "tls handshake of a peer failed", from, zap.Error(err))
			return hello{}, err
		}
		conn.Conn = t
	}
	h, verdict, err := shakeAsListener(conn, n.cfg.Secret, n.decide)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return h, err // a port probe, or we stop
	case err != nil:
		n.warnOnce("shake"+remoteHost(conn), "handshake of a peer failed", from, zap.Error(err))
		return h, err
	case verdict.Code != refusedNot:
		n.warnRefused(verdict.Code, "peer connection refused", from, zap.String("peer", string(h.From)),
			zap.Stringer("purpose", h.Purpose), zap.Stringer("refusal", verdict.Code), zap.String("reason", verdict.Reason))
		return h, &RefusedError{Addr: h.Addr, code: verdict.Code, reason: verdict.Reason}
	}
	return h, conn.SetDeadline(time.Time{})
}

// decide gives the verdict on a dialer that has proved itself.
func (n *life) decide(h hello) reply {
	m := n.membership()
	v := reply{ID: n.store.id, Addr: n.Addr(), Cluster: m.Cluster, Generation: m.Generation}
	if m.Phase != phaseMember {
		v.Cluster = ""
	}
	refuse := func(code refusal, format string, args ...any) reply {
		v.Code, v.Reason = code, fmt.Sprintf(format, args...)
		return v
	}
	if h.Target != "" && h.Target != n.store.id {
		return refuse(refusedTarget, "watcher %s lives here, not %s", n.store.id.Short(), h.Target.Short())
	}
	same := v.Cluster != "" && h.Cluster == v.Cluster
	if same && h.Generation > m.Generation {
		n.supersede(h.Generation, h.From)
		return refuse(refusedOutdated, "this watcher has generation %d of the cluster, the dialer %d", m.Generation, h.Generation)
	}
	if same && h.Generation < m.Generation {
		return refuse(refusedSuperseded, "the cluster has generation %d, the dialer's is %d", m.Generation, h.Generation)
	}
	if same {
		n.learnAddress(h.From, h.Addr)
	}
	if h.Purpose == purposeQuery {
		return v
	}
	switch {
	case v.Cluster == "":
		return refuse(refusedNotReady, "this watcher has not joined a cluster yet")
	case !same:
		return refuse(refusedCluster, "this watcher belongs to cluster %q, the dialer to %q", v.Cluster, h.Cluster)
	case n.raftOrNil() == nil:
		return refuse(refusedNotReady, "raft does not run here yet")
	case n.conns.count() > maxConns:
		return refuse(refusedBusy, "more than %d connections are open here", maxConns)
	case h.Purpose == purposeMessage && !n.isMember(h.From):
		return refuse(refusedStranger, "watcher %s is not in the configuration", h.From.Short())
	}
	return v
}

// learned is told the outcome of every dial.
func (n *life) learned(addr string, answer reply, err error) {
	m := n.membership()
	var alert tls.AlertError
	if errors.Is(err, errTLS) || errors.As(err, &alert) {
		n.warnOnce("dial tls"+addr, "tls handshake with a peer failed", zap.String("address", addr), zap.Error(err))
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		answer = refused.answer
		n.warnRefused(refused.code, "peer refuses the connection", zap.String("address", addr),
			zap.Stringer("refusal", refused.code), zap.String("reason", refused.reason))
	}
	if m.Phase != phaseMember || answer.Cluster != m.Cluster || answer.ID == "" || answer.ID == n.store.id {
		return
	}
	if answer.Generation > m.Generation {
		n.supersede(answer.Generation, answer.ID)
	}
	n.learnAddress(answer.ID, answer.Addr)
}

// dialFailed draws the conclusions from a failed dial to an ID's address.
func (n *life) dialFailed(addr string, target ID, err error) {
	if refusedWith(err, refusedTarget) {
		n.book.forget(target, addr)
	}
}

func (n *life) learnAddress(id ID, addr string) {
	if id == n.store.id || !n.book.learn(id, addr) {
		return
	}
	n.log.Debug("peer address learnt", zap.String("peer", string(id)), zap.String("address", addr))
	n.links.kick(id)
}

// warnRefused logs refusals that a person should see as warnings, now and then,
// and those that pass by themselves at debug level.
func (n *life) warnRefused(code refusal, msg string, fs ...zap.Field) {
	switch code {
	case refusedNotReady, refusedStranger, refusedTarget, refusedBusy, refusedNot:
		n.log.Debug(msg, fs...)
	case refusedVersion, refusedMalformed, refusedSecret, refusedCluster, refusedSuperseded, refusedOutdated:
		key := msg + code.String()
		for _, f := range fs {
			if f.Key == "address" || f.Key == "peer" {
				key += f.String
			}
		}
		n.warnOnce(key, msg, fs...)
	}
}

// warnOnce logs a warning unless the same one was logged a moment ago.
func (n *life) warnOnce(key, msg string, fs ...zap.Field) {
	if n.seen.again(key, time.Now()) {
		n.log.Debug(msg, fs...)
		return
	}
	n.log.Warn(msg, fs...)
}

func remoteHost(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}
