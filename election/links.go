package election

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	linkQueue      = 256
	linkRetryFirst = 10 * time.Millisecond
	linkRetryMax   = 250 * time.Millisecond
)

// link is the outgoing message connection to one peer. Each pair of watchers
// has one per direction, so that neither needs to know who dialled first.
type link struct {
	id     ID
	cancel context.CancelFunc
	kick   chan struct{} // redial now: the peer has just shown up

	mu    sync.Mutex
	queue chan []byte // nil while not connected
}

// links holds the outgoing links and what was heard on the incoming ones.
type links struct {
	node *life

	mu      sync.Mutex
	out     map[ID]*link
	inbound map[ID]*inbound
	heard   map[ID]time.Time
}

// inbound is the newest incoming message connection of one peer. The lock is
// held by the reader, so that a successor reads only after the old one ended.
type inbound struct {
	reading sync.Mutex
	conn    net.Conn
}

func newLinks(n *life) *links {
	return &links{node: n, out: make(map[ID]*link), inbound: make(map[ID]*inbound), heard: make(map[ID]time.Time)}
}

// update starts links to new peers and ends those to former ones.
func (l *links) update(ctx context.Context, peers map[ID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, k := range l.out {
		if !peers[id] {
			k.cancel()
			delete(l.out, id)
			delete(l.heard, id)
			delete(l.inbound, id)
		}
	}
	for id := range peers {
		if l.out[id] != nil {
			continue
		}
		lctx, cancel := context.WithCancel(ctx)
		k := &link{id: id, cancel: cancel, kick: make(chan struct{}, 1)}
		if !l.node.group.run(func() { l.run(lctx, k) }) {
			cancel()
			return
		}
		l.out[id] = k
	}
}

// run keeps one link up until the context ends.
func (l *links) run(ctx context.Context, k *link) {
	retry := linkRetryFirst
	for ctx.Err() == nil {
		conn, err := l.dial(ctx, k)
		if err == nil {
			retry = linkRetryFirst
			l.write(ctx, k, conn)
			continue
		}
		select {
		case <-ctx.Done():
		case <-k.kick:
			retry = linkRetryFirst
		case <-time.After(retry):
			retry = min(2*retry, linkRetryMax)
		}
	}
}

func (l *links) dial(ctx context.Context, k *link) (net.Conn, error) {
	addr := l.node.book.lookup(k.id)
	if addr == "" {
		return nil, fmt.Errorf("dial peer %s: %w: no address is known", k.id.Short(), ErrUnreachable)
	}
	conn, _, err := l.node.dialer.dial(ctx, addr, purposeMessage, k.id)
	if err != nil {
		l.node.dialFailed(addr, k.id, err)
		return nil, err
	}
	return conn, nil
}

// write sends what is queued until the connection breaks. Each payload goes out
// as soon as it is queued; those that queue up meanwhile share the next write.
func (l *links) write(ctx context.Context, k *link, conn net.Conn) {
	queue := make(chan []byte, linkQueue)
	k.setQueue(queue)
	closed := make(chan struct{})
	go func() { // ends when the connection is closed below
		defer close(closed)
		var b [1]byte
		_, _ = conn.Read(b[:]) // nothing is ever sent: any return is the end
	}()
	defer func() {
		k.setQueue(nil)
		conn.Close()
		<-closed
	}()
	interval := l.node.cfg.Heartbeat
	ping := time.NewTicker(interval)
	defer ping.Stop()
	buf := appendFrame(nil, nil) // say something at once: the peer counts us as heard
	for {
		if len(buf) > 0 {
			if err := conn.SetWriteDeadline(time.Now().Add(2*interval + time.Second)); err != nil {
				return
			}
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
		buf = nil
		select {
		case <-ctx.Done():
			return
		case <-closed:
			return
		case <-ping.C:
			buf = appendFrame(nil, nil)
		case buf = <-queue:
			for more := true; more && len(buf) < 64<<10; {
				select {
				case next := <-queue:
					buf = append(buf[:len(buf):len(buf)], next...)
				default:
					more = false
				}
			}
		}
	}
}

func (k *link) setQueue(q chan []byte) {
	k.mu.Lock()
	k.queue = q
	k.mu.Unlock()
}

func (k *link) connected() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.queue != nil
}

func (k *link) push(frame []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.queue == nil {
		return fmt.Errorf("send to %s: %w", k.id.Short(), ErrUnreachable)
	}
	select {
	case k.queue <- frame:
		return nil
	default:
		return fmt.Errorf("send to %s: %w", k.id.Short(), ErrQueueFull)
	}
}

// kick makes the link to a peer redial without waiting.
func (l *links) kick(id ID) {
	l.mu.Lock()
	k := l.out[id]
	l.mu.Unlock()
	if k == nil {
		return
	}
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// hear notes a sign of life.
func (l *links) hear(id ID) {
	l.mu.Lock()
	l.heard[id] = time.Now()
	l.mu.Unlock()
}

// contact returns when the peer was last heard, and whether it can be sent to.
func (l *links) contact(id ID) (last time.Time, connected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.out[id]
	return l.heard[id], k != nil && k.connected()
}

// serve reads a peer's incoming message connection to its end.
func (l *links) serve(from ID, conn net.Conn) {
	defer conn.Close()
	in := l.takeOver(from, conn)
	in.reading.Lock()
	defer in.reading.Unlock()
	defer l.node.suspect(from) // the end of a connection is the first sign of a death
	l.kick(from)
	n := l.node
	for {
		// A peer pings once per heartbeat; silence of several is a dead connection.
		if err := conn.SetReadDeadline(time.Now().Add(4*n.cfg.Heartbeat + time.Second)); err != nil {
			return
		}
		body, err := readFrame(conn, maxMessageFrame)
		if err != nil {
			n.log.Debug("message connection ended", zap.String("peer", string(from)), zap.Error(err))
			return
		}
		l.hear(from)
		if len(body) > 0 && n.cfg.OnMessage != nil {
			n.cfg.OnMessage(from, body)
		}
	}
}

// takeOver closes the peer's previous connection, if any.
func (l *links) takeOver(from ID, conn net.Conn) *inbound {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.inbound[from]
	if in == nil {
		in = &inbound{}
		l.inbound[from] = in
	}
	if in.conn != nil {
		in.conn.Close()
	}
	in.conn = conn
	l.heard[from] = time.Now()
	return in
}

func (n *life) Send(to ID, payload []byte) error {
	frame, err := messageFrame(payload)
	if err != nil {
		return err
	}
	n.links.mu.Lock()
	k := n.links.out[to]
	n.links.mu.Unlock()
	if k == nil {
		return fmt.Errorf("send to %s: %w", to.Short(), ErrUnknownPeer)
	}
	return k.push(frame)
}

func (n *life) Broadcast(payload []byte) {
	frame, err := messageFrame(payload)
	if err != nil {
		n.log.Error("broadcast dropped", zap.Error(err))
		return
	}
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	for _, k := range n.links.out {
		if err := k.push(frame); err != nil {
			n.log.Debug("broadcast skips a peer", zap.Error(err))
		}
	}
}

func messageFrame(payload []byte) ([]byte, error) {
	if len(payload) == 0 || len(payload) > maxMessageFrame {
		return nil, fmt.Errorf("send message of %d bytes: must have 1 to %d", len(payload), maxMessageFrame)
	}
	return appendFrame(make([]byte, 0, len(payload)+4), payload), nil
}
