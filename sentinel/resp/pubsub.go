package resp

import (
	"slices"
	"sync"
)

const (
	maxChannelName   = 256     // bytes; Sentinel's longest is under 32
	maxSubscriptions = 128_000 // of all connections together
	maxPatterns      = 4096    // distinct ones: each message is matched against all
)

// subscribers is the set of connections behind one channel or pattern.
type subscribers map[*conn]struct{}

// hub knows who listens to what. Its lock is held while a message is put into
// queues, which gives all subscribers the same order, and never across I/O.
type hub struct {
	mu       sync.Mutex
	channels map[string]subscribers
	patterns map[string]subscribers
	total    int // subscriptions
	conns    int // connections with at least one
}

func newHub() *hub {
	return &hub{channels: map[string]subscribers{}, patterns: map[string]subscribers{}}
}

// subscriptions are those of one connection. Only its own goroutine changes
// them, under the hub's lock; others read them under that lock.
type subscriptions struct {
	channels, patterns map[string]struct{}
}

func (s *subscriptions) count() int { return len(s.channels) + len(s.patterns) }

// side selects channels or patterns, and the words that go with them.
func (h *hub) side(c *conn, pattern bool) (all map[string]subscribers, own *map[string]struct{}, kind string) {
	if pattern {
		return h.patterns, &c.subs.patterns, "psubscribe"
	}
	return h.channels, &c.subs.channels, "subscribe"
}

// subscribe adds a subscription and queues its confirmation in one step, so that
// no message can come before it. It returns the reason for refusing, in the
// words of a reply.
func (h *hub) subscribe(c *conn, name string, pattern bool) (refused string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all, own, kind := h.side(c, pattern)
	if _, have := (*own)[name]; !have {
		set, known := all[name]
		switch {
		case len(name) > maxChannelName:
			return errLongName
		case h.total >= maxSubscriptions:
			return errTooMany
		case pattern && !known && len(all) >= maxPatterns:
			return errPatterns
		}
		if !known {
			set = subscribers{}
			all[name] = set
		}
		set[c] = struct{}{}
		if *own == nil {
			*own = map[string]struct{}{}
		}
		(*own)[name] = struct{}{}
		h.total++
		if c.subs.count() == 1 {
			h.conns++
		}
	}
	w := Writer{proto: int(c.proto.Load())}
	confirm(&w, kind, name, c.subs.count())
	c.push(w.Bytes())
	return ""
}

// confirm writes the reply to one (un)subscription.
func confirm(w *Writer, kind, name string, count int) {
	w.Push(3)
	w.Bulk(kind)
	w.Bulk(name)
	w.Int(int64(count))
}

// unsubscribe takes a subscription away, if there is one, and returns how many
// the connection has left.
func (h *hub) unsubscribe(c *conn, name string, pattern bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(c, name, pattern)
	return c.subs.count()
}

// drop takes a subscription away. The lock is held.
func (h *hub) drop(c *conn, name string, pattern bool) {
	all, own, _ := h.side(c, pattern)
	if _, have := (*own)[name]; !have {
		return
	}
	delete(*own, name)
	delete(all[name], c)
	if len(all[name]) == 0 {
		delete(all, name)
	}
	h.total--
	if c.subs.count() == 0 {
		h.conns--
	}
}

// leave takes all subscriptions of a connection away.
func (h *hub) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range c.subs.channels {
		h.drop(c, name, false)
	}
	for name := range c.subs.patterns {
		h.drop(c, name, true)
	}
}

// names returns what a connection is subscribed to, sorted.
func (h *hub) names(c *conn, pattern bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, own, _ := h.side(c, pattern)
	names := make([]string, 0, len(*own))
	for name := range *own {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// publish puts a message into the queues of all that want it and returns how
// many that were.
func (h *hub) publish(channel, payload string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	if set := h.channels[channel]; len(set) > 0 {
		n += send(set, "message", channel, payload)
	}
	for pattern, set := range h.patterns {
		if matchGlob(pattern, channel) {
			n += send(set, "pmessage", pattern, channel, payload)
		}
	}
	return n
}

// send encodes a message once per protocol version and queues it.
func send(set subscribers, parts ...string) int {
	var encoded [2][]byte
	n := 0
	for c := range set {
		proto := int(c.proto.Load())
		if encoded[proto-2] == nil {
			w := Writer{proto: proto}
			w.Push(len(parts))
			for _, p := range parts {
				w.Bulk(p)
			}
			encoded[proto-2] = w.Bytes()
		}
		if c.push(encoded[proto-2]) {
			n++
		}
	}
	return n
}

// counts returns the number of subscriptions of one connection.
func (h *hub) counts(c *conn) (channels, patterns int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(c.subs.channels), len(c.subs.patterns)
}

// sizes returns the numbers for Stats.
func (h *hub) sizes() (conns, channels, patterns int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns, len(h.channels), len(h.patterns)
}
